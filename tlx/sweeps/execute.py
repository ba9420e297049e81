"""From a command line to finished runs: prepare the study, freeze it, hand it to a launcher."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.config.composer import Composed, Composer, composer
from tlx.config.instantiate import instantiate
from tlx.errors import RunFailed, UserError
from tlx.record.jsonfile import Damaged
from tlx.record.record import headline, read_record
from tlx.registry.entries import PREFIX, entry_to_make
from tlx.results.later import complete
from tlx.results.profile import already_finished
from tlx.sweeps.check import check_runs, writable
from tlx.sweeps.engine import LOOK_AGAIN, Backend, Rules, carry_out, reason, settle
from tlx.sweeps.estimate import Estimate
from tlx.sweeps.folder import Busy, locked
from tlx.sweeps.jobs import as_jobs
from tlx.sweeps.launchers import make_backend, own_launcher
from tlx.sweeps.progress import StudyProgress
from tlx.sweeps.search_options import own_sweeper
from tlx.sweeps.skipping import why_skipped
from tlx.sweeps.study import Planned, compose_all, left_alone, plan_run, plan_runs, write_study
from tlx.sweeps.worker import NO_WORD, do

if TYPE_CHECKING:
    from tlx.sweeps.found import Found


@dataclass
class Study:
    """The frozen runs of one command line: what a launcher carries out.

    Hydra's own launchers call it once a job, in this process or in one of theirs, with the job's config, which is not
    looked at: what runs is what was checked and written down, whatever became of the yamls since.
    """

    runs: list[Planned]
    backend: Backend | None = None
    interrupted: str | None = None  # the name of the signal that ended the sweep
    todo: list[Planned] = field(default_factory=list)  # what one of Hydra's own launchers does: job N is the Nth

    def carry_out(self, options: dict[str, Any]) -> None:
        """Do all runs that are not finished, as the options of our launcher say."""
        todo = unfinished(self.runs)
        if todo:
            backend = self.backend or make_backend(options, [job.config for job in as_jobs(todo)])
            rules = Rules(options["on_error"], options["retries"])
            names, estimate = {run.folder for run in todo}, None
            if sys.stderr.isatty():  # else nobody sees it, and it reads every record
                estimate = Estimate(todo, [run for run in self.runs if run.folder not in names])
            with StudyProgress(len(self.runs), len(self.runs) - len(todo), estimate) as progress:
                self.interrupted = carry_out(todo, backend, rules, progress)

    def __call__(self, config: Any) -> None:
        from hydra.core.hydra_config import HydraConfig

        do(self.todo[HydraConfig.get().job.num])

    @property
    def summary(self) -> str:
        """What to print at the end, and the command that shows more."""
        done = len(self.runs) - len(self.left)
        return f"{done} of {len(self.runs)} runs done: tlx table {self.runs[0].folder.parent}"

    @property
    def complaint(self) -> str | None:
        """What failed or was not done; None when all is well."""
        left, place = self.left, self.runs[0].folder.parent
        return f"{len(left)} of {len(self.runs)} runs failed or were not done: tlx runs {place}" if left else None

    @property
    def left(self) -> list[Planned]:
        """The runs that have no result: failed, interrupted or not begun."""
        return [run for run in self.runs if not run.finished]


def run_one(overrides: Sequence[str], config_dir: str | None = None) -> Planned:
    """One run from its overrides, in this process; a finished run is not done again.

    Raises:
        UserError: bad input; nothing was started.
        RunFailed: it was started and failed; its record says why.
    """
    with composer(config_dir) as compose:
        if any(word.lstrip("+~").startswith("hydra.launcher") for word in overrides):
            own_launcher(compose.launcher(overrides))  # it has nothing to do here, but its words may be wrong
        (run,) = prepare(compose, overrides, multirun=False)
    do_here(run)
    if not run.finished:
        raise RunFailed(_why(run))
    return run


def run_sweep(overrides: Sequence[str], config_dir: str | None) -> "Study | Found":
    """All runs of a command line, planned, checked and frozen before the first one starts; or a search for values.

    Raises:
        UserError: anything wrong with any run, or with all that a search could try; nothing was started.
    """
    with composer(config_dir) as compose:
        if searching := own_sweeper(compose.sweeper(overrides)):
            from tlx.sweeps.search import Search

            return Search(compose, overrides, searching).carry_out()
        options = own_launcher(compose.launcher(overrides))
        study = Study([])
        try:
            study.runs = prepare(compose, overrides, multirun=True, study=study, options=options)
        except BaseException:
            if study.backend is not None:
                study.backend.close()
            raise
        if options is not None:
            study.carry_out(options)
        else:
            launch(compose, overrides, study)
    return study


def launch(compose: Composer, overrides: Sequence[str], study: Study) -> None:
    """Let one of Hydra's own launchers do what is not finished; then say what failed, as our launcher does.

    Raises:
        RunFailed: the launcher gave up, as joblib's does when one of its processes dies.
    """
    study.todo = unfinished(study.runs)
    if not study.todo:
        return
    try:
        compose.launch(overrides, [run.overrides for run in study.todo], study)
    finally:
        for run in study.todo:
            if settle(run, NO_WORD) not in ("completed", "elsewhere"):
                print(f"failed: {run.folder.name}: {reason(run)}", file=sys.stderr)


def do_here(run: Planned) -> None:
    """Do one run in this process, with a bar on a terminal; its record says how it ended."""
    if not unfinished([run]):
        return
    from tlx.callbacks.progress import EpochBar

    with StudyProgress(1, done=0) as progress:
        progress.start(run)
        while True:
            try:
                do(run, [EpochBar(progress, run)])
            except Busy as busy:
                progress.say(f"{busy}: waiting for it")
                time.sleep(LOOK_AGAIN)
                continue
            except Exception as error:
                progress.failed(run, headline(type(error).__name__, str(error)))
            return


def _why(run: Planned) -> str:
    record = read_record(run.folder)
    error = (record or {}).get("error") or {"type": "no record", "message": "the run ended before it wrote one"}
    return f"{error['type']}: {error['message']} ({run.folder / 'record.json'})"


def prepare(
    compose: Composer,
    overrides: Sequence[str],
    multirun: bool,
    study: Study | None = None,
    options: dict[str, Any] | None = None,
) -> list[Planned]:
    """Compose, make the backbones that are bundled but not yet there, identify, check, and write the plan down.

    With a `study` that our launcher with these `options` will carry out, its backend warms up meanwhile.

    Raises:
        UserError: anything wrong with any run; nothing was started.
    """
    composed = compose_all(compose, overrides, multirun)
    reasons = [why_skipped(run) for run in composed]
    if all(reasons):
        if multirun:
            raise UserError("skip_if leaves no run of this sweep; `--dry-run` says which condition leaves out which.")
        raise UserError(f"skip_if leaves this run out ({reasons[0]}): change the condition, or say skip_if=[].")
    composed = [run for run, reason in zip(composed, reasons, strict=True) if reason is None]
    runs = examine(compose, composed, study, options)
    write_study(runs)
    complete_finished(runs)
    if finished := [run for run in runs if run.config["profile"] and run.finished and not run.config["force"]]:
        print(f"tlx: {already_finished(len(finished), len(runs))}", file=sys.stderr)
    return runs


def complete_finished(runs: Sequence[Planned]) -> None:
    """Of runs that are not done again: compute what is asked for and their predictions give, and say what is lacking.

    What is measured is no part of the identity, so that a finished run may be asked for more than it was.
    """
    computed: Counter[str] = Counter()
    lacking: Counter[str] = Counter()
    for run in runs:
        if run.completed and not run.config["force"]:
            with suppress(Busy), locked(run.folder):
                found, rest = complete(run.config, run.folder)
                computed.update(found)
                lacking.update(rest)
    for name, number in computed.items():
        print(f"tlx: {name} of {number} finished runs was computed from their predictions.", file=sys.stderr)
    if lacking:
        named = ", ".join(f"{name} ({number} runs)" for name, number in lacking.items())
        print(
            f"tlx: finished before they were asked for: {named}. That needs the training once more: force=true.",
            file=sys.stderr,
        )


def examine(
    compose: Composer,
    composed: Sequence[Composed],
    study: Study | None = None,
    options: dict[str, Any] | None = None,
) -> list[Planned]:
    """What `prepare` does with composed runs, but for writing the plan down.

    Raises:
        UserError: anything wrong with any run; nothing was started.
    """
    for cache in {run.config["paths"]["cache"] for run in composed}:
        writable(Path(cache))
    for run in composed:
        pretrain_if_missing(compose, run.config, run.choices)
    runs, sentences = left_alone(list({run.folder: run for run in plan_runs(composed)}.values()))
    for sentence in sentences:
        print(f"tlx: warning: {sentence}", file=sys.stderr)
    todo = unfinished(runs)
    for planned in todo:
        try:
            read_record(planned.folder)
        except Damaged as error:
            print(f"tlx: {error} It is done again.", file=sys.stderr)
    if todo and study is not None and options is not None:
        study.backend = make_backend(options, [job.config for job in as_jobs(todo)])
    check_runs(todo)
    for registry in {run.config["paths"]["registry"] for run in todo if run.config["register"]}:
        writable(Path(registry))
    for root in {run.folder.parent for run in runs}:
        writable(root)
    return runs


def pretrain_if_missing(compose: Composer, config: dict[str, Any], choices: dict[str, Any]) -> None:
    """Make a model's registry entry by the run that its yaml describes (`pretrain`), unless it is there.

    The run is an ordinary one; it lies under <registry>/runs.
    """
    registry, name = Path(config["paths"]["registry"]), entry_to_make(config)
    if name is None:
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
        *config["model"]["pretrain"],
    ]
    if compose(words).config["model"]["path"] != PREFIX + name:
        return  # an entry of the user's own, which the recipe does not make
    # What is wrong with the target's data is said before minutes are spent.
    dataset: Dataset = instantiate(config["dataset"], "dataset")
    dataset.load(config["seed"], Path(config["paths"]["cache"]))
    writable(registry)
    source = compose([*words, "model.path=null"])
    with FileLock(registry / f".{name}.lock"):
        if entry_to_make(config) is None:
            return  # somebody made it meanwhile
        run = plan_run(source)
        check_runs([run])
        print(f"pretraining {name} on {source.choices['dataset']} (once; kept in {registry / name})", file=sys.stderr)
        do_here(run)
        if not run.finished:
            raise RunFailed(f"pretraining {name} failed: {_why(run)}")


def unfinished(runs: Sequence[Planned]) -> list[Planned]:
    """The runs that are still to be done, or are to be done again (force).

    Raises:
        UserError: a run's folder holds the record of another run.
    """
    return [run for run in runs if not run.finished or run.config["force"]]
