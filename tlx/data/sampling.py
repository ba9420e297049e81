"""The order of training examples: a pure function of (seed, epoch), so that any run can be taken up anywhere."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tlx.config.budget import epochs
from tlx.streams import stream

SAMPLERS = ("shuffle", "length_buckets")
# Batches of similar length are cut from pools of this many batches: little padding, still random neighbours.
POOL = 50


def epoch_batches(
    count: int, batch_size: int, seed: int, epoch: int, lengths: Sequence[int] | np.ndarray | None = None
) -> list[np.ndarray]:
    """The batches of one epoch, one for each optimiser step: arrays of positions, every example once.

    With `lengths` (count,), examples are sorted by length within random pools and the batches are then shuffled
    (length buckets). A last batch of one example joins the batch before it, unless all batches are of one: batch
    normalisation cannot train on one. A batch of another size than the others is always the last.
    """
    rng = stream(seed, "order", epoch)
    order = rng.permutation(count)
    if lengths is not None:
        sizes = np.asarray(lengths)
        pool = POOL * batch_size
        order = np.concatenate(
            [part[np.argsort(sizes[part], kind="stable")] for part in np.split(order, range(pool, count, pool))]
        )
    batches = np.split(order, range(batch_size, count, batch_size))
    if batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    if lengths is not None:
        alike = len(batches) - (len(batches[-1]) != batch_size)
        batches[:alike] = [batches[i] for i in rng.permutation(alike)]
    return batches


def batch_sizes(count: int, batch_size: int) -> tuple[int, int]:
    """How many batches `epoch_batches` makes, and the size of the last one."""
    batches = -(-count // batch_size)
    if batch_size > 1 and batches > 1 and count % batch_size == 1:
        batches -= 1
    return batches, count - (batches - 1) * batch_size


def micro_batches(examples: int, batch_size: int, most: int) -> int:
    """Into how many parts, as equal as can be, the batch of an optimiser step is divided: `most`, or fewer if it is
    short. None is of one example where `batch_size` is more: batch normalisation cannot train on one.
    """
    parts = min(most, -(-examples // batch_size))
    return parts if batch_size == 1 else max(1, min(parts, examples // 2))


def training_length(config: dict[str, Any], count: int) -> tuple[int, int]:
    """Optimiser steps of a whole training on `count` examples, and of one epoch of it."""
    options = config["trainer"]
    per_epoch, _ = batch_sizes(count, options["batch_size"] * options["devices"] * options["accumulate"])
    return per_epoch * epochs(config), per_epoch


def share_of_batch(batch: np.ndarray, rank: int, world: int, least: int = 1) -> tuple[np.ndarray, float]:
    """The part of a batch that process `rank` of `world` takes, and the weight of its mean loss.

    The weight is its number of examples × world ÷ theirs together, so that the mean over the processes of weight × mean
    loss, and of its gradient, is that of the whole batch, however unequal the parts. A part has `least` examples or
    more; a process for which too few are left computes on the batch's first ones, with weight 0.
    """
    parts = np.array_split(batch, max(1, min(world, len(batch) // least)))
    if rank < len(parts):
        return parts[rank], len(parts[rank]) * world / len(batch)
    return batch[:least], 0.0


class EpochBatchSampler:
    """A batch sampler over `epoch_batches` that yields lists of (epoch, position) and can be saved in mid-epoch.

    Where a step accumulates the gradients of `accumulate` batches of `batch_size`, these are parts of one batch, so
    that the steps are those of a training with larger batches, with the same examples. Where `world` processes share
    each of them, it yields this one's part (`share_of_batch`); the place within the epoch is the same for all. In both
    cases the lists are of (epoch, position, weight, scale). `scale` is accumulate × the part of the step's examples
    that are in this batch, so that the mean over so many batches, as which a Trainer accumulates, of scale × mean loss
    is the mean over the step's examples: however unequal the batches, and also where an epoch ends with fewer of them.

    Lightning sets the epoch (`set_epoch`, found through the attribute `sampler`); torchdata's StatefulDataLoader saves
    and restores the place within it. Only a restored place shortens a pass, and only the first one after it.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        lengths: Sequence[int] | np.ndarray | None = None,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
    ) -> None:
        self.accumulate = accumulate
        self.count, self.batch_size, self.seed, self.lengths = count, batch_size, seed, lengths
        self.rank, self.world = rank, world
        self.least = 2 if batch_size >= 2 * world else 1  # batch normalisation cannot train on one
        self.epoch = 0
        self.done = 0  # batches of this epoch that were yielded
        self._start = 0  # where the next pass begins
        self.sampler = self  # where Lightning looks for `set_epoch`

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields."""
        if epoch != self.epoch:
            self.epoch, self.done, self._start = epoch, 0, 0

    def __len__(self) -> int:
        steps, last = batch_sizes(self.count, self.batch_size * self.accumulate)
        return (steps - 1) * self.accumulate + micro_batches(last, self.batch_size, self.accumulate)

    def __iter__(self) -> Iterator[list[tuple]]:
        steps = epoch_batches(self.count, self.batch_size * self.accumulate, self.seed, self.epoch, self.lengths)
        batches = [
            (batch, self.accumulate * len(batch) / len(step))
            for step in steps
            for batch in np.array_split(step, micro_batches(len(step), self.batch_size, self.accumulate))
        ]
        self.done, self._start = self._start, 0
        for batch, scale in batches[self.done :]:
            self.done += 1
            if self.world == 1 and self.accumulate == 1:
                yield [(self.epoch, int(i)) for i in batch]
            else:
                part, weight = share_of_batch(batch, self.rank, self.world, self.least)
                yield [(self.epoch, int(i), weight, scale) for i in part]

    def state_dict(self) -> dict[str, int]:
        # After the last batch of an epoch comes the first of the next one.
        if self.done == len(self):
            return {"epoch": self.epoch + 1, "done": 0}
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.done = state["epoch"], state["done"]
        self._start = self.done
