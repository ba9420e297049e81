"""The kill test: a study that is killed over and over again ends in the table of the undisturbed one."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLS = 20
SCRIPT = "from tlx.cli import main; main()"
# 24 runs of three strategies, one of them with phases; a checkpoint after every batch, so that resuming is at stake.
WORDS = [
    "-m",
    "strategy=scratch,gradual_unfreezing,mixout",
    "seed=range(8)",
    "trainer.max_epochs=4",
    "trainer.batch_size=4",
    "trainer.checkpoint_seconds=0",
    "hydra.launcher.backend=local",
]


def launch(tlx, study: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "train", *tlx.quick, *WORDS, f"study={study}"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def states(study: Path) -> dict[str, dict]:
    """The records by folder, as they are at the moment."""
    return {file.parent.name: json.loads(file.read_text()) for file in study.glob("*/record.json")}


def kill(pid: int) -> None:
    """End a process that this test started, if it is still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.mark.slow
def test_killed_at_twenty_moments(tlx, table_of) -> None:
    draw = random.Random(0)
    folder = tlx.runs / "disturbed"
    completed: dict[str, bytes] = {}
    resumed = kills = launches = 0
    deadline = time.monotonic() + 1500
    while kills < KILLS and time.monotonic() < deadline:
        sweep = launch(tlx, "disturbed")
        launches += 1
        while kills < KILLS and sweep.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            running = [r["sittings"][-1]["pid"] for r in states(folder).values() if r["status"] == "running"]
            alive = [pid for pid in running if Path(f"/proc/{pid}").exists()]
            if not alive:
                continue
            time.sleep(draw.uniform(0, 1.0))
            victim = draw.choice(["parent", "run", "run", "both"])
            if victim != "parent":
                kill(draw.choice(alive))
            if victim != "run":
                kill(sweep.pid)
            kills += 1
            sweep.poll()
            for name, record in states(folder).items():
                if record["status"] == "completed":
                    completed.setdefault(name, (folder / name / "record.json").read_bytes())
        kill(sweep.pid)
        sweep.wait()
    assert kills == KILLS, f"only {kills} moments to kill at in {launches} sweeps"
    sweep = launch(tlx, "disturbed")
    while sweep.wait() != 0:
        assert time.monotonic() < deadline, "the study did not come to its end"
        sweep = launch(tlx, "disturbed")

    assert tlx.train(*WORDS, "hydra.launcher.backend=in_process", "study=undisturbed").code == 0
    assert table_of("disturbed") == table_of("undisturbed")
    assert all((folder / name / "record.json").read_bytes() == content for name, content in completed.items())
    ends, whole = states(folder), states(tlx.runs / "undisturbed")
    assert len(ends) == 24 and ends.keys() == whole.keys()
    for name, record in ends.items():
        assert record["metrics"] == whole[name]["metrics"] and record["checkpoint"] == whole[name]["checkpoint"], name
        assert (folder / name / "metrics.csv").read_text() == (
            tlx.runs / "undisturbed" / name / "metrics.csv"
        ).read_text()
        resumed += any(sitting["resumed"] for sitting in record["sittings"])
    assert resumed >= 1, "no run was taken up from a checkpoint"
