"""Encoded examples on disk: what comes back, what a killed writer leaves, and what is refused."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tlx.cache.contents import digest_of
from tlx.cache.stores import clear, entries, making, prepared_folder
from tlx.data import encoded
from tlx.data.encoded import DTYPES, Encoded, Unfit, write

ABOUT = {"part": "train", "examples": 3, "modality": "audio"}
IDS = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6)


def tensors(dtype: torch.dtype) -> st.SearchStrategy[torch.Tensor]:
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    shape = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    return arrays.arrays(kind, shape).map(torch.from_numpy)


def texts() -> st.SearchStrategy[list[dict[str, list[int]]]]:
    names = st.sampled_from([["input_ids"], ["input_ids", "token_type_ids"], ["b", "a", "c"]])
    rows = names.flatmap(lambda n: st.lists(st.tuples(*[IDS] * len(n)), min_size=1, max_size=9).map(lambda r: (n, r)))
    return rows.map(lambda found: [dict(zip(found[0], row, strict=True)) for row in found[1]])


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        same = type(other) is torch.Tensor and one.dtype == other.dtype and one.shape == other.shape
        return same and one.numpy().tobytes() == other.numpy().tobytes()  # NaN is itself, -0 is not 0
    if one is None:
        return other is None
    return list(one.items()) == list(other.items()) and all(type(v) is int for ids in other.values() for v in ids)


@pytest.fixture(params=[encoded.BATCH, 8], ids=["one batch", "several batches"])
def _batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "BATCH", request.param)


@pytest.mark.usefixtures("_batches")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(texts(), *(st.lists(tensors(dtype), min_size=1, max_size=9) for dtype in DTYPES)),
    st.sets(st.integers(0, 9), max_size=4),
    st.randoms(use_true_random=False),
)
def test_what_was_written_comes_back(tmp_path: Path, examples: list[Any], holes: set[int], rng: Any) -> None:
    rows: list[tuple[Any, int, int]] = [(example, rng.randrange(100), rng.randrange(-1, 2)) for example in examples]
    for hole in sorted(holes):
        rows.insert(hole, (None, 0, -1))
    store = Encoded(write(tmp_path, "a", rows, ABOUT))
    assert len(store) == len(rows)
    assert store.lengths.tolist() == [-1 if example is None else length for example, length, _ in rows]
    order = rng.sample(range(len(rows)), len(rows))
    taken = store.take(np.array(order))
    for read, expected in ((store, rows), (taken, [rows[i] for i in order])):
        for same in (read, pickle.loads(pickle.dumps(read))):
            assert all(alike(e, found) for (e, *_), found in zip(expected, same, strict=True))
            assert list(same.digests) == [digest_of(example) for example, *_ in expected]
            assert same.cut.tolist() == [cut for *_, cut in expected]


def test_items_are_the_readers_own_and_end_where_the_rows_do(tmp_path: Path) -> None:
    store = Encoded(write(tmp_path, "a", [(torch.arange(4.0), 4, 0), (torch.ones(2), 2, 1)], ABOUT))
    store[0].add_(100)
    assert store[0].tolist() == [0, 1, 2, 3] and [len(e) for e in store] == [4, 2]
    with pytest.raises(IndexError):
        store[2]
    again = store.take(np.array([1, 1, 0]))
    assert [len(e) for e in again] == [2, 2, 4] and again.lengths.tolist() == [2, 2, 4]


@pytest.mark.parametrize(
    "examples",
    [
        [torch.ones(2), torch.ones(2, dtype=torch.uint8)],
        [torch.ones(2), {"input_ids": [1]}],
        [{"input_ids": [1]}, {"input_ids": [1], "token_type_ids": [0]}],
        [{"input_ids": [1.5]}],
        [{"input_ids": [True]}],
        [{"input_ids": [2**31]}],
        [{"length": [1]}],
        [torch.ones(2, dtype=torch.bfloat16)],
        [np.ones(2)],
        [None, None],
    ],
    ids=str,
)
def test_what_would_not_come_back_as_it_was_is_refused(tmp_path: Path, examples: list[Any]) -> None:
    with pytest.raises(Unfit):
        write(tmp_path, "a", [(example, 1, 0) for example in examples], ABOUT)
    assert Encoded.open(tmp_path / "a") is None


def test_a_reader_goes_on_after_its_store_was_removed(tmp_path: Path) -> None:
    store = Encoded(
        write(prepared_folder(tmp_path), "a", [(torch.full((5000,), float(i)), 1, 0) for i in range(9)], ABOUT)
    )
    (entry,) = entries(tmp_path)
    assert entry.about["modality"] == "audio" and entry.about["seconds"] > 0 and entry.bytes > 9 * 20_000
    assert clear(tmp_path)[0] == 1 and Encoded.open(entry.folder) is None
    assert [float(example[-1]) for example in store] == list(range(9))


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from tlx.cache.stores import making
from tlx.data import encoded
encoded.BATCH = 8
root = Path(sys.argv[1])
def examples():
    for i in range(5):
        yield torch.ones(8), 8, 0
        if i == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
with making(root, "a"):
    encoded.put_in_place = lambda draft: os.kill(os.getpid(), signal.SIGKILL)
    encoded.write(root, "a", examples(), {})
"""


@pytest.mark.parametrize("moment", [0, 3, 5], ids=["early", "late", "before it is in place"])
def test_a_killed_writer_leaves_nothing_that_is_read_or_waited_for(tmp_path: Path, moment: int) -> None:
    root = prepared_folder(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), str(moment)], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert Encoded.open(root / "a") is None and entries(tmp_path) == []
    with making(root, "a"):
        store = Encoded(write(root, "a", [(torch.ones(2), 2, 0)], ABOUT))
    assert torch.equal(store[0], torch.ones(2))
    assert [entry.folder.name for entry in entries(tmp_path)] == ["a"]
