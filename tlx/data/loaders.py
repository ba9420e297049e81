"""Data loaders over encoded examples: training with augmentation and exact resume, evaluation in a fixed order.

Each has a generator of its own: torch's loaders draw a number whenever a pass begins, and drawn from the global
generator it would shift all dropout masks of a resumed run, in which a pass begins once more.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from tlx.cache.contents import digest_of
from tlx.data.encoded import Encoded
from tlx.data.preprocessing import Preprocessing
from tlx.data.sampling import EpochBatchSampler
from tlx.streams import stream

LEAST_AUGMENTED = 1000  # augmented images an epoch below which they are no work for other processes
MOST_WORKERS = 4
# Evaluation batches end where an example would be padded by more than this share, once they hold so many.
MOST_PADDING, ENOUGH = 0.1, 16
AHEAD = 2  # batches that each worker prepares before they are asked for, as torch has it by default


class Examples(TorchDataset):
    """Encoded examples with labels; an item is (example, label, position).

    A key is a position, or (epoch, position) in training: the augmentation of an example is a pure function of (seed,
    epoch, position), so it differs between epochs, repeats in a rerun, and does not depend on worker processes. What a
    key has beyond that, the weight and the scale of its batch, is handed on in the item.
    """

    def __init__(
        self,
        examples: Sequence[Any],
        labels: np.ndarray,
        preprocessing: Preprocessing,
        augmentation: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.examples, self.labels, self.preprocessing = examples, labels, preprocessing
        self.augmentation, self.seed = augmentation, seed

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def lengths(self) -> np.ndarray:
        """(n,) what `Preprocessing.length` says of each example; those of a store are not read for it."""
        if isinstance(self.examples, Encoded):
            return self.examples.lengths
        return np.array([self.preprocessing.length(example) for example in self.examples])

    @cached_property
    def content(self) -> str:
        """Hash of the encoded examples and of how they become a batch; those of a store are not read for it."""
        digest = hashlib.sha256(self.preprocessing.key().encode())
        for each in self.examples.digests if isinstance(self.examples, Encoded) else map(digest_of, self.examples):
            digest.update(each)
        return digest.hexdigest()

    def __getitem__(self, key: int | tuple) -> tuple:
        epoch, position, *weighing = key if isinstance(key, tuple) else (None, key)
        example = self.examples[position]
        if epoch is not None and self.augmentation:
            rng = stream(self.seed, "augmentation", epoch, position)
            example = self.preprocessing.augment(example, self.augmentation, rng)
        return example, int(self.labels[position]), position, *weighing

    def collate(self, items: list[tuple]) -> dict[str, Tensor]:
        """A batch: the network's inputs, `label` (B,) and `index` (B,), the position in its part.

        Where several processes share batches or a step accumulates some, also two scalars: the `weight` of this
        process's mean loss in that of the batch, and the `scale` of the batch in its step (`EpochBatchSampler`).
        """
        examples, labels, positions, *weighing = zip(*items, strict=True)
        batch = self.preprocessing.collate(examples)
        batch |= {"label": torch.tensor(labels), "index": torch.tensor(positions)}
        return batch | {n: torch.tensor(v[0]) for n, v in zip(("weight", "scale"), weighing, strict=bool(weighing))}


class TrainLoader(StatefulDataLoader):
    """A loader that is gone on with as many worker processes as it was left with: its saved state depends on them."""

    num_workers: int

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"workers": self.num_workers}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        self.num_workers = state.pop("workers", self.num_workers)
        self.prefetch_factor = AHEAD if self.num_workers else None
        super().load_state_dict(state)


def choose_workers(given: int | None, data: Examples, modality: str) -> int:
    """Processes that load training batches: `given`, or as many as are worth it; which it is changes no result.

    None where examples only have to be put together. For augmented images half of the cores that torch has here, less
    one for the training itself, if there are enough images that starting processes in every epoch does not matter.
    Clips are normalised in their batch by sums, whose last bits workers (on one thread) would change.
    """
    if given is not None:
        return given
    if modality != "image" or not data.augmentation or len(data) < LEAST_AUGMENTED:
        return 0
    return max(0, min(MOST_WORKERS, torch.get_num_threads() // 2 - 1))


def train_loader(
    data: Examples,
    batch_size: int,
    seed: int,
    buckets: bool,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    accumulate: int = 1,
) -> TrainLoader:
    """Batches in the order of `tlx.data.sampling`, or one process's shares of them; can be saved in mid-epoch."""
    lengths = data.lengths if buckets else None
    sampler = EpochBatchSampler(len(data), batch_size, seed, lengths, rank, world, accumulate)
    return TrainLoader(
        data,
        batch_sampler=sampler,
        collate_fn=data.collate,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


def eval_loader(data: Examples, batch_size: int, workers: int = 0, rank: int = 0, world: int = 1) -> DataLoader:
    """Every example once, by falling length: always the same batches, with little padding, of `batch_size` at most.

    Of these batches, process `rank` of `world` gets every world-th, and the first once more where others have one more:
    those that hold a network in shares need each other for every batch. Whoever puts the scores together counts an
    example once.
    """
    batches = list(_by_falling_length(data.lengths, batch_size))
    mine = batches[rank::world]
    mine += batches[:1] * (-(-len(batches) // world) - len(mine))
    return DataLoader(
        data,
        batch_sampler=mine,
        collate_fn=data.collate,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


def _by_falling_length(lengths: np.ndarray, most: int) -> Iterator[list[int]]:
    order = np.argsort(-lengths, kind="stable").tolist()
    start = 0
    for end in range(1, len(order) + 1):
        size = end - start
        if end < len(order) and size < most:
            short = lengths[order[end]] < (1 - MOST_PADDING) * lengths[order[start]]
            if size < ENOUGH or not short:
                continue
        yield order[start:end]
        start = end
