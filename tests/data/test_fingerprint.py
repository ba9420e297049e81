"""Fingerprints follow content, not paths; remembered hashes cost nothing and are never wrong."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tlx.data import hub
from tlx.data.fingerprint import fingerprint
from tlx.errors import UserError
from tlx.record import hashes as module
from tlx.record.hashes import file_hash, folder_hash


def test_file_hash_is_sha256_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, cache = tmp_path / "f", tmp_path / "deep" / "cache.json"
    monkeypatch.setattr(module, "RESOLUTION", -(10**12))  # nothing is too young
    file.write_bytes(b"abc")
    assert file_hash(file) == file_hash(file, cache) == hashlib.sha256(b"abc").hexdigest()
    assert list(cache.parent.iterdir()) == [cache]

    def never(*_):
        raise AssertionError("the file was read again")

    with monkeypatch.context() as patch:
        patch.setattr(module.hashlib, "file_digest", never)
        assert file_hash(file, cache) == hashlib.sha256(b"abc").hexdigest()
    file.write_bytes(b"abd")
    os.utime(file, ns=(1, 1))
    assert file_hash(file, cache) == hashlib.sha256(b"abd").hexdigest()


def test_times_set_back_hide_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive sets every file's time: of the corrected release only the status and the inode tell."""
    monkeypatch.setattr(module, "RESOLUTION", -(10**12))
    file, cache = tmp_path / "f", tmp_path / "cache.json"
    for content in (b"pos,neg", b"neg,pos"):
        file.write_bytes(content)
        os.utime(file, (315532800, 315532800))
        assert file_hash(file, cache) == hashlib.sha256(content).hexdigest()
    other = tmp_path / "other"
    other.write_bytes(b"new,new")
    os.utime(other, (315532800, 315532800))
    other.replace(file)
    assert file_hash(file, cache) == hashlib.sha256(b"new,new").hexdigest()


def test_what_may_change_within_one_tick_of_the_clock_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, cache = tmp_path / "f", tmp_path / "cache.json"
    file.write_bytes(b"abc")
    assert file_hash(file, cache) == hashlib.sha256(b"abc").hexdigest()
    assert not cache.exists()
    now = module.time.time_ns()
    monkeypatch.setattr(module.time, "time_ns", lambda: now + 3 * module.RESOLUTION)
    file_hash(file, cache)
    assert list(json.loads(cache.read_text())) == [str(file)]
    os.utime(file, ns=(now, now + 10**18))  # a time of modification in the far future keeps nothing from being known
    cache.unlink()
    monkeypatch.setattr(module.time, "time_ns", lambda: now + 9 * module.RESOLUTION)
    file_hash(file, cache)
    assert list(json.loads(cache.read_text())) == [str(file)]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1}', '{"f": [3, 0, "old"]}'])
def test_a_damaged_cache_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(module, "RESOLUTION", -(10**12))
    file, cache = tmp_path / "f", tmp_path / "cache.json"
    file.write_bytes(b"abc")
    cache.write_text(content)
    assert file_hash(file, cache) == hashlib.sha256(b"abc").hexdigest()
    assert list(json.loads(cache.read_text())) == [str(file)]


def test_the_cache_is_shared_by_all_whom_the_umask_lets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESOLUTION", -(10**12))
    (tmp_path / "f").write_bytes(b"abc")
    file_hash(tmp_path / "f", tmp_path / "cache.json")
    assert (tmp_path / "cache.json").stat().st_mode == (tmp_path / "f").stat().st_mode


def test_several_files_share_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESOLUTION", -(10**12))
    cache = tmp_path / "cache.json"
    for name in "ab":
        (tmp_path / name).write_text(name)
        file_hash(tmp_path / name, cache)
    assert len(json.loads(cache.read_text())) == 2


def test_folder_hash_follows_names_and_contents_not_places(tmp_path: Path) -> None:
    one = tmp_path / "one"
    (one / "sub").mkdir(parents=True)
    (one / "sub" / "w.safetensors").write_bytes(b"123")
    (one / "config.json").write_bytes(b"{}")
    first = folder_hash(one)
    assert folder_hash(Path(shutil.copytree(one, tmp_path / "two")), tmp_path / "cache.json") == first
    (one / ".cache").mkdir()
    (one / ".cache" / "time").write_text("now")
    (one / "README.md").write_text("hello")
    assert folder_hash(one, skip=["*.md"]) == first != folder_hash(one)
    (one / "sub" / "w.safetensors").rename(one / "w.safetensors")
    assert folder_hash(one, skip=["*.md"]) != first
    assert folder_hash(one / "config.json") == file_hash(one / "config.json")
    with pytest.raises(UserError, match="no file to hash"):
        folder_hash(one, skip=["*"])
    with pytest.raises(UserError, match="no such file or folder"):
        folder_hash(tmp_path / "three")
    with pytest.raises(UserError, match="cannot be read"):
        file_hash(tmp_path / "three")


def test_linked_folders_are_hashed_like_copied_ones(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (place / "a", place / ".hidden", elsewhere / "deep"):
        folder.mkdir(parents=True)
        (folder / "f").write_bytes(folder.name.encode())
    without = folder_hash(place)
    for name in ("c", "d"):  # twice the same folder: neither is left out
        (place / name).symlink_to("../elsewhere")
    copied = Path(shutil.copytree(place, tmp_path / "copied"))
    assert not (copied / "c").is_symlink()
    assert folder_hash(place) == folder_hash(copied) != without
    before = folder_hash(place)
    (elsewhere / "deep" / "f").write_bytes(b"changed")
    assert folder_hash(place) != before


def test_what_a_folder_without_links_hashes_to_stays_what_it_was(tmp_path: Path) -> None:
    for name in ("b/f", "a/g/f", "a.txt", "a/.h", ".x/f"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    lines = [f"{name}\0{hashlib.sha256(name.encode()).hexdigest()}" for name in ("a.txt", "a/g/f", "b/f")]
    assert folder_hash(tmp_path) == hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    place = tmp_path / "data"
    (place / "a").mkdir(parents=True)
    (place / "a" / "f").write_text("f")
    without = folder_hash(place)
    (place / "a" / "up").symlink_to("..")
    (place / "self").symlink_to("self")
    (place / "nowhere").symlink_to("nowhere at all")
    assert folder_hash(place) == without
    assert module.visible_files(place) == [place / "a" / "f"]
    assert module.visible_files(tmp_path / "none") == []


def test_a_data_set_is_its_tables_and_what_they_refer_to(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "clips").mkdir(parents=True)
    (data / "clips" / "a.wav").write_bytes(b"sound")
    for name in ("train", "extra"):
        pd.DataFrame({"audio": ["clips/a.wav"], "label": [name]}).to_csv(data / f"{name}.csv", index=False)
    (data / "README.txt").write_text("hello")
    first, train = fingerprint(str(data)), fingerprint(str(data), splits={"train": "train"})
    assert first != train
    (data / "README.txt").write_text("changed")
    assert fingerprint(str(shutil.copytree(data, tmp_path / "moved")), cache=tmp_path / "c.json") == first
    (data / "extra.csv").unlink()
    assert fingerprint(str(data)) == fingerprint(str(data), splits={"train": "train"})
    (data / "clips" / "a.wav").write_bytes(b"noise")
    assert fingerprint(str(data), splits={"train": "train"}) != train
    single = fingerprint(str(data / "train.csv"))
    (data / "clips" / "a.wav").write_bytes(b"sound")
    assert fingerprint(str(data / "train.csv")) != single


def test_an_image_folder_is_its_files(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(b"pixels")
    first = fingerprint(str(tmp_path))
    (tmp_path / "dog" / "1.png").rename(tmp_path / "dog" / "2.png")
    assert fingerprint(str(tmp_path)) != first
    with pytest.raises(UserError, match="no such file or folder"):
        fingerprint(str(tmp_path / "nowhere"))


def test_hub_fingerprints_use_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {None: "a" * 40, "v1": "a" * 40, "v2": "b" * 40}
    monkeypatch.setattr(hub, "_ask", lambda name, revision: answers[revision])
    assert fingerprint("hub:o/n", None) == fingerprint("hub:o/n", "v1") == fingerprint("hub:o/n", "a" * 40)
    assert len({fingerprint("hub:o/n", r, s) for r in ("v1", "v2") for s in (None, "de")}) == 4


def test_hub_fingerprints_exist_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    def no_network(name, revision):
        raise OSError("Name or service not known")

    monkeypatch.setattr(hub, "_ask", no_network)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    plain = fingerprint("hub:o/n")
    refs = tmp_path / "datasets--o--n" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("a" * 40)
    assert fingerprint("hub:o/n") == fingerprint("hub:o/n", "a" * 40) != plain
