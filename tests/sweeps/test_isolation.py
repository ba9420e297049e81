"""Runs in processes of their own: what happens to one touches no other, and no device ever holds two."""

import importlib.util
import json
import os
import signal
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("processes", HERE / "processes.py")
assert _spec and _spec.loader
processes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(processes)


@pytest.mark.slow
def test_four_devices_twelve_runs_two_sweeps_and_four_accidents(tlx, tmp_path: Path) -> None:
    words = [
        "-m",
        "strategy.freezing._target_=faults.BySeed",
        "+strategy.freezing.seed=${seed}",
        "seed=range(12)",
        "hydra.launcher.devices=[0,1,2,3]",
        "hydra.launcher.memory_gb=64",
        "hydra.launcher.backend=local",
    ]
    paths = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = {"PYTHONPATH": paths, "TLX_LEASES": str(tmp_path / "leases"), "OMP_NUM_THREADS": "1"}
    sweeps = [processes.launch(tlx, *words, **environment) for _ in range(2)]
    told = [sweep.communicate(timeout=900) for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [1, 1], told
    records = {record["choices"]["seed"]: record for record in tlx.records()}
    assert len(records) == 12
    assert [seed for seed in records if records[seed]["status"] == "completed"] == list(range(8))
    reasons = {seed: records[seed]["error"] for seed in range(8, 12)}
    assert reasons[8]["type"] == "Killed" and "SIGSEGV" in reasons[8]["message"]
    assert reasons[9]["type"] == "Killed" and "SIGKILL: probably out of memory" in reasons[9]["message"]
    assert "out of memory" in reasons[10]["message"] and "MemoryError" in reasons[10]["type"]
    assert reasons[11]["type"] == "ArithmeticError" and "does not add up" in reasons[11]["message"]
    assert all(record["attempt"] == 1 and len(record["sittings"]) == 1 for record in records.values())

    held: dict[str, list[tuple[datetime, datetime]]] = {}
    for record in records.values():
        (sitting,) = record["sittings"]
        if (record["error"] or {}).get("type") != "Killed":  # their end is when it was noticed
            times = (datetime.fromisoformat(sitting["started"]), datetime.fromisoformat(sitting["ended"]))
            held.setdefault(sitting["lease"], []).append(times)
    assert len(held) > 1 and set(held) <= {"0", "1", "2", "3"}
    for times in held.values():
        assert all(before[1] <= after[0] for before, after in pairwise(sorted(times)))
    for sweep, (_, err) in zip(sweeps, told, strict=True):
        assert "Traceback" not in err and "4 of 12 runs failed" in err, sweep


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_sweep_that_is_asked_to_leave(tlx, number: signal.Signals) -> None:
    words = ["-m", "strategy=scratch", "seed=0,1", "trainer.max_epochs=300", "dataset.train_size=10_per_class"]
    sweep = processes.launch(tlx, *words, "hydra.launcher.backend=local", "hydra.launcher.n_jobs=2")
    study = tlx.runs / "adhoc"
    processes.wait_for(lambda: len(list(study.glob("*/progress.json"))) == 2, sweep)
    processes.ask(sweep, number)
    _, err = sweep.communicate(timeout=60)
    assert sweep.returncode == 130 and f"left on {number.name}; the same command again goes on from here" in err
    ends = [(record["status"], record["error"]["message"]) for record in tlx.records()]
    assert ends == [("interrupted", f"left on {number.name}")] * 2
    trained = [file.parent for file in study.glob("*/progress.json")]
    assert trained and all((folder / "checkpoints/last.ckpt").is_file() for folder in trained)


def test_the_reason_of_a_death_without_a_word() -> None:
    from tlx.processes.interruption import cause_of_death

    assert cause_of_death(-signal.SIGSEGV) == "killed by SIGSEGV"
    assert "SIGKILL: probably out of memory" in cause_of_death(-signal.SIGKILL)
    assert "exit code 3" in cause_of_death(3)


def test_a_dead_process_is_buried_once(tlx) -> None:
    """Its record says running; afterwards it says what happened, and a record that ended by itself is left alone."""
    from tlx.sweeps.attempts import bury

    tlx.record("strategy=scratch")
    file = next(tlx.runs.glob("adhoc/*/record.json"))
    before = file.read_text()
    bury(file.parent, "killed by SIGKILL")
    assert file.read_text() == before
    # A clock that was set back does not make negative seconds.
    record = json.loads(before) | {"status": "running"}
    record["sittings"][-1]["started"] = "2999-01-01T00:00:00.000+00:00"
    seconds = record["seconds"]["total"]
    file.write_text(json.dumps(record))
    bury(file.parent, "killed by SIGKILL")
    buried = json.loads(file.read_text())
    assert buried["status"] == "failed" and buried["error"]["message"] == "killed by SIGKILL"
    assert buried["seconds"]["total"] == seconds
