"""What the benchmarks share: rows measured in processes of their own, by turns; one table of ratios; one JSON file.

A job has rows (tlx, its peers, the limit) and ratios between them. Each repetition measures every row of a job once,
one after the other, so that a machine that slows down slows all of them. A row begins in a process forked from one that
has done the imports, and so inherits nobody's settings. Every time is taken twice: by the clock, and by the processor,
which other programs disturb less: `make bench` has two scripts at work at a time, one a core.

A row marked ≈ is long. It is timed in a window (100 steps, or 30 s where these take longer, after 5 others), or in
fewer epochs than the job has, and scaled by examples; --full runs it to the end.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
import transformers

from tlx.fit.quiet import quiet_lightning

REPETITIONS = 3
WARM, STEPS, SECONDS = 5, 100, 30.0
KINDS = {"seconds": "clock", "processor": "processor"}

Found = dict[str, float]  # at least `seconds`; `processor` where it is known; `accuracy` (on test) where there is one


@dataclass(frozen=True)
class Turn:
    """One measurement of a row: which repetition it is, the folder that all rows of this repetition share, how far."""

    seed: int
    folder: Path
    whole: bool


@dataclass(frozen=True)
class Row:
    """How a row is measured, and in words what it does where rows may differ.

    `long`: scaled unless everything is run to the end; `window`: always. `needs`: packages that the row is of.
    """

    measure: Callable[[Turn], Found]
    optimiser: str
    padding: str
    validation: str
    long: bool = False
    window: bool = False
    needs: tuple[str, ...] = ()

    def scaled(self, whole: bool) -> bool:
        return self.window or (self.long and not whole)


@dataclass(frozen=True)
class Job:
    """Rows by name, and ratios (whose seconds, over whose, what is hoped for)."""

    title: str
    rows: dict[str, Row]
    ratios: Sequence[tuple[str, str, str]]
    note: str = ""


class Enough(Exception):
    """The window is over."""


def now() -> np.ndarray:
    """Seconds by the clock and of the processor, once a GPU has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def took(seconds: np.ndarray, **further: float) -> Found:
    """A row's result from seconds by the clock and of the processor."""
    return {"seconds": float(seconds[0]), "processor": float(seconds[1]), **further}


@dataclass
class Window:
    """Counts the steps of a training and ends it with the window, unless it is to go on to the end (`whole`)."""

    whole: bool = False
    length: int = STEPS
    steps: int = 0
    examples: int = 0
    tokens: int = 0
    padded: int = 0
    seconds: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def step(self, batch: Any) -> None:
        """Say that a step with this batch is done.

        Raises:
            Enough: it was the last of the window.
        """
        if self.whole:
            return
        self.steps += 1
        if self.steps == WARM:
            self._began = now()
        if self.steps <= WARM:
            return
        self.examples += len(next(iter(batch.values())))
        mask = batch.get("attention_mask")
        if mask is not None:
            self.tokens, self.padded = self.tokens + int(mask.sum()), self.padded + mask.numel()
        self.seconds = now() - self._began
        if self.steps == WARM + self.length or self.seconds[0] >= SECONDS:
            raise Enough

    @property
    def pace(self) -> np.ndarray:
        """Seconds an example."""
        return self.seconds / self.examples

    @property
    def padding(self) -> dict[str, float]:
        """The share of padding among all tokens, where there are tokens."""
        return {"padding": 1 - self.tokens / self.padded} if self.padded else {}


@dataclass
class Laps:
    """The epochs of a run, each with its validation, apart from what a run pays once."""

    seconds: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def begin(self) -> None:
        self._began = now()

    def end(self) -> None:
        self.seconds = self.seconds + now() - self._began

    def scaled(self, whole: np.ndarray, factor: float) -> np.ndarray:
        """What the run would take, if `factor` times as much were done in its epochs; `whole` is what it took."""
        return whole + (factor - 1) * self.seconds


def alone(name: str, measure: Callable[[], Any]) -> Any:
    """What a measurement gives, in a process forked from this one, which has only done the imports."""
    fork = multiprocessing.get_context("fork")
    receive, send = fork.Pipe(duplex=False)

    def child() -> None:
        torch.set_num_threads(1)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        warnings.simplefilter("ignore")
        quiet_lightning()
        try:
            send.send(measure())
        except Exception:
            traceback.print_exc()
            sys.exit(1)

    process = fork.Process(target=child)
    process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        sys.exit(f"{name} ended without a result; see above.")
    finally:
        process.join()


def spread(values: Sequence[float], digits: int) -> str:
    """Median and range."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def absent(row: Row) -> list[str]:
    """The packages that a row needs and that are not here."""
    return [name for name in row.needs if importlib.util.find_spec(name) is None]


def measured(job: Job, repetitions: int, whole: bool) -> dict[str, list[Found]]:
    """All rows of a job, by turns."""
    rows = {name: row for name, row in job.rows.items() if not absent(row)}
    found: dict[str, list[Found]] = {name: [] for name in rows}
    for seed in range(repetitions):
        with tempfile.TemporaryDirectory() as folder:
            for name, row in rows.items():
                turn = Turn(seed, Path(folder), whole)
                found[name].append(alone(name, partial(row.measure, turn)))
                print(f"{job.title}: {name}: {found[name][-1]['seconds']:.2f} s", file=sys.stderr, flush=True)
    return found


def ratios(job: Job, found: dict[str, list[Found]]) -> list[dict[str, Any]]:
    """Each ratio of the job in every repetition, by the clock and by the processor."""
    result = []
    for one, other, goal in job.ratios:
        if one not in found or other not in found:
            continue
        entry: dict[str, Any] = {"ratio": f"{one} / {other}", "goal": goal}
        for kind in KINDS:
            pairs = zip(found[one], found[other], strict=True)
            entry[kind] = [a[kind] / b[kind] for a, b in pairs if kind in a and kind in b]
        result.append(entry)
    return result


def report(job: Job, found: dict[str, list[Found]], whole: bool) -> list[dict[str, Any]]:
    """Print a job's rows and ratios; return the ratios."""
    print(f"\n{job.title}" + (f"\n{job.note}" if job.note else ""))
    wide = max(map(len, job.rows)) + 2
    print(f"{'':{wide}}{'seconds':>28}{'accuracy':>10}  optimiser; padding; validation")
    for name, row in job.rows.items():
        mark = " ≈" if row.scaled(whole) else ""
        if name not in found:
            print(f"{name + mark:{wide}}{'not measured: ' + ', '.join(absent(row)) + ' is not here':>28}")
            continue
        digits = 1 if median(f["seconds"] for f in found[name]) >= 10 else 3
        scores = [f["accuracy"] for f in found[name] if "accuracy" in f]
        padding = [f["padding"] for f in found[name] if "padding" in f]
        words = [row.optimiser, row.padding + (f" ({mean(padding):.1%})" if padding else ""), row.validation]
        print(
            f"{name + mark:{wide}}{spread([f['seconds'] for f in found[name]], digits):>28}"
            f"{f'{mean(scores):.4f}' if scores else '–':>10}  {'; '.join(words)}"
        )
    result = ratios(job, found)
    for entry in result:
        parts = [f"{spread(entry[key], 2)} by the {name}" for key, name in KINDS.items() if entry[key]]
        print(f"  {entry['ratio']}: {', '.join(parts)}" + (f"; goal {entry['goal']}" if entry["goal"] else ""))
    return result


def bench(name: str, jobs: dict[str, Job], missing: str | None = None) -> None:
    """Measure jobs as the command line says, print them, write benchmarks/NAME.json; `missing` says why none can be.

    The command line: names of jobs (none: all), --full, --repetitions N.
    """
    parser = argparse.ArgumentParser(description=f"Jobs: {', '.join(jobs)}")
    parser.add_argument("jobs", nargs="*", metavar="JOB")
    parser.add_argument("--full", action="store_true", help="run long rows to the end")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    given = parser.parse_args()
    if wrong := sorted(set(given.jobs) - set(jobs)):
        parser.error(f"no job {', '.join(wrong)}: there are {', '.join(jobs)}")
    if missing:
        print(f"{name} is not measured: {missing}")
        return
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    began = time.perf_counter()
    written: dict[str, Any] = {}
    print(f"{name}: {os.cpu_count()} cores, one thread a row, {given.repetitions} repetitions; median (range)")
    for key in given.jobs or jobs:
        found = measured(jobs[key], given.repetitions, given.full)
        results = report(jobs[key], found, given.full)
        written[key] = {"title": jobs[key].title, "whole": given.full, "rows": {}, "ratios": results}
        for row, about in jobs[key].rows.items():
            words = {k: getattr(about, k) for k in ("optimiser", "padding", "validation")}
            scaled = about.scaled(given.full)
            written[key]["rows"][row] = {**words, "scaled": scaled, "found": found.get(row, [])}
        write(name, written)
    print(f"\n{name} took {(time.perf_counter() - began) / 60:.1f} minutes; load now {os.getloadavg()[0]:.1f}")


def write(name: str, found: Any) -> None:
    """Write benchmarks/NAME.json."""
    Path(__file__).with_name(f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
