"""Encoded examples on disk: one Arrow file, written once as a whole, then memory-mapped and read one by one.

A row is an example: its values, flat, and for tensors its shape. Its `length` (what `Preprocessing.length` says of it),
its `digest` (the hash of its content) and whether it was `cut` are kept beside them, so that none needs the values. A
row of length -1 holds nothing: what should be there could not be decoded.
"""

import copy
import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from tlx.cache.checksums import META
from tlx.cache.contents import digest_of
from tlx.cache.stores import describe, new_draft, put_in_place, verified

FILE = "examples.arrow"
OURS = ("values", "shape", "length", "digest", "cut")  # columns that no dict's key may be called
ROW = 100  # bytes, about, of shape, length, digest and offsets of an example
BATCH = 16 * 10**6  # bytes of values written at once: all that a writer holds in memory
DTYPES = {
    torch.uint8: pa.uint8(),
    torch.int32: pa.int32(),
    torch.int64: pa.int64(),
    torch.float32: pa.float32(),
    torch.float64: pa.float64(),
}


class Unfit(Exception):
    """Examples of a kind that this format has no place for; they are no worse for it."""


class Encoded(Sequence):
    """Rows of a store, in the order asked for: an item equals what was written, in memory of its own.

    lengths: (n,) int64, -1 where nothing could be decoded and the item is None. `about` says in words what the store
    holds. `shared` are the seconds that another process spent on encoding these rows. The store may be removed while it
    is read.
    """

    def __init__(self, folder: Path, rows: np.ndarray | None = None, shared: float = 0.0) -> None:
        self.folder, self.shared = folder, shared
        meta = json.loads((folder / META).read_text())
        os.utime(folder / META)  # the least recently used go first
        self.bytes: int = meta["bytes"]
        self.about: dict[str, Any] = meta["about"]
        with pa.memory_map(str(folder / FILE)) as source, pa.ipc.open_file(source) as file:
            batches = [file.get_batch(i) for i in range(file.num_record_batches)]
            names = [name for name in file.schema.names if name not in ("length", "digest", "cut")]
        self._starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
        self._lists = [{name: _views(batch.column(name)) for name in names} for batch in batches]
        self._digests = [batch.column("digest") for batch in batches]
        self._all_lengths = np.concatenate([batch.column("length").to_numpy() for batch in batches])
        self._all_cut = np.concatenate([batch.column("cut").to_numpy() for batch in batches])
        self.rows = np.arange(self._starts[-1]) if rows is None else rows

    @classmethod
    def open(cls, folder: Path) -> "Encoded | None":
        """The store as it was written, or None where there is none (any more), or it was damaged and had to go."""
        try:
            return None if verified(folder) is None else cls(folder)
        except FileNotFoundError:
            return None

    def take(self, rows: np.ndarray) -> "Encoded":
        """These of the rows."""
        taken = copy.copy(self)
        taken.rows, taken.shared = self.rows[rows], self.shared * len(rows) / len(self)
        return taken

    @property
    def lengths(self) -> np.ndarray:
        return self._all_lengths[self.rows]

    @property
    def cut(self) -> np.ndarray:
        """(n,) int8: see `tlx.data.cuts`."""
        return self._all_cut[self.rows]

    @property
    def digests(self) -> Iterable[bytes]:
        """SHA-256 of each example's content (see `tlx.cache.contents`), 32 bytes each."""
        for row in self.rows:
            batch = self._batch(row)
            yield self._digests[batch][int(row - self._starts[batch])].as_py()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: Any) -> Any:
        row = self.rows[position]
        if self._all_lengths[row] < 0:
            return None
        batch = self._batch(row)
        lists, at = self._lists[batch], int(row - self._starts[batch])
        if "shape" not in lists:
            return {name: _item(views, at).tolist() for name, views in lists.items()}
        # Torch knows no tensors that must not be written to, so these few values leave the mapping.
        return torch.from_numpy(np.array(_item(lists["values"], at))).reshape(tuple(_item(lists["shape"], at)))

    def __reduce__(self) -> Any:
        return Encoded, (self.folder, self.rows, self.shared)

    def _batch(self, row: Any) -> int:
        return int(np.searchsorted(self._starts, row, "right")) - 1


def _views(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (n + 1,) and values of a list column, without copying either."""
    return column.offsets.to_numpy(zero_copy_only=True), column.values.to_numpy(zero_copy_only=True)


def _item(view: tuple[np.ndarray, np.ndarray], at: int) -> np.ndarray:
    offsets, values = view
    return values[offsets[at] : offsets[at + 1]]


def fits(example: Any) -> bool:
    """Whether examples like this one can be kept: tensors of numbers, or dicts of lists of whole numbers."""
    if isinstance(example, dict):
        return bool(example) and all(
            name not in OURS and isinstance(values, list) and all(type(v) is int for v in values)
            for name, values in example.items()
        )
    return isinstance(example, Tensor) and example.dtype in DTYPES and example.device.type == "cpu"


def size_of(example: Any) -> int:
    """Bytes of the values of an example as they are kept; ROW more say what they are."""
    return example.nbytes if isinstance(example, Tensor) else 4 * sum(map(len, example.values()))


def write(root: Path, key: str, examples: Iterable[tuple[Any, int, int]], about: dict[str, Any]) -> Path:
    """Write the store `key` in the folder `root`, within `tlx.cache.stores.making`; returns its folder.

    examples: (example, length, cut) each; the example None where it could not be decoded. `about` gets the `seconds`
    that they took.

    Raises:
        Unfit: examples of different kinds, or of one that cannot be kept.
        OSError: among others, a full disk.
    """
    began = time.perf_counter()
    draft = new_draft(root, key)
    batch = _Batch()
    with (draft / FILE).open("xb") as file:
        writer = None
        for example, length, cut in examples:
            batch.add(example, length, cut)
            if batch.bytes >= BATCH:
                writer = writer or pa.ipc.new_file(file, batch.schema)
                writer.write_batch(batch.flush())
        if len(batch.lengths) or writer is None:
            writer = writer or pa.ipc.new_file(file, batch.schema)
            writer.write_batch(batch.flush())
        writer.close()
        file.flush()
        os.fsync(file.fileno())
    describe(draft, about | {"seconds": time.perf_counter() - began})
    return put_in_place(draft)


class _Batch:
    """Rows on their way to the file."""

    def __init__(self) -> None:
        self.kinds: dict[str, pa.DataType] = {}
        self._clear()

    def _clear(self) -> None:
        self.values: dict[str, list[np.ndarray]] = {name: [] for name in self.kinds}
        self.shapes: list[tuple[int, ...]] = []
        self.lengths: list[int] = []
        self.cut: list[int] = []
        self.digests: list[bytes] = []
        self.bytes = 0

    @property
    def schema(self) -> pa.Schema:
        if not self.kinds:
            raise Unfit("no example could be decoded")
        columns = {name: pa.large_list(kind) for name, kind in self.kinds.items()}
        shape = {"shape": pa.large_list(pa.int64())} if "values" in self.kinds else {}
        return pa.schema(columns | shape | {"length": pa.int64(), "digest": pa.binary(32), "cut": pa.int8()})

    def add(self, example: Any, length: int, cut: int) -> None:
        """Raises Unfit for an example that is not like the first."""
        if example is None:
            flat: dict[str, np.ndarray] = {}
        elif not fits(example):
            raise Unfit(type(example).__name__)
        elif isinstance(example, Tensor):
            example = example.contiguous()  # once, for its values and their hash
            flat = {"values": example.flatten().numpy()}
            kinds = {"values": DTYPES[example.dtype]}
        else:
            try:
                flat = {name: np.array(values, dtype=np.int32) for name, values in example.items()}
            except OverflowError as error:
                raise Unfit(str(error)) from error
            kinds = dict.fromkeys(example, pa.int32())
        if flat and not self.kinds:
            self.kinds = kinds
            # What came before it could not be decoded.
            self.values = {name: [np.empty(0, a.dtype)] * len(self.lengths) for name, a in flat.items()}
        elif flat and list(kinds.items()) != list(self.kinds.items()):
            raise Unfit("examples of different kinds")
        for name, kind in self.kinds.items():
            self.values[name].append(flat.get(name, np.empty(0, kind.to_pandas_dtype())))
        self.shapes.append(tuple(example.shape) if isinstance(example, Tensor) else ())
        self.lengths.append(-1 if example is None else length)
        self.cut.append(cut)
        self.digests.append(digest_of(example))
        self.bytes += sum(a.nbytes for a in flat.values())

    def flush(self) -> pa.RecordBatch:
        """The rows so far as Arrow's; then there are none."""
        schema = self.schema
        columns = [_lists(self.values[name], kind) for name, kind in self.kinds.items()]
        if "values" in self.kinds:
            columns.append(_lists([np.array(s, dtype=np.int64) for s in self.shapes], pa.int64()))
        columns += [pa.array(self.lengths, pa.int64()), pa.array(self.digests, pa.binary(32))]
        columns += [pa.array(self.cut, pa.int8())]
        self._clear()
        return pa.RecordBatch.from_arrays(columns, schema=schema)


def _lists(rows: Sequence[np.ndarray], kind: pa.DataType) -> pa.Array:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(rows), kind))
