"""Loggers: metrics.csv always; Weights & Biases as a copy, one run there per run here, never in the run's way."""

import csv
import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tlx.contracts.interruption import Ask
from tlx.processes.interruption import Interrupted
from tlx.record.record import read_record
from tlx.sweeps.study import Planned
from tlx.sweeps.worker import do

needs_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")


def read_offline(folder: Path) -> dict[str, Any]:
    """What the one offline folder of a run holds, as wandb's own reader says: run, config, history, summary, exit."""
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    records = [json.loads(line) for line in lines]
    own = ("_step", "_runtime", "_timestamp")
    history = [r["history"] for r in records if r["type"] == "history"]
    return {
        "run": next(r["run"] for r in records if r["type"] == "run"),
        "history": [(h["step"].get("num", 0), {k: v for k, v in h["item"].items() if k not in own}) for h in history],
        "summary": {k: v for r in records if r["type"] == "summary" for k, v in r["summary"].get("update", {}).items()},
        "exit": [r["exit"].get("exit_code", 0) for r in records if r["type"] == "exit"],
    }


def logged(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """metrics.csv, the rows of one step as one, as wandb has them."""
    steps: dict[int, dict[str, float]] = {}
    with (folder / "metrics.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            values = {n: float(v) for n, v in row.items() if v != "" and n != "step"}
            steps.setdefault(int(row["step"]), {}).update(values)
    return sorted(steps.items())


@pytest.fixture
def plan(tlx):
    """A function that plans one run with wandb: 4 epochs of 5 batches; every 10th is logged."""
    from tlx.config.composer import composer
    from tlx.sweeps.prepare import prepare

    def plan(study: str, *words: str) -> Planned:
        size = ["dataset.train_size=2_per_class", "trainer.batch_size=4", "trainer.max_epochs=4", "strategy=scratch"]
        with composer() as compose:
            return prepare(compose, [*tlx.quick, *size, f"study={study}", "logger=wandb", *words], False)[0]

    return plan


class FakeRun:
    """A run of an online server that has some steps already."""

    def __init__(self, starting_step: int = 0) -> None:
        self.starting_step = starting_step
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.summary: dict[str, float] = {}
        self.finished: list[int] = []

    def log(self, metrics: dict[str, float], step: int | None = None, commit: bool = False) -> None:
        assert (step is None) == commit
        if step is not None:
            self.rows.append((step, metrics))

    def finish(self, exit_code: int) -> None:
        self.finished.append(exit_code)


def test_metrics_csv(tlx) -> None:
    tlx.record("strategy=scratch", "trainer.max_epochs=3")
    frame = pd.read_csv(next(tlx.runs.glob("adhoc/*/metrics.csv")))
    assert {"step", "epoch", "val/accuracy", "val/loss"} <= set(frame.columns)
    assert frame["val/accuracy"].count() == 3


@needs_wandb
@pytest.mark.slow
def test_offline_holds_the_config_and_every_metric(tlx) -> None:
    import wandb

    words = ["strategy=scratch", "trainer.batch_size=4", "trainer.max_epochs=3"]
    assert tlx.train("-m", "logger=wandb", *words, "seed=0,1").code == 0
    assert wandb.run is None
    groups = set()
    for file in sorted((tlx.runs / "adhoc").glob("*/record.json")):
        record, kept = json.loads(file.read_text()), read_offline(file.parent)
        assert kept["run"]["run_id"] == record["identity"][:16]
        assert kept["run"]["display_name"] == file.parent.name
        groups.add(kept["run"]["run_group"])
        config = kept["run"]["config"]["update"]
        assert {k: v for k, v in config.items() if k not in ("_wandb", "run")} == record["config"]
        assert kept["history"] == logged(file.parent) and len(kept["history"]) >= 2
        assert record["metrics"].items() <= kept["summary"].items()
        assert kept["exit"] == [0] and "wandb_problem" not in record
    assert groups == {record["cell"][:16]}
    # A copy: the numbers are those of a run without it.
    plain = tlx.record(*words, "study=plain")
    assert tlx.records()[0]["metrics"] == plain["metrics"] and tlx.records()[0]["checkpoint"] == plain["checkpoint"]


@needs_wandb
def test_nothing_is_drawn_from_the_generators(tmp_path: Path) -> None:
    from tlx.fit.wandb_copy import WandbCopy

    def states() -> tuple:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    before = states()
    options = {"mode": "offline", "project": "tlx", "entity": None}
    copy = WandbCopy(tmp_path, "abc", "cell", {"logger": {"wandb": options}}, [])
    copy.log_metrics({"loss": 1.0}, 0)
    copy.close({}, failed=False)
    assert copy.problem is None and states() == before


@needs_wandb
def test_interrupted_and_taken_up_it_has_one_history(plan) -> None:
    run, whole = plan("cut"), plan("whole")
    with pytest.raises(Interrupted):
        do(run, [Ask((1, 2))])
    first = read_offline(run.folder)
    assert 0 < len(first["history"]) < 4 and first["exit"] == [1]
    do(run, [])
    do(whole)
    one, other = read_offline(run.folder), read_offline(whole.folder)
    assert one["history"] == other["history"] == logged(run.folder)
    assert one["run"]["run_id"] == other["run"]["run_id"] == first["run"]["run_id"]
    assert one["run"]["config"]["update"]["strategy"] == run.config["strategy"]
    assert one["exit"] == [0]
    assert not list(run.folder.glob("wandb/.replaced*"))


@needs_wandb
@pytest.mark.parametrize("broken", ["init", "log", "finish"])
def test_a_run_survives_wandb(tlx, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken) -> None:
    import wandb

    run = FakeRun()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("the server\nis dead")

    monkeypatch.setattr(wandb, "init", fail if broken == "init" else lambda **_: run)
    monkeypatch.setattr(FakeRun, "log" if broken == "init" else broken, fail)
    record = tlx.record("logger=wandb", "strategy=scratch", "trainer.max_epochs=3")
    assert record["status"] == "completed"
    assert record["wandb_problem"].endswith("OSError: the server is dead")
    assert sum("wandb could not" in message for message in caplog.messages) == 1
    assert read_record(next(tlx.runs.glob("adhoc/*/record.json")).parent) == record
    assert (run.finished == [0]) == (broken == "log"), "ended although logging failed"
    assert record["metrics"] == tlx.record("strategy=scratch", "trainer.max_epochs=3", "study=plain")["metrics"]


@needs_wandb
def test_a_failed_beginning_leaves_the_earlier_copy(plan, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    run = plan("cut")
    with pytest.raises(Interrupted):
        do(run, [Ask((1, 2))])
    first = read_offline(run.folder)
    with monkeypatch.context() as patch:
        patch.setattr(wandb, "init", lambda **_: 1 / 0)
        with pytest.raises(Interrupted):
            do(run, [Ask((2, 2))])
    assert read_offline(run.folder) == first
    do(run)
    assert read_offline(run.folder)["history"] == logged(run.folder)


@needs_wandb
def test_online_sends_nothing_twice(plan, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    asked, server = [], FakeRun()

    def init(**options: Any) -> FakeRun:
        asked.append(options)
        sitting = FakeRun(server.rows[-1][0] + 1 if server.rows else 0)
        sitting.rows = server.rows
        return sitting

    monkeypatch.setattr(wandb, "init", init)
    run = plan("online", "logger.wandb.mode=online")
    with pytest.raises(Interrupted):
        do(run, [Ask((1, 2))])
    lost = server.rows.pop()  # the server died before it had this one
    do(run)
    steps = [step for step, _ in server.rows]
    assert lost in server.rows and len(steps) > 2
    merged: dict[int, dict] = {}
    for step, row in server.rows:
        assert not merged.get(step, {}).keys() & row.keys() - {"epoch"}, "twice"
        merged.setdefault(step, {}).update(row)
    assert steps == sorted(steps) and sorted(merged.items()) == logged(run.folder)
    assert [o["resume"] for o in asked] == ["allow", "allow"] and asked[0]["id"] == asked[1]["id"]


@needs_wandb
@pytest.mark.slow
def test_another_attempt_is_another_run_there(tlx) -> None:
    for force in ("false", "true"):
        tlx.record("logger=wandb", "strategy=scratch", f"force={force}")
    (folder,) = (tlx.runs / "adhoc").glob("*-*")
    old, new = read_offline(folder / "attempt-1"), read_offline(folder)
    assert new["run"]["run_id"] == old["run"]["run_id"] + "-2"
    assert new["history"] == old["history"]


def test_wandb_that_is_not_installed(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else find(name, *rest))
    assert "pip install 'tlx[wandb]'" in tlx.train("logger=wandb").complaint
    assert not tlx.runs.exists()


def test_an_unknown_mode(tlx) -> None:
    assert "offline or online" in tlx.train("logger=wandb", "logger.wandb.mode=on-line").complaint
