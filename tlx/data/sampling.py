"""The order of training examples: a pure function of (seed, epoch), so that any run can be taken up anywhere."""

from collections.abc import Iterator, Sequence

import numpy as np

SAMPLERS = ("shuffle", "length_buckets")
# Batches of similar length are cut from pools of this many batches: little padding, still random neighbours.
POOL = 50


def epoch_batches(
    count: int, batch_size: int, seed: int, epoch: int, lengths: Sequence[int] | None = None
) -> list[np.ndarray]:
    """The batches of one epoch: arrays of positions, every example once.

    With `lengths` (count,), examples are sorted by length within random pools and the batches are then shuffled
    (length buckets). A last batch of one example joins the batch before it: batch normalisation cannot train on one.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(count)
    if lengths is not None:
        sizes = np.asarray(lengths)
        pool = POOL * batch_size
        order = np.concatenate(
            [part[np.argsort(sizes[part], kind="stable")] for part in np.split(order, range(pool, count, pool))]
        )
    batches = np.split(order, range(batch_size, count, batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    if lengths is not None:
        batches = [batches[i] for i in rng.permutation(len(batches))]
    return batches


class EpochBatchSampler:
    """A batch sampler over `epoch_batches` that yields lists of (epoch, position) and can be saved in mid-epoch.

    Lightning sets the epoch (`set_epoch`, found through the attribute `sampler`); torchdata's StatefulDataLoader saves
    and restores the place within it.
    """

    def __init__(self, count: int, batch_size: int, seed: int, lengths: Sequence[int] | None = None) -> None:
        self.count, self.batch_size, self.seed, self.lengths = count, batch_size, seed, lengths
        self.epoch = 0
        self.done = 0
        self.sampler = self  # where Lightning looks for `set_epoch`

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields."""
        if epoch != self.epoch:
            self.epoch, self.done = epoch, 0

    def __len__(self) -> int:
        batches = -(-self.count // self.batch_size)
        return batches - 1 if batches > 1 and self.count % self.batch_size == 1 else batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        batches = epoch_batches(self.count, self.batch_size, self.seed, self.epoch, self.lengths)
        start, self.done = self.done, 0
        for number, batch in enumerate(batches[start:], start=start + 1):
            self.done = number % len(batches)
            yield [(self.epoch, int(i)) for i in batch]

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.done = state["epoch"], state["done"]
