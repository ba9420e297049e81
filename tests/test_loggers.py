"""Loggers: metrics.csv always; Weights & Biases offline, one run there per run here."""

import importlib.util
import json

import pandas as pd
import pytest

needs_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")


def test_metrics_csv(tlx) -> None:
    tlx.record("strategy=scratch", "trainer.max_epochs=3")
    frame = pd.read_csv(next(tlx.runs.glob("adhoc/*/metrics.csv")))
    assert {"step", "epoch", "val/accuracy", "val/loss"} <= set(frame.columns)
    assert frame["val/accuracy"].count() == 3


@needs_wandb
def test_wandb_offline(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    made = []
    init = WandbLogger.__init__

    def watch(self, **options):
        made.append(options)
        init(self, **options)

    monkeypatch.setattr(WandbLogger, "__init__", watch)
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert tlx.train("-m", "logger=wandb", "strategy=scratch", "seed=0,1").code == 0
    assert wandb.run is None, "every run closes its own"
    records = tlx.records()
    folders = sorted((tlx.runs / "adhoc").glob("*/record.json"))
    assert len(made) == len(records) == 2
    for record, options, file in zip(records, made, folders, strict=True):
        (kept,) = (file.parent / "wandb").glob("offline-run-*")
        assert kept.name.endswith(f"-{record['identity'][:16]}")
        assert options["id"] == record["identity"][:16]
        assert options["group"] == record["cell"][:16]
        assert options["name"] == file.parent.name
    assert made[0]["group"] == made[1]["group"] and made[0]["id"] != made[1]["id"]
    # A copy: the record and metrics.csv are there as always, and the numbers are those of a run without it.
    assert (folders[0].parent / "metrics.csv").is_file()
    assert json.loads(folders[0].read_text())["metrics"] == tlx.record("strategy=scratch", "study=plain")["metrics"]


def test_wandb_that_is_not_installed(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else find(name, *rest))
    assert "pip install 'tlx[wandb]'" in tlx.train("logger=wandb").complaint
    assert not tlx.runs.exists()


def test_an_unknown_mode(tlx) -> None:
    assert "offline or online" in tlx.train("logger=wandb", "logger.wandb.mode=on-line").complaint
