"""Stores of frozen layers' outputs: what comes back, what a killed writer leaves, who makes room for whom."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tlx.cache.store import Store, Writer
from tlx.cache.stores import clear, entries, features_folder, make_room, making

ABOUT = {"boundary": "layer.2", "part": "train", "examples": 3, "mode": "on", "seconds": 1.0, "padding": "right"}


def write(root: Path, key: str, values: dict[int, torch.Tensor], half: bool = False) -> Store:
    """One store of examples of different lengths, by position."""
    writer = Writer(root, key, half)
    for position, value in sorted(values.items(), key=lambda item: len(item[1])):
        writer.add([position], [len(value)], [value[None]], [(len(value), 5)])
    writer.readable()
    writer.finish(ABOUT)
    found = Store.open(root, key)
    assert found is not None
    return found


def test_short_examples_are_filled_on_the_side_that_is_asked_for(tmp_path: Path) -> None:
    values = {0: torch.randn(4, 2), 1: torch.randn(1, 2), 2: torch.randn(3, 2)}
    store = write(tmp_path, "a", values)
    (right,), skipped = store.read([2, 1, 0], at_end=False)
    (left,), _ = store.read([2, 1, 0], at_end=True)
    assert skipped == [(4, 5)] and right.shape == left.shape == (3, 4, 2)
    for row, position in enumerate((2, 1, 0)):
        length = len(values[position])
        assert torch.equal(right[row, :length], values[position]) and not right[row, length:].any()
        assert torch.equal(left[row, 4 - length :], values[position]) and not left[row, : 4 - length].any()


def test_examples_of_one_shape_come_back_as_they_were(tmp_path: Path) -> None:
    values = torch.randn(6, 3, 2)
    writer = Writer(tmp_path, "a", half=False)
    writer.add([5, 0, 2], [1, 1, 1], [values[[5, 0, 2]]], [(7,)])
    writer.add([1, 4, 3], [1, 1, 1], [values[[1, 4, 3]]], [(7,)])
    (read,), skipped = writer.readable().read([4, 0, 5, 4], at_end=False)
    assert torch.equal(read, values[[4, 0, 5, 4]]) and skipped == [(7,)]


def test_half_precision_is_rounded_once_and_takes_half_the_room(tmp_path: Path) -> None:
    values = {i: torch.randn(50, 20) for i in range(3)}
    half, whole = write(tmp_path, "half", values, half=True), write(tmp_path, "whole", values)
    (read,), _ = half.read([1], at_end=False)
    assert read.dtype == torch.float32 and torch.equal(read[0], values[1].bfloat16().float())
    assert half.values.nbytes * 2 == whole.values.nbytes


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    root = features_folder(tmp_path)
    for age, key in enumerate(("new", "middle", "old")):
        write(root, key, {0: torch.randn(100, 10)})
        os.utime(root / key / "meta.json", (1e9 - age, 1e9 - age))
    each = entries(tmp_path)[0].bytes
    assert Store.open(root, "old") is not None  # using one makes it the last to go
    assert make_room(root, each, limit=3 * each + 10)
    assert {entry.folder.name for entry in entries(tmp_path)} == {"old", "new"}
    assert not make_room(root, 4 * each, limit=3 * each), "more than the limit never fits"
    assert {entry.folder.name for entry in entries(tmp_path)} == {"old", "new"}, "and nothing goes for it"


def test_a_reader_goes_on_after_its_store_was_removed(tmp_path: Path) -> None:
    values = {0: torch.randn(30, 10)}
    root = features_folder(tmp_path)
    store = write(root, "a", values)
    count, total = clear(tmp_path)
    assert count == 1 and total > 1200 and Store.open(root, "a") is None
    assert torch.equal(store.read([0], at_end=False)[0][0][0], values[0])


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from tlx.cache.stores import making
from tlx.cache.store import Writer
with making(Path(sys.argv[1]), "a"):
    writer = Writer(Path(sys.argv[1]), "a", half=False)
    writer.add([0], [3], [torch.randn(1, 3, 2)], [(3,)])
    if sys.argv[2] == "late":
        writer.readable()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["early", "late"])
def test_a_killed_writer_leaves_nothing_that_is_read_or_waited_for(tmp_path: Path, moment: str) -> None:
    root = features_folder(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), moment], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert Store.open(root, "a") is None and entries(tmp_path) == []
    with making(root, "a"):
        store = write(root, "a", {0: torch.ones(2, 2)})
    assert torch.equal(store.read([0], at_end=False)[0][0], torch.ones(1, 2, 2))
    assert [entry.folder.name for entry in entries(tmp_path)] == ["a"]
