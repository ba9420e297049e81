"""tlx's side of the benchmarks: whole runs in a warm process, from resolved configs to the records on disk.

The environment names what is needed: TLX_MINILM the folder of all-MiniLM-L6-v2, TLX_DATA the one that holds the data
sets, each in a folder of its own (`trec`, `caltech20`, …). TLX_ACCELERATOR=gpu measures on a GPU, peers included.
"""

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import lightning as L
from rows import Found, Laps, Turn, now, took

from tlx.config.composer import composer
from tlx.record.record import read_record
from tlx.sweeps.jobs import as_jobs
from tlx.sweeps.local import modules_for
from tlx.sweeps.study import Planned, plan_run
from tlx.sweeps.worker import do, do_job

MINILM, DATA = Path(os.environ.get("TLX_MINILM", "")), Path(os.environ.get("TLX_DATA", ""))
ACCELERATOR = os.environ.get("TLX_ACCELERATOR", "cpu")
BATCH = 16
TREC = ["model=minilm", f"model.path={MINILM}", "dataset=trec", f"dataset.path={DATA / 'trec'}"]


def missing(*datasets: str, minilm: bool = False) -> str | None:
    """What of these is not here, in words."""
    if minilm and not (MINILM / "config.json").is_file():
        return "TLX_MINILM must name the folder of all-MiniLM-L6-v2."
    lacking = [name for name in datasets if not (DATA / name).is_dir()]
    return f"TLX_DATA must name the folder that holds {', '.join(lacking)}." if lacking else None


def planned(words: Sequence[str], seed: int, folder: Path, study: str = "bench") -> Planned:
    """The run of `tlx train` with these words."""
    given = [f"trainer.batch_size={BATCH}", "trainer.threads=1", f"seed={seed}", f"study={study}"]
    given += [f"trainer.accelerator={ACCELERATOR}"]
    given += [f"paths.{name}={folder / name}" for name in ("runs", "registry", "cache")]
    with composer() as compose:
        return plan_run(compose([*given, *words]))


def carry_out(runs: Sequence[Planned], callbacks: Sequence[L.Callback] = ()) -> list[dict[str, Any]]:
    """Do these runs in this process, job by job as a sweep would, and return their records.

    With callbacks that want a Trainer, one run after the other.
    """
    if callbacks:
        for run in runs:
            do(run, callbacks)
    else:
        for job in as_jobs(runs):
            do_job(job)
    records = [read_record(run.folder) for run in runs]
    if any(record is None or record["status"] != "completed" for record in records):
        raise RuntimeError("a run left no record of its completion")
    return [record for record in records if record is not None]


def study(words: Sequence[str], name: str, seeds: int = 1) -> Callable[[Turn], Found]:
    """Measures the runs of these words with `seeds` seeds, as the study `name`.

    Rows of one repetition share a cache: the first that needs what frozen layers give finds it empty, others do not.
    """

    def measure(turn: Turn) -> Found:
        runs = [planned(words, seed, turn.folder, name) for seed in range(seeds)]
        for module in modules_for([run.config for run in runs]):  # what a sweep's warm server has imported
            importlib.import_module(module)
        began = now()
        records = carry_out(runs)
        return took(now() - began, accuracy=mean(r["metrics"]["test/accuracy"] for r in records))

    return measure


def study_in_laps(words: Sequence[str], name: str, short: Sequence[str], factor: float) -> Callable[[Turn], Found]:
    """Measures one run of these words: whole, or with `short` besides, where `factor` times as much is to be done."""

    def measure(turn: Turn) -> Found:
        if turn.whole:
            return study(words, name)(turn)
        run, laps = planned([*words, *short], turn.seed, turn.folder, name), Laps()
        began = now()
        carry_out([run], [LapCounter(laps)])
        return took(laps.scaled(now() - began, factor))

    return measure


class LapCounter(L.Callback):
    """Laps in a Trainer of Lightning's: from the first batch of an epoch to its end, after the validation."""

    def __init__(self, laps: Laps) -> None:
        self.laps = laps

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self.laps.begin()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.laps.end()
