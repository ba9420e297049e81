"""The time that is left of a sweep is told from like runs, not from how many are done."""

from pathlib import Path

import pytest

from tlx.record.record import write_record
from tlx.sweeps import bars as progress
from tlx.sweeps import estimate
from tlx.sweeps.bars import StudyProgress
from tlx.sweeps.estimate import Estimate, Times
from tlx.sweeps.study import Planned

SECONDS = {"probe": 1.0, "full": 60.0}


def runs(tmp_path: Path, strategy: str, number: int) -> list[Planned]:
    choices = {"model": "m", "strategy": strategy}
    return [
        Planned({"run": {"cell": f"{strategy}-cell", "choices": choices}}, tmp_path / f"{strategy}-{seed}")
        for seed in range(number)
    ]


def finish(found: Estimate, run: Planned, clock: list[float], at_once: int = 1) -> None:
    choices = run.config["run"]["choices"]
    seconds = SECONDS[choices["strategy"]]
    found.start(run)
    clock[0] += seconds / at_once
    record = {"identity": run.folder.name, "cell": "c", "status": "completed", "choices": choices, "config": {}}
    write_record(run.folder, record | {"seconds": {"total": seconds}})
    found.end(run)
    found.completed(run)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(estimate.time, "monotonic", lambda: now[0])
    return now


def test_probes_first_are_no_measure_of_what_follows(tmp_path: Path, clock: list[float]) -> None:
    """Ten probes of a second, then ten runs of a minute: after the probes ten more seconds would be said to be left."""
    probes, full = runs(tmp_path, "probe", 10), runs(tmp_path, "full", 10)
    found = Estimate([*probes, *full])
    assert found.text() == ""
    for run in probes:
        finish(found, run, clock)
    assert found.seconds(clock[0]) == (0.0, 10)
    assert found.text() == "over 0.0 s left (10 of a kind not yet done)"
    finish(found, full[0], clock)
    assert found.seconds(clock[0]) == (pytest.approx(9 * 60), 0)
    assert found.text() == "9 min 00 s left"
    found.start(full[1])
    clock[0] += 30
    assert found.seconds(clock[0])[0] == pytest.approx((9 * 60 - 30) * 100 / 70)


def test_the_bar_of_a_study_shows_it(tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress.budget, "epochs", lambda config: 1)
    full = runs(tmp_path, "full", 4)
    found = Estimate(full)
    shown = StudyProgress(4, 0, found)
    for run in full[:2]:
        shown.start(run)
        clock[0] += 60
        record = {"identity": "i", "cell": "c", "status": "completed", "choices": {}, "config": {}}
        write_record(run.folder, record | {"seconds": {"total": 60.0}})
        shown.end(run)
        shown.advance(run)
    shown.failed(full[2], "ValueError: no")
    shown.refresh([])
    (task,) = shown.bars.tasks
    assert (task.completed, task.fields["left"]) == (2, "1 min 00 s left")


def test_several_at_once(tmp_path: Path, clock: list[float]) -> None:
    full = runs(tmp_path, "full", 8)
    found = Estimate(full)
    for run in full[:4]:
        finish(found, run, clock, at_once=4)
    assert found.seconds(clock[0]) == (pytest.approx(60), 0)


def test_runs_of_an_earlier_sweep_tell_how_long_such_runs_take(tmp_path: Path, clock: list[float]) -> None:
    full, probes = runs(tmp_path, "full", 3), runs(tmp_path, "probe", 2)
    finish(Estimate(full[:1]), full[0], clock)
    found = Estimate([*probes, *full[1:]], before=full[:1])
    finish(found, probes[0], clock)
    assert found.seconds(clock[0]) == (pytest.approx(1 + 2 * 60), 0)


def test_a_run_that_failed_tells_nothing_and_is_not_waited_for(tmp_path: Path, clock: list[float]) -> None:
    full = runs(tmp_path, "full", 2)
    found = Estimate(full)
    found.start(full[0])
    clock[0] += 5
    found.end(full[0])
    found.failed(full[0])
    assert found.text() == "" and list(found.left) == [full[1].folder]


def test_a_record_of_a_newer_tlx_tells_nothing(tmp_path: Path) -> None:
    (run,) = runs(tmp_path, "full", 1)
    run.folder.mkdir()
    (run.folder / "record.json").write_text('{"schema": 2}')
    assert Times().add(run) == 0.0
