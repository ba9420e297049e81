"""`tlx doctor`: what is there, what is missing and how to get it."""

import importlib.util
from pathlib import Path

import pytest


def test_a_healthy_machine(tlx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = tlx("doctor")
    assert outcome.code == 0 and not outcome.err
    for word in ("python", "torch", "lightning", "timm", "devices: cpu", "runs/ can be written", "configs"):
        assert word in outcome.out
    assert not any(tmp_path.iterdir()), "an examination leaves nothing behind"


def test_a_missing_package(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    from tlx.record import versions

    found = versions.versions() | {"timm": None}
    monkeypatch.setattr(versions, "versions", lambda: found)
    outcome = tlx("doctor")
    assert outcome.code == 1
    assert "NO  timm is missing: make setup" in outcome.out
    assert outcome.err.startswith("tlx: something that tlx needs is missing")


def test_an_optional_package_is_no_illness(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    gone = ("wandb", "tensorboard", "ray", "submitit", "optuna")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in gone else find(name, *rest))
    outcome = tlx("doctor")
    assert outcome.code == 0
    for name, option, extra in zip(
        gone,
        ("logger=wandb", "logger=tensorboard", "hydra/launcher=ray", "hydra/launcher=slurm", "hydra/sweeper=optuna"),
        ("wandb", "tensorboard", "ray", "slurm", "search"),
        strict=True,
    ):
        assert f"--  {name} is missing; needed for {option} (pip install 'tlx[{extra}]')" in outcome.out


def test_a_folder_that_cannot_be_written(tlx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.chdir(tmp_path)

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    outcome = tlx("doctor")
    assert outcome.code == 1
    assert "NO  .cache/ cannot be written: Permission denied; choose paths.cache=FOLDER" in outcome.out
