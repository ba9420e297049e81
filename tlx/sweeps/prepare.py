"""Before the first run of a command line starts, all are composed, identified, checked and written down."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tlx.config.composer import Composed, Composer
from tlx.errors import UserError
from tlx.record.jsonfile import Damaged
from tlx.record.record import read_record
from tlx.record.running import Busy, locked
from tlx.results.later import complete
from tlx.results.profile import already_finished
from tlx.sweeps.check import check_runs, writable
from tlx.sweeps.jobs import as_jobs
from tlx.sweeps.launchers import make_backend
from tlx.sweeps.pretraining import pretrain_if_missing
from tlx.sweeps.skipping import why_skipped
from tlx.sweeps.study import Planned, compose_all, left_alone, plan_runs, unfinished, write_study
from tlx.sweeps.sweep import Sweep


def prepare(
    compose: Composer,
    overrides: Sequence[str],
    multirun: bool,
    study: Sweep | None = None,
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


def examine(
    compose: Composer,
    composed: Sequence[Composed],
    study: Sweep | None = None,
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
