"""What a run of a sweep costs beyond its training: in this process, in warm processes, and in cold ones.

`make bench` runs this. The same tiny runs (tiny_vision on digits) are done in three ways, one at a time, with one
thread. Seconds per run are taken between the ends of the first and the last run of a sweep, so that what is paid once
(imports, checks, the fork server) is told apart from what every run pays.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import mean, median

RUNS, COLD_RUNS, REPEATS = 20, 4, 3
TLX = [sys.executable, "-c", "from tlx.cli import main; main()", "train"]
TINY = ["strategy=full", "dataset.train_size=2_per_class", "trainer.max_epochs=2", "trainer.threads=1"]


def sweep(backend: str, folder: Path) -> dict[str, float]:
    """One sweep of RUNS runs; seconds per run and of training, and what the sweep paid once."""
    began = time.perf_counter()
    axes = [f"seed=range({RUNS})", f"hydra.launcher.backend={backend}", "hydra.launcher.n_jobs=1"]
    subprocess.run([*TLX, "-m", *TINY, *axes, f"paths.runs={folder}"], check=True, capture_output=True)
    wall = time.perf_counter() - began
    records = [json.loads(file.read_text()) for file in folder.glob("adhoc/*/record.json")]
    assert len(records) == RUNS and all(record["status"] == "completed" for record in records)
    ends = sorted(datetime.fromisoformat(record["sittings"][-1]["ended"]) for record in records)
    each = (ends[-1] - ends[0]).total_seconds() / (RUNS - 1)
    return {"run": each, "train": mean(r["seconds"]["train"] for r in records), "once": wall - each * RUNS}


def cold(folder: Path) -> dict[str, float]:
    """COLD_RUNS runs, each by a command of its own."""
    began = time.perf_counter()
    for seed in range(COLD_RUNS):
        command = [*TLX, *TINY, f"seed={seed}", f"paths.runs={folder}"]
        subprocess.run(command, check=True, capture_output=True)
    wall = time.perf_counter() - began
    records = [json.loads(file.read_text()) for file in folder.glob("adhoc/*/record.json")]
    return {"run": wall / COLD_RUNS, "train": mean(r["seconds"]["train"] for r in records), "once": 0.0}


def main() -> None:
    """Print the medians of REPEATS interleaved repetitions and their ranges; write benchmarks/overhead.json."""
    ways = {
        "in this process": lambda folder: sweep("in_process", folder),
        "warm processes": lambda folder: sweep("local", folder),
        "cold processes": cold,
    }
    measured: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(REPEATS):
        for way, measure in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                measured[way].append(measure(Path(folder)))
    print(f"seconds per tiny run, {os.cpu_count()} cores, one thread, {RUNS} runs ({COLD_RUNS} cold), median (range)")
    print(f"{'':18}{'beyond training':>24}{'training':>12}{'once per sweep':>18}")
    for way, found in measured.items():
        beyond = sorted(m["run"] - m["train"] for m in found)
        train, once = median(m["train"] for m in found), median(m["once"] for m in found)
        spread = f"{median(beyond):.2f} ({beyond[0]:.2f} to {beyond[-1]:.2f})"
        print(f"{way:18}{spread:>24}{train:>12.2f}{once:>18.1f}")
    Path("benchmarks/overhead.json").write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
