"""What a run of a sweep costs beyond its training: in one process, in warm ones, in cold ones, and with a template.

`make bench` runs this. The same tiny runs (tiny_vision on digits, 2 images a class, 2 epochs) are done in each way, one
at a time, with one thread. Seconds per run are taken between the ends of the first and the last run of a sweep, so that
what is paid once (imports, checks, the fork server) is told apart from what every run pays; the training is taken off.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from statistics import mean

from rows import Found, Job, Row, Turn, bench

RUNS, COLD_RUNS = 20, 1
TLX = [sys.executable, "-c", "from tlx.cli import main; main()", "train"]
TINY = ["strategy=full", "dataset.train_size=2_per_class", "trainer.max_epochs=2", "trainer.threads=1"]


def ended(record: dict) -> float:
    """When a run's last sitting ended, in seconds of the epoch."""
    return datetime.fromisoformat(record["sittings"][-1]["ended"]).timestamp()


def per_run(ends: Sequence[float], training: Sequence[float], wall: float, runs: int = RUNS) -> Found:
    """Seconds of a run beyond its training, those of the training, and what the sweep paid once."""
    if len(ends) != runs:
        raise RuntimeError(f"{len(ends)} of {runs} runs came to their end")
    each = (max(ends) - min(ends)) / (runs - 1)
    return {"seconds": each - mean(training), "training": mean(training), "once": wall - each * runs}


def records(folder: Path) -> list[dict]:
    """The records of the completed runs in a folder of runs."""
    found = [json.loads(file.read_text()) for file in folder.glob("adhoc/*/record.json")]
    return [record for record in found if record["status"] == "completed"]


def sweep(backend: str, runs: int = RUNS) -> Callable[[Turn], Found]:
    """One sweep of so many runs by tlx."""

    def measure(turn: Turn) -> Found:
        folder = turn.folder / backend
        axes = [f"seed=range({runs})", f"hydra.launcher.backend={backend}", "hydra.launcher.n_jobs=1"]
        began = time.perf_counter()
        subprocess.run([*TLX, "-m", *TINY, *axes, f"paths.runs={folder}"], check=True, capture_output=True)
        wall = time.perf_counter() - began
        done = records(folder)
        return per_run([ended(r) for r in done], [r["seconds"]["train"] for r in done], wall, runs)

    return measure


def cold(turn: Turn) -> Found:
    """COLD_RUNS runs, each by a command of its own."""
    folder = turn.folder / "cold"
    began = time.perf_counter()
    for seed in range(COLD_RUNS):
        subprocess.run([*TLX, *TINY, f"seed={seed}", f"paths.runs={folder}"], check=True, capture_output=True)
    wall = time.perf_counter() - began
    training = mean(r["seconds"]["train"] for r in records(folder))
    return {"seconds": wall / COLD_RUNS - training, "training": training, "once": 0.0}


def help_page(turn: Turn) -> Found:
    """`tlx --help`."""
    began = time.perf_counter()
    subprocess.run([*TLX[:-1], "--help"], check=True, capture_output=True)
    return {"seconds": time.perf_counter() - began}


def first_step(turn: Turn) -> Found:
    """From the beginning of a run in a warm process to its first step.

    A little more, in fact: what it does after its training is counted, too, but for the scoring.
    """
    sweep("local", 3)(turn)
    clocks = [record["seconds"] for record in records(turn.folder / "local")]
    return {"seconds": mean(c["total"] - c["train"] - c["evaluate"] for c in clocks)}


def template(turn: Turn) -> Found:
    """One multirun of RUNS runs by `benchmarks/multirun.py`."""
    folder = turn.folder / "template"
    script = [sys.executable, str(Path(__file__).with_name("multirun.py"))]
    began = time.perf_counter()
    command = [*script, "-m", f"seed=range({RUNS})", f"hydra.sweep.dir={folder}"]
    subprocess.run(command, check=True, capture_output=True)
    wall = time.perf_counter() - began
    done = [json.loads(file.read_text()) for file in folder.glob("*/done.json")]
    return per_run([d["ended"] for d in done], [d["train"] for d in done], wall)


OURS, EVERY = "AdamW, fused, clipped, linear schedule", "before, each epoch, test of the best"
JOBS = {
    "sweep": Job(
        f"{RUNS} tiny runs in one sweep: seconds of a run beyond its training (goal of tlx: ≤ 0.5)",
        {
            "tlx, one process": Row(sweep("in_process"), OURS, "none", EVERY),
            "tlx, warm processes": Row(sweep("local"), OURS, "none", EVERY),
            "tlx, cold processes": Row(cold, OURS, "none", EVERY),
            "Lightning-Hydra template": Row(template, "AdamW, default", "none", "each epoch, test of the best"),
        },
        [
            ("tlx, cold processes", "tlx, one process", "≥ 10"),
            ("tlx, cold processes", "tlx, warm processes", "≥ 10"),
            ("Lightning-Hydra template", "tlx, one process", ""),
        ],
        "The template runs in one process and saves its checkpoints, config and metrics; it keeps no predictions.",
    ),
    "start": Job(
        "starting: the help page (goal: < 1 s), and a tiny run in a warm process to its first step (goal: < 3 s)",
        {
            "tlx --help": Row(help_page, "none", "none", "none"),
            "first step": Row(first_step, OURS, "none", "before"),
        },
        [],
    ),
}


if __name__ == "__main__":
    bench("sweep", JOBS)
