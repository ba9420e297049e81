"""Listing and watching runs: which of them live, how far they are, why others failed."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from tlx.record.jsonfile import write_json
from tlx.record.running import held, locked, log_tail
from tlx.results import collect, list_runs, summary
from tlx.results.live import GONE, duration, judged, progress, time_left
from tlx.results.runs import failure_log, first_line
from tlx.results.watch import over, varying, view, watch

STATE = {"epoch": 2, "epochs": 8, "step": 10, "first_step": 0, "steps": 40, "loss": 0.25, "seconds": 5.0}
ERROR = {"type": "ValueError", "message": "too\nbad", "traceback": "Traceback\n  line 1\nValueError: too\nbad\n"}


def advance(folder: Path, **changes: object) -> None:
    write_json(folder / "progress.json", STATE | changes)


def text_of(what: object, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture
def busy(study):
    """One done, two running (seed 1 alive, seed 2 not), one failed, one missing; and the folders of the middle ones."""
    study.run("full", 0)
    folders = [study.run("full", 1, status="running"), study.run("full", 2, status="running")]
    for folder in folders:
        advance(folder)
    study.run("full", 4, status="missing")
    folders.append(study.run("full", 3, status="failed", error=ERROR))
    study.plan()
    with locked(folders[0]):
        yield study, folders


def test_a_running_record_without_a_process_is_interrupted(busy) -> None:
    study, folders = busy
    runs = {run.seed: run for run in judged(collect(study.folder))}
    states = ["completed", "running", "interrupted", "failed", "missing"]
    assert [runs[seed].status for seed in range(5)] == states
    assert first_line(runs[2]) == GONE
    assert summary(list(runs.values())) == "1 of 5 runs done, 1 failed, 1 interrupted, 1 running, 1 missing"
    with locked(folders[1]):  # once a lock was there, and it is taken again
        assert {run.seed: run.status for run in judged(collect(study.folder))}[2] == "running"
    assert not held(folders[1])


def test_a_run_that_ends_while_it_is_looked_at(study) -> None:
    folder = study.run("full", 0, status="running")
    runs = collect(study.folder)
    study.run("full", 0)
    assert [run.status for run in judged(runs)] == ["completed"]
    (folder / "record.json").write_text("{")
    assert [run.status for run in judged(runs)] == ["damaged"]


def test_only_running_runs_have_their_lock_tried(busy, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Path] = []
    monkeypatch.setattr("tlx.results.live.held", lambda folder: tried.append(folder) or True)
    judged(collect(busy[0].folder))
    assert sorted(tried) == sorted(busy[1][:2])


def test_time_left() -> None:
    assert time_left(STATE) == 15.0
    assert time_left(STATE | {"first_step": 8}) == 75.0, "a run taken up at step 8 did two steps in these seconds"
    assert time_left(STATE | {"step": 0}) is None
    assert time_left(STATE | {"step": 41}) == 0.0


def test_durations() -> None:
    assert [duration(s) for s in (None, 3.21, 59.96, 245.0, 7625.0)] == [
        "",
        "3.2 s",
        "60.0 s",
        "4 min 05 s",
        "2 h 07 min",
    ]


def test_json_has_the_progress(busy, verbs) -> None:
    study, folders = busy
    listed = json.loads(verbs("runs", str(study.folder), "--format", "json").out)
    assert listed["counts"]["interrupted"] == listed["counts"]["running"] == 1
    by_seed = {run["choices"]["seed"]: run for run in listed["runs"]}
    assert by_seed[1]["progress"] == {"epoch": 2, "epochs": 8, "loss": 0.25, "seconds": 5.0, "left": 15.0}
    assert all(by_seed[seed]["progress"] is None for seed in (0, 2, 3, 4))
    assert by_seed[2]["error"] == GONE
    (folders[0] / "progress.json").write_text(json.dumps(STATE | {"loss": float("nan")}))
    assert list_runs(judged(collect(study.folder)))["runs"][1]["progress"]["loss"] is None
    (folders[0] / "progress.json").write_text("{")
    assert progress(judged(collect(study.folder))[1]) is None


def test_the_list_shows_progress(busy, verbs) -> None:
    lines = verbs("runs", str(busy[0].folder)).out
    assert "2/8" in lines and "0.250" in lines and "15.0 s" in lines
    assert "1 interrupted, 1 running" in lines


def test_only_the_failed(busy, verbs) -> None:
    study, _ = busy
    outcome = verbs("runs", str(study.folder), "--failed")
    assert outcome.code == 0
    assert "ValueError: too" in outcome.out and "2/8" not in outcome.out and "Traceback" not in outcome.out
    assert "1 of 5 runs done" in outcome.out
    listed = json.loads(verbs("runs", str(study.folder), "--failed", "--format", "json").out)
    assert [run["choices"]["seed"] for run in listed["runs"]] == [3] and "log" not in listed["runs"][0]


def test_the_log_of_the_failed(busy, verbs) -> None:
    study, folders = busy
    words = ("runs", str(study.folder), "--failed", "--log")
    assert "  line 1" in verbs(*words).out, "no log: the traceback"
    log = folders[2] / "log.txt"
    log.write_text("ValueError: too\nbad\n")
    assert "  line 1" in verbs(*words).out, "the log says no more than the error"
    log.write_text("".join(f"[red]line {i}\n" for i in range(50)) + "ValueError: too\nbad\n")
    shown = verbs(*words).out
    assert "[red]line 49" in shown and "[red]line 29\n" not in shown and "Traceback" not in shown
    (listed,) = json.loads(verbs(*words, "--format", "json").out)["runs"]
    assert len(listed["log"]) == 20 and listed["log"][-1] == "bad"


def test_a_failed_run_that_says_nothing(study, verbs) -> None:
    study.run("full", 0, status="failed", error={"type": "Killed", "message": "by SIGKILL", "traceback": None})
    (run,) = collect(study.folder)
    assert failure_log(run) == []
    assert "it printed nothing" in verbs("runs", str(study.folder), "--failed", "--log").out


def test_the_end_of_a_long_log(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("\n".join(map(str, range(100_000))))
    assert log_tail(tmp_path, 2) == ["99998", "99999"]
    assert log_tail(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("--log", "--failed --log"),
        ("--watch --failed", "leave out"),
        ("--watch --format json", "leave out"),
        ("--format xml", "'xml'"),
    ],
)
def test_words_that_do_not_go_together(busy, verbs, words: str, part: str) -> None:
    assert part in verbs("runs", str(busy[0].folder), *words.split()).complaint


def test_what_is_watched(busy) -> None:
    study, _ = busy
    runs = judged(collect(study.folder))
    assert varying(runs) == ["seed"] and "strategy" in varying(runs[:1])
    lines = text_of(view(runs, height=40)).splitlines()
    assert lines[0].split() == ["status", "seed", "epoch", "loss", "left", "seconds", "why"]
    assert lines[1].split() == ["running", "1", "2/8", "0.250", "15.0", "s", "5.0"]
    assert [line.split()[0] for line in lines[2:4]] == ["failed", "interrupted"]
    assert lines[-1].strip() == summary(runs)
    few = text_of(view(runs, height=6)).splitlines()
    assert len(few) == 5 and few[-2].strip() == "… and 1 more"
    assert not over(runs)
    assert over([run for run in runs if run.status not in ("running", "missing")])


def test_elsewhere_than_on_a_terminal_one_line_a_change(study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlx.results.watch.EVERY", 0.0)
    console = Console(file=io.StringIO(), width=20)
    looks = []

    def look() -> list:
        looks.append(1)
        study.run("full", 0, status="missing" if len(looks) < 3 else "completed")
        study.plan()
        return collect(study.folder)

    watch(look, console)
    assert console.file.getvalue().splitlines() == ["0 of 1 runs done, 1 missing", "1 of 1 runs done"]
    assert len(looks) == 3


def test_on_a_terminal_it_is_live_and_control_c_ends_it_well(busy) -> None:
    study, folders = busy
    screen, terminal = pty.openpty()
    words = ["runs", str(study.folder), "--watch"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    script = "from tlx.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words], stdout=terminal, stderr=terminal, stdin=terminal, env=environment
    )
    os.close(terminal)
    shown = ""

    def wait_for(part: str) -> None:
        nonlocal shown
        deadline = time.monotonic() + 60
        while part not in shown and time.monotonic() < deadline:
            if select.select([screen], [], [], 0.2)[0]:
                shown += os.read(screen, 65536).decode(errors="replace")
        assert part in shown, shown

    try:
        wait_for("2/8")
        wait_for("1 of 5 runs done")
        advance(folders[0], epoch=7)
        wait_for("7/8")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert "Traceback" not in shown and "interrupted;" not in shown
    finally:
        process.kill()
        process.wait()
        os.close(screen)
