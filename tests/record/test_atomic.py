"""Files are whole or absent, also when the disk is full or the writer dies; checkpoints of before stay valid."""

import errno
import importlib.util
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import lightning as L
import pytest
import torch

from tlx.config.composer import composer
from tlx.fit.checkpoints import LAST, PREVIOUS, SafeCheckpointIO, is_whole, resume_point
from tlx.record.atomic import atomic
from tlx.record.record import read_record
from tlx.sweeps.prepare import prepare
from tlx.sweeps.worker import do

_spec = importlib.util.spec_from_file_location("processes", Path(__file__).parents[1] / "sweeps" / "processes.py")
assert _spec and _spec.loader
processes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(processes)


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB: a run's checkpoints and a little more."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, left: int) -> Path:
    """Fill a disk but for so many bytes, and return what lies on it now."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    with ballast.open("wb") as file:
        file.write(bytes(free.f_bavail * free.f_frsize - left))
    return ballast


class Fill(L.Callback):
    """Fills the disk after an epoch, but for less than a checkpoint takes."""

    def __init__(self, disk: Path, epoch: int) -> None:
        self.disk, self.epoch = disk, epoch

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            fill(self.disk, 2**20)


def test_a_run_whose_disk_fills_up_goes_on_when_there_is_space(tlx, small_disk: Path) -> None:
    words = ["strategy=scratch", "trainer.max_epochs=4", "trainer.checkpoint_seconds=0"]
    with composer() as compose:
        paths = [f"paths.runs={small_disk}", "study=cut"], ["study=whole"]
        run, whole = (prepare(compose, [*tlx.quick, *words, *more], False)[0] for more in paths)
    with pytest.raises(OSError, match=f"No space left on device: '{run.folder}/checkpoints/last.ckpt'"):
        do(run, [Fill(small_disk, 2)])
    record = read_record(run.folder)
    assert record and record["status"] == "failed" and record["error"]["type"] == "DiskFull"
    said = record["error"]["message"]
    assert said.startswith("the disk is full") and str(run.folder) in said and "Free some space" in said
    checkpoints = run.folder / "checkpoints"
    assert resume_point(checkpoints) == checkpoints / LAST
    assert not list(checkpoints.glob(".*"))
    (small_disk / "ballast").unlink()
    do(run)
    do(whole)
    records = [read_record(one.folder) or {} for one in (run, whole)]
    assert records[0]["attempt"] == 1 and [s["resumed"] for s in records[0]["sittings"]] == [False, True]
    for key in ("status", "metrics", "checkpoint", "counts"):
        assert records[0][key] == records[1][key], key


@pytest.mark.slow
def test_a_sweep_whose_disk_is_so_full_that_no_record_can_be_written(tlx, small_disk: Path) -> None:
    runs = small_disk / "runs"
    words = ["-m", "strategy=scratch", "trainer.max_epochs=40", "trainer.checkpoint_seconds=0", f"paths.runs={runs}"]
    words += ["hydra.launcher.backend=local"]
    with processes.Accident(lambda: processes.running(runs / "adhoc", 0, epoch=1), lambda _: fill(small_disk, 0)):
        outcome = tlx.train(*words)
    assert outcome.code == 1, outcome.err
    assert "the disk is full" in outcome.err and str(runs) in outcome.err and "a bug?" not in outcome.err
    (small_disk / "ballast").unlink()
    assert tlx.train(*words).code == 0
    (record,) = [read_record(file.parent) or {} for file in runs.glob("adhoc/*/record.json")]
    assert [sitting["resumed"] for sitting in record["sittings"]] == [False, True]


def test_a_run_on_a_full_disk_says_so(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    save = SafeCheckpointIO.save_checkpoint
    monkeypatch.setattr(SafeCheckpointIO, "save_checkpoint", full_disk)
    outcome = tlx.train()
    assert outcome.code == 1 and "the disk is full" in outcome.err
    (record,) = tlx.records()
    assert record["status"] == "failed" and "Free some space" in record["error"]["message"]
    monkeypatch.setattr(SafeCheckpointIO, "save_checkpoint", save)
    assert tlx.train().code == 0
