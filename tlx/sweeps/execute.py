"""Carrying out a study in this process: pretrain what is missing, skip what is done, survive what fails."""

import gc
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlx.config import Composer, composer
from tlx.errors import RunFailed
from tlx.results.record import read_record
from tlx.sweeps.check import check_runs, writable
from tlx.sweeps.progress import StudyProgress
from tlx.sweeps.study import Planned, compose_all, plan_run, write_study


def run_one(overrides: Sequence[str], config_dir: str | None = None) -> dict[str, Any]:
    """One run from its overrides; returns its record (that of a finished run is read, not made again)."""
    with composer(config_dir) as compose:
        runs = prepare(compose, overrides, multirun=False)
    failed = execute(runs)
    record = read_record(runs[0].folder)
    assert record is not None
    if failed:
        raise RunFailed(f"{record['error']['type']}: {record['error']['message']} ({runs[0].folder / 'record.json'})")
    return record


def run_sweep(overrides: Sequence[str], config_dir: str | None, multirun: bool) -> tuple[list[Planned], list[Planned]]:
    """All runs of a command line; returns (all, failed)."""
    with composer(config_dir) as compose:
        runs = prepare(compose, overrides, multirun)
    return runs, execute(runs)


def prepare(compose: Composer, overrides: Sequence[str], multirun: bool) -> list[Planned]:
    """Compose, make the backbones that are bundled but not yet there, identify, check, and write the plan down.

    Raises:
        UserError: anything wrong with any run; nothing was started.
    """
    composed = compose_all(compose, overrides, multirun)
    for run in composed:
        pretrain_if_missing(compose, run.config, run.choices)
    runs = list({run.folder: run for run in map(plan_run, composed)}.values())
    todo = [run for run in runs if run.config["force"] or not run.finished]
    check_runs(todo)
    for root in {run.folder.parent for run in runs}:
        writable(root)
    write_study(runs)
    return runs


def pretrain_if_missing(compose: Composer, config: dict[str, Any], choices: dict[str, Any]) -> None:
    """Make a model's registry entry by the run that its yaml describes (`pretrain`), unless it is there.

    The run is an ordinary one; it lies under <registry>/runs.
    """
    path, recipe = config["model"].get("path") or "", config["model"].get("pretrain")
    registry = Path(config["paths"]["registry"])
    name = path.removeprefix("registry:")
    if not path.startswith("registry:") or not recipe or (registry / name / "card.json").is_file():
        return
    from filelock import FileLock

    writable(registry)
    source = compose(
        [
            f"model={choices['model']}",
            "model.path=null",
            "strategy=scratch",
            "study=pretraining",
            f"register={name}",
            f"paths.runs={registry / 'runs'}",
            f"paths.registry={registry}",
            f"paths.cache={config['paths']['cache']}",
            *recipe,
        ]
    )
    with FileLock(registry / f".{name}.lock"):
        if (registry / name / "card.json").is_file():
            return
        run = plan_run(source)
        check_runs([run])
        print(f"pretraining {name} on {source.choices['dataset']} (once; kept in {registry / name})", file=sys.stderr)
        if execute([Planned(run.config | {"force": True}, run.folder)]):
            record = read_record(run.folder)
            assert record is not None
            raise RunFailed(f"pretraining {name} failed: {record['error']['message']} ({run.folder / 'record.json'})")


def execute(runs: Sequence[Planned]) -> list[Planned]:
    """Do the runs that are not finished, one after the other; a failing run is recorded and the next one starts.

    Returns the failed runs. An interruption (Ctrl-C) ends the sweep.
    """
    todo = [run for run in runs if run.config["force"] or not run.finished]
    failed = []
    with StudyProgress(len(runs), done=len(runs) - len(todo)) as progress:
        for run in todo:
            make_room(run.folder)
            progress.start(run)
            try:
                _run(run, progress)
            except KeyboardInterrupt:
                raise
            except Exception as error:
                failed.append(run)
                progress.failed(run, error)
            progress.advance()
            gc.collect()  # Lightning's cycles keep a model alive until they are collected
    return failed


def _run(run: Planned, progress: StudyProgress) -> None:
    from tlx.train import run as train

    train(run.config, run.folder, callbacks=progress.callbacks())


def make_room(folder: Path) -> None:
    """Move what an earlier attempt left in a run's folder into `attempt-N` within it; checkpoints of it are dropped."""
    if not folder.is_dir() or not (record := read_record(folder)):
        return
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    keep = folder / f"attempt-{record.get('attempt', 1)}"
    keep.mkdir(exist_ok=True)
    for part in folder.iterdir():
        if not part.name.startswith("attempt-") and part.name != "record.json":
            part.rename(keep / part.name)
    # The record is copied, not moved: the new attempt takes its number from it, and there is always one.
    shutil.copy2(folder / "record.json", keep / "record.json")

