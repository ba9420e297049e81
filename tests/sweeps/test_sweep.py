"""Sweeps: planned first, what is finished is skipped, what fails is recorded while the rest goes on."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tlx.fit.recording import Recording
from tlx.processes.interruption import SIGNALS


def plan_of(tlx, study: str = "adhoc") -> list[dict]:
    return json.loads((tlx.runs / study / "study.json").read_text())["runs"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Instead of training, each run leaves its config here."""
    import tlx.train as training

    configs: list[dict] = []

    def run(config: dict, folder: Path, callbacks: Any = ()) -> None:
        with Recording(config, folder):
            configs.append(config)

    def run_together(runs: Any, callbacks: Any) -> None:
        for config, folder in runs:
            run(config, folder)

    monkeypatch.setattr(training, "run", run)
    monkeypatch.setattr("tlx.sweeps.at_once.run_together", run_together)
    return configs


def test_the_plan_is_written_before_the_first_run(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    import tlx.train as training

    seen = []

    def run(config: dict, folder: Path, callbacks: Any = ()) -> None:
        with Recording(config, folder):
            seen.append(plan_of(tlx))

    monkeypatch.setattr(training, "run", run)
    assert tlx.train("-m", "strategy=scratch,full", "seed=0,1").code == 0
    assert len(seen) == 4
    assert [run["choices"] for run in seen[0]] == [
        {"model": "tiny_vision", "strategy": strategy, "dataset": "digits", "train_size": "2_per_class", "seed": seed}
        for strategy in ("scratch", "full")
        for seed in (0, 1)
    ]
    assert len({run["identity"] for run in seen[0]}) == 4
    assert len({run["cell"] for run in seen[0]}) == 2


def test_a_sweep_ends_in_a_table(tlx) -> None:
    outcome = tlx.train("-m", "strategy=scratch,full", "seed=0,1")
    assert outcome.code == 0, outcome.err
    study = tlx.runs / "adhoc"
    assert f"4 of 4 runs done: tlx table {study}" in outcome.out
    rows = json.loads(tlx("table", str(study), "--format", "json").out)["rows"]
    assert {(row["strategy"], row["n"], row["failed"], row["missing"]) for row in rows} == {
        ("scratch", 2, 0, 0),
        ("full", 2, 0, 0),
    }
    listed = {run["folder"] for run in plan_of(tlx)}
    assert listed == {folder.name for folder in study.iterdir() if folder.is_dir()}
    # Seed 0 is a seed like any other, not "none".
    first, second = (r["metrics"] for r in tlx.records() if r["choices"]["strategy"] == "full")
    assert first != second


def test_finished_runs_are_skipped_and_new_ones_added(tlx) -> None:
    tlx.train("-m", "strategy=scratch", "seed=0,1")
    files = sorted((tlx.runs / "adhoc").glob("*/record.json"))
    before = [(file.stat().st_mtime_ns, file.read_bytes()) for file in files]
    assert tlx.train("-m", "strategy=scratch,full", "seed=0").code == 0
    assert [(file.stat().st_mtime_ns, file.read_bytes()) for file in files] == before
    assert len(plan_of(tlx)) == len(tlx.records()) == 3


def test_a_failing_run_is_recorded_and_the_sweep_goes_on(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    import tlx.train as training

    take = training.take_selected

    def fail_in_one_cell(run, fitted):
        if run.config["seed"] == 1:
            raise FloatingPointError("the loss is not finite\nat step 3")
        take(run, fitted)

    with monkeypatch.context() as patch:
        patch.setattr(training, "take_selected", fail_in_one_cell)
        outcome = tlx.train("-m", "strategy=scratch", "seed=0,1,2")
    assert outcome.code == 1
    assert "2 of 3 runs done" in outcome.out
    assert "FloatingPointError: the loss is not finite" in outcome.err
    assert "1 of 3 runs failed or were not done: tlx runs" in outcome.err
    assert "Traceback" not in outcome.err
    records = tlx.records()
    assert [r["status"] for r in records] == ["completed", "failed", "completed"]
    error = records[1]["error"]
    assert error["type"] == "FloatingPointError" and "at step 3" in error["message"]
    assert "fail_in_one_cell" in error["traceback"]
    listed = json.loads(tlx("runs", str(tlx.runs / "adhoc"), "--format", "json").out)
    assert "FloatingPointError" in json.dumps(listed)
    rows = json.loads(tlx("table", str(tlx.runs / "adhoc"), "--format", "json").out)["rows"]
    assert [(row["n"], row["failed"]) for row in rows] == [(2, 1)]
    # Repeating the command runs what failed, and only that.
    times = [(tlx.runs / "adhoc" / run["folder"] / "record.json").stat().st_mtime_ns for run in plan_of(tlx)]
    assert tlx.train("-m", "strategy=scratch", "seed=0,1,2").code == 0
    after = [(tlx.runs / "adhoc" / run["folder"] / "record.json").stat().st_mtime_ns for run in plan_of(tlx)]
    assert [a == b for a, b in zip(times, after, strict=True)] == [True, False, True]
    assert [r["attempt"] for r in tlx.records()] == [1, 2, 1]


def test_an_interrupted_run_says_so(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    import tlx.train as training

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "take_selected", stop)
    outcome = tlx.train("-m", "strategy=scratch", "seed=0,1")
    assert outcome.code == 130
    assert "the same command again goes on from here" in outcome.err
    assert [r["status"] for r in tlx.records()] == ["interrupted"]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_an_interrupted_run_names_the_signal(tlx, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    import tlx.train as training

    monkeypatch.setattr(training, "take_selected", lambda *_: signal.raise_signal(number))
    outcome = tlx.train("-m", "strategy=scratch", "seed=0,1")
    assert outcome.code == 128 + number and f"left on {number.name}; the same command again" in outcome.err
    assert [(r["status"], r["error"]["message"]) for r in tlx.records()] == [("interrupted", f"left on {number.name}")]


def test_hydras_grammar_on_the_command_line(tlx, started: list[dict]) -> None:
    assert tlx.train("-m", "strategy=glob(f*)", "seed=choice(3,5)", "optimizer.lr=1e-3,0.001").code == 0
    # 1e-3 and 0.001 are one learning rate: the same run twice is one run.
    assert [(config["run"]["choices"]["strategy"], config["seed"]) for config in started] == [
        ("feature_extraction", 3),
        ("feature_extraction", 5),
        ("full", 3),
        ("full", 5),
    ]


EXPERIMENT = """# @package _global_
defaults:
  - override /strategy: scratch
trainer: {batch_size: 8}
hydra:
  sweeper:
    params:
      strategy: scratch,full
      seed: 0,1
"""


def test_an_experiments_axes_give_way_to_the_command_line(tlx, started: list[dict], tmp_path: Path) -> None:
    (tmp_path / "own/experiment").mkdir(parents=True)
    (tmp_path / "own/experiment/mine.yaml").write_text(EXPERIMENT)
    words = ["-m", "--config-dir", str(tmp_path / "own"), "experiment=mine"]

    def cells() -> list[tuple]:
        found = [(config["run"]["choices"]["strategy"], config["seed"]) for config in started]
        started.clear()
        return found

    assert tlx.train(*words).code == 0
    assert cells() == [(strategy, seed) for strategy in ("scratch", "full") for seed in (0, 1)]
    assert tlx.train(*words, "seed=7,8", "strategy=partial").code == 0
    assert all(config["trainer"]["batch_size"] == 8 for config in started)
    assert cells() == [("partial", 7), ("partial", 8)]
    assert tlx.train(*words, "seed=4", "trainer.batch_size=4").code == 0
    assert all(config["trainer"]["batch_size"] == 4 for config in started)
    assert cells() == [("scratch", 4), ("full", 4)]
    # The study has the experiment's name, and holds all that was ever planned in it.
    assert len(plan_of(tlx, "mine")) == 4 + 2 + 2
    assert tlx.train(*words, "study=other", "seed=0").code == 0
    assert len(plan_of(tlx, "other")) == 2


def test_the_sweep_checks_every_cell_before_the_first(tlx, started: list[dict]) -> None:
    for axis in ("strategy=full,gradual_unfreezing,scratch", "optimizer.lr=1e-3,-1,1e-2", "trainer.batch_size=8,x"):
        tlx.train("-m", axis, "seed=0,1").complaint  # noqa: B018 -- asserts that it was refused
    assert not started
    assert not tlx.runs.exists()
