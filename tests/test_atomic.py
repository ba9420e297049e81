"""Files are whole or absent, also when the disk is full or the writer dies; checkpoints of before stay valid."""

import errno
import os
from pathlib import Path

import pytest
import torch

from tlx.atomic import atomic
from tlx.checkpoints import LAST, PREVIOUS, SafeCheckpointIO, is_whole, resume_point


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "below/file"
    with atomic(file) as out:
        out.write(b"old")
    with pytest.raises(ZeroDivisionError), atomic(file) as out:
        out.write(b"new")
        raise ZeroDivisionError
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"), atomic(file) as out:
        out.write(b"new")
    assert file.read_bytes() == b"old" and [f.name for f in file.parent.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_last_checkpoint_to_resume_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = SafeCheckpointIO()
    for step in (1, 2):
        files.save_checkpoint({"step": step}, tmp_path / LAST)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space left"):
            files.save_checkpoint({"step": 3}, tmp_path / LAST)
    found = resume_point(tmp_path)
    assert found is not None and files.load_checkpoint(found) == {"step": 2}


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_any_cut_is_noticed(tmp_path: Path, keep: int) -> None:
    files = SafeCheckpointIO()
    for step in (1, 2):
        files.save_checkpoint({"step": step, "weights": torch.randn(100)}, tmp_path / LAST)
    content = (tmp_path / LAST).read_bytes()
    (tmp_path / LAST).write_bytes(content[:keep])
    assert not is_whole(tmp_path / LAST) and is_whole(tmp_path / PREVIOUS)
    assert resume_point(tmp_path) == tmp_path / PREVIOUS


def test_a_changed_weight_is_noticed(tmp_path: Path) -> None:
    SafeCheckpointIO().save_checkpoint({"weights": torch.full((64,), 1.0)}, tmp_path / LAST)
    content = (tmp_path / LAST).read_bytes()
    one = torch.ones(1).numpy().tobytes()
    assert one * 8 in content
    (tmp_path / LAST).write_bytes(content.replace(one * 8, torch.full((8,), 2.0).numpy().tobytes(), 1))
    assert not is_whole(tmp_path / LAST) and resume_point(tmp_path) is None


def test_a_run_on_a_full_disk_says_so(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    save = SafeCheckpointIO.save_checkpoint
    monkeypatch.setattr(SafeCheckpointIO, "save_checkpoint", full_disk)
    outcome = tlx.train()
    assert outcome.code == 1 and "the disk is full" in outcome.err
    (record,) = tlx.records()
    assert record["status"] == "failed" and "Free some space" in record["error"]["message"]
    monkeypatch.setattr(SafeCheckpointIO, "save_checkpoint", save)
    assert tlx.train().code == 0
