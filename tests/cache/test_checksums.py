"""Kept work is compared with its checksums before it is used: what is damaged is said, dropped and made again."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tlx.cache import checksums
from tlx.cache.scores import kept_scores
from tlx.cache.store import Store, Writer
from tlx.cache.stores import clear, damage, entries, features_folder, make_room, new_draft
from tlx.data.encoded import Encoded
from tlx.data.encoded import write as write_examples

ABOUT = {"boundary": "b", "part": "train", "examples": 3, "mode": "on", "seconds": 1.0, "padding": "right"}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "SIZE", 100)
    checksums.noted()


def features(cache: Path) -> Path:
    writer = Writer(features_folder(cache), "a", half=False)
    writer.add([0, 1, 2], [1, 1, 1], [torch.arange(300.0).reshape(3, 100)], [(7,)])
    writer.readable()
    writer.finish(ABOUT)
    return features_folder(cache) / "a"


def examples(cache: Path) -> Path:
    rows = [(torch.arange(200, dtype=torch.uint8), 200, 0) for _ in range(3)]
    return write_examples(cache / "prepared", "a", rows, {"part": "train", "examples": 3, "modality": "image"})


def scores(cache: Path) -> Path:
    about = {"model": "m", "part": "test", "examples": 3}
    kept_scores(cache, "a", about, 10**9, lambda: {"accuracy": 0.5})
    return cache / "scores" / "a"


def opened(folder: Path) -> object:
    if folder.parent.name == "features":
        return Store.open(folder.parent, folder.name)
    if folder.parent.name == "prepared":
        return Encoded.open(folder)
    return kept_scores(folder.parent.parent, "a", {}, 0, lambda: {"accuracy": 0.25})[0]["accuracy"] == 0.5


def zero(name: str, start: int, count: int = 4) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[start : start + count] = bytes(b ^ 255 for b in data[start : start + count])
        (folder / name).write_bytes(data)

    return act


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def other_value(folder: Path) -> None:
    """A description that is still JSON, and says something else."""
    meta = json.loads((folder / "meta.json").read_text())
    meta["about"]["examples"] = 2
    (folder / "meta.json").write_text(json.dumps(meta))


@pytest.mark.parametrize(
    "make, act, where",
    [
        (features, zero("values.bin", 850), r"values\.bin: block 9 of 12"),
        (features, cut("values.bin", 1100), r"values\.bin: its size"),
        (features, cut("values.bin", 0), r"values\.bin: its size"),
        (features, zero("index.npz", 60), r"index\.npz: block 1 of"),
        (features, lambda folder: (folder / "values.bin").unlink(), r"values\.bin: it is gone"),
        (features, cut("meta.json", 40), r"meta\.json"),
        (features, other_value, r"meta\.json"),
        (examples, zero("examples.arrow", 300), r"examples\.arrow: block 4 of"),
        (examples, cut("meta.json", 0), r"meta\.json"),
        (scores, cut("meta.json", 30), r"meta\.json"),
        (scores, other_value, r"meta\.json"),
    ],
)
def test_what_is_damaged_is_dropped_and_said(tmp_path: Path, capsys, make, act, where: str) -> None:
    folder = make(tmp_path)
    assert opened(folder) and damage(tmp_path) == ([], 1, 0)
    act(folder)
    (found,), count, _ = damage(tmp_path)
    assert found[0] == folder and re.search(where, found[1]) and count == 1
    assert not opened(folder)
    assert not folder.exists() and entries(tmp_path) == []
    (said,) = checksums.noted()
    assert str(folder) in said and "made again" in said and said in capsys.readouterr().err
    assert make(tmp_path) == folder and opened(folder), "it can be made again"


def test_a_store_is_read_through_once_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = features(tmp_path)
    passes = []
    real = checksums.of_file
    monkeypatch.setattr(checksums, "of_file", lambda file: passes.append(file.name) or real(file))
    for _ in range(3):
        assert opened(folder)
    assert sorted(passes) == ["index.npz", "values.bin"]
    (folder / "values.bin").touch()
    assert opened(folder) and len(passes) == 4


def test_a_store_of_an_earlier_version_is_made_again_without_a_word(tmp_path: Path) -> None:
    folder = features(tmp_path)
    meta = json.loads((folder / "meta.json").read_text())
    del meta["checksum"], meta["checksums"]
    (folder / "meta.json").write_text(json.dumps(meta))
    assert damage(tmp_path) == ([], 1, 1) and not opened(folder) and checksums.noted() == []
    assert [entry.damaged for entry in entries(tmp_path)] == [False]


def test_a_damaged_description_blocks_no_verb(verbs, tmp_path: Path) -> None:
    given = ["--folder", str(tmp_path)]
    good, bad = examples(tmp_path), features(tmp_path)
    assert verbs("cache", "verify", *given).out == f"2 of 2 stores in {tmp_path} are as they were written.\n"
    cut("meta.json", 40)(bad)
    assert f"damaged: {bad}" in verbs("cache", "list", *given).out
    outcome = verbs("cache", "verify", *given)
    assert outcome.code == 1 and f"damaged: {bad} (meta.json)" in outcome.out and bad.is_dir()
    assert verbs("cache", "list", "--drop", *given).code == 2
    outcome = verbs("cache", "verify", "--drop", *given)
    assert outcome.code == 1 and "removed" in outcome.out and not bad.exists() and good.is_dir()
    assert verbs("cache", "verify", *given).code == 0
    cut("meta.json", 40)(features(tmp_path))
    assert verbs("cache", "clear", *given).code == 0 and not bad.exists() and not good.exists()


def test_a_damaged_store_is_the_first_to_make_room(tmp_path: Path) -> None:
    good, bad = examples(tmp_path), features(tmp_path)
    cut("meta.json", 40)(bad)
    total = sum(entry.bytes for entry in entries(tmp_path))
    assert make_room(tmp_path / "prepared", 10, total)
    assert good.is_dir() and not bad.exists()


def test_clear_takes_what_a_killed_process_had_begun_to_remove(tmp_path: Path) -> None:
    import os

    folder, young = features(tmp_path), new_draft(features_folder(tmp_path), "b")
    (folder / "meta.json").unlink()
    os.utime(folder, (1e9, 1e9))
    clear(tmp_path)
    assert not folder.exists() and young.is_dir()
