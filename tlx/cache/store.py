"""What frozen layers made of a set of examples, on disk: written once as a whole, then memory-mapped."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlx.cache.boundary import Shape
from tlx.cache.checksums import META
from tlx.cache.stores import describe, new_draft, put_in_place, verified

_VALUES, _INDEX = "values.bin", "index.npz"
_HALF = torch.bfloat16


class Writer:
    """Writes one store: `add` blocks of examples, then `finish`. Until then nothing of it can be seen.

    Call it within `making`: what a killed process left under the same name is removed.
    """

    def __init__(self, root: Path, key: str, half: bool) -> None:
        self.draft, self.half = new_draft(root, key), half
        self.where: dict[int, tuple[int, int]] = {}
        self.shapes: dict[int, tuple[list[Shape], list[Shape]]] = {}
        self.written = 0

    def add(
        self, positions: Sequence[int], lengths: Sequence[int], values: Sequence[Tensor], skipped: Sequence[Shape]
    ) -> None:
        """Examples of one shape: `values` are (B, …) each; `skipped` the shapes of what the frozen layers return."""
        self.shapes |= dict.fromkeys(lengths, ([tuple(v.shape[1:]) for v in values], list(skipped)))
        with (self.draft / _VALUES).open("ab") as file:
            for row, (position, length) in enumerate(zip(positions, lengths, strict=True)):
                self.where[position] = self.written, length
                for value in values:
                    flat = value[row].detach().cpu().contiguous().flatten()
                    data = flat.to(_HALF).view(torch.int16) if self.half else flat
                    self.written += file.write(data.numpy().tobytes())

    def readable(self) -> "Store":
        """What was added so far is all; it can be read, but is not yet in its place."""
        with (self.draft / _VALUES).open("rb") as file:
            os.fsync(file.fileno())
        offsets, lengths = zip(*(self.where[i] for i in range(len(self.where))), strict=True)
        np.savez(self.draft / _INDEX, offsets=np.array(offsets), lengths=np.array(lengths))
        size = sum(file.stat().st_size for file in self.draft.iterdir())
        shapes = {str(length): shapes for length, shapes in self.shapes.items()}
        return Store(self.draft, {"bytes": size, "half": self.half, "shapes": shapes, "about": {}})

    def finish(self, about: dict[str, Any]) -> None:
        """Put the store in its place, after `readable`; `about` says in words what it is."""
        describe(self.draft, about, half=self.half, shapes=self.shapes)
        put_in_place(self.draft)


class Store:
    """A store, memory-mapped, that `meta` describes. `read(positions)` gives a padded batch of it."""

    def __init__(self, folder: Path, meta: dict[str, Any]) -> None:
        self.folder, self.meta = folder, meta
        with np.load(folder / _INDEX) as index:
            self.offsets, self.lengths = index["offsets"], index["lengths"]
        kind = np.int16 if self.meta["half"] else np.float32
        self.values = np.memmap(folder / _VALUES, dtype=kind, mode="r")
        self.width = self.values.dtype.itemsize
        self.shapes = {int(k): (list(map(tuple, a)), list(map(tuple, b))) for k, (a, b) in self.meta["shapes"].items()}
        self.sizes = {n: [int(np.prod(shape)) for shape in kept] for n, (kept, _) in self.shapes.items()}
        self.alike = len({str(shapes) for shapes in self.shapes.values()}) == 1
        self.bytes: int = self.meta["bytes"]
        self.about: dict[str, Any] = self.meta["about"]

    @classmethod
    def open(cls, root: Path, key: str) -> "Store | None":
        """The store as it was written, or None where there is none (any more), or it was damaged and had to go."""
        meta = verified(root / key)
        if meta is None:
            return None
        try:
            os.utime(root / key / META)  # the least recently used go first
            return cls(root / key, meta)
        except FileNotFoundError:
            return None

    def read(self, positions: Sequence[int], at_end: bool) -> tuple[list[Tensor], list[Shape]]:
        """What enters at the boundary for these examples, (B, …) float32 each, and the shapes of what is skipped.

        Examples shorter than the longest are filled with zeros behind them, or before them with `at_end`.
        """
        if self.alike:
            kept, skipped = next(iter(self.shapes.values()))
            sizes = next(iter(self.sizes.values()))
            rows = self.values.reshape(len(self.offsets), -1)
            flat = self._floats(rows[self.offsets[positions] // (self.width * rows.shape[1])])
            parts = flat.split(sizes, dim=1)
            return [part.reshape(-1, *shape) for part, shape in zip(parts, kept, strict=True)], skipped
        lengths = [int(self.lengths[p]) for p in positions]
        both = [self.shapes[n] for n in sorted(set(lengths))]
        values = [torch.zeros(len(positions), *_largest(shapes)) for shapes in zip(*(b[0] for b in both), strict=True)]
        for row, (position, length) in enumerate(zip(positions, lengths, strict=True)):
            start = int(self.offsets[position]) // self.width
            flat = self._floats(self.values[start : start + sum(self.sizes[length])])
            parts = flat.split(self.sizes[length])
            for value, part, shape in zip(values, parts, self.shapes[length][0], strict=True):
                place = tuple(slice(-n, None) if at_end else slice(n) for n in shape)
                value[row][place] = part.view(shape)
        return values, [_largest(shapes) for shapes in zip(*(b[1] for b in both), strict=True)]

    def _floats(self, values: np.ndarray) -> Tensor:
        read = torch.from_numpy(np.array(values))
        return read.view(_HALF).float() if self.meta["half"] else read


def _largest(shapes: Sequence[Shape]) -> Shape:
    return tuple(map(max, zip(*shapes, strict=True)))
