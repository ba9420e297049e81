"""Carrying out a study in this process: pretrain what is missing, skip what is done, survive what fails."""

import gc
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlx.config import Composer, composer, instantiate
from tlx.errors import RunFailed
from tlx.registry.entries import PREFIX
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
    for cache in {run.config["paths"]["cache"] for run in composed}:
        writable(Path(cache))
    for run in composed:
        pretrain_if_missing(compose, run.config, run.choices)
    runs = list({run.folder: run for run in map(plan_run, composed)}.values())
    todo = unfinished(runs)
    check_runs(todo)
    for registry in {run.config["paths"]["registry"] for run in todo if run.config["register"]}:
        writable(Path(registry))
    for root in {run.folder.parent for run in runs}:
        writable(root)
    write_study(runs)
    return runs


def pretrain_if_missing(compose: Composer, config: dict[str, Any], choices: dict[str, Any]) -> None:
    """Make a model's registry entry by the run that its yaml describes (`pretrain`), unless it is there.

    The run is an ordinary one; it lies under <registry>/runs.
    """
    recipe, registry = config["model"].get("pretrain"), Path(config["paths"]["registry"])
    init = config["strategy"]["init"]
    path = init if init.startswith(PREFIX) else config["model"].get("path") or ""
    name = path.removeprefix(PREFIX)
    if not recipe or not path.startswith(PREFIX) or (registry / name / "card.json").is_file():
        return
    from filelock import FileLock

    from tlx.data.dataset import Dataset

    words = [
        f"model={choices['model']}",
        "strategy=scratch",
        "study=pretraining",
        f"register={name}",
        f"paths.runs={registry / 'runs'}",
        f"paths.registry={registry}",
        f"paths.cache={config['paths']['cache']}",
        *recipe,
    ]
    if compose(words).config["model"]["path"] != path:
        return  # an entry of the user's own, which the recipe does not make
    # What is wrong with the target's data is said before minutes are spent.
    dataset: Dataset = instantiate(config["dataset"], "dataset")
    dataset.load(config["seed"], Path(config["paths"]["cache"]))
    writable(registry)
    source = compose([*words, "model.path=null"])
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


def unfinished(runs: Sequence[Planned]) -> list[Planned]:
    """The runs that are still to be done, or are to be done again (force).

    Raises:
        UserError: a run's folder holds the record of another run.
    """
    return [run for run in runs if not run.finished or run.config["force"]]


def execute(runs: Sequence[Planned]) -> list[Planned]:
    """Do the runs that are not finished, one after the other; a failing run is recorded and the next one starts.

    Returns the failed runs. An interruption (Ctrl-C) ends the sweep.
    """
    todo = unfinished(runs)
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
