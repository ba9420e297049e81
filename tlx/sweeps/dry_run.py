"""What a sweep would do: how many runs, which are done, which are left out and why, and what the rest may cost."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tlx.config.composer import composer
from tlx.record.record import read_record
from tlx.registry.entries import entry_to_make
from tlx.sweeps.capacity import jobs_that_fit
from tlx.sweeps.estimate import Times
from tlx.sweeps.launchers import own_launcher
from tlx.sweeps.skipping import why_skipped
from tlx.sweeps.study import Planned, compose_all, left_alone, plan_runs


def dry_run(overrides: Sequence[str], config_dir: str | None) -> list[str]:
    """The lines to print. Nothing is started, made or written.

    Raises:
        UserError: a bad run, as far as composing and the files named tell; models are not built here.
    """
    with composer(config_dir) as compose:
        composed = compose_all(compose, overrides, multirun=True)
        options = own_launcher(compose.launcher(overrides)) or {}
    reasons = [why_skipped(run) for run in composed]
    kept = [run for run, why in zip(composed, reasons, strict=True) if why is None]
    absent = [entry_to_make(run.config) for run in kept]
    waiting = [name for name in absent if name]
    ready = [run for run, name in zip(kept, absent, strict=True) if name is None]
    planned, sentences = left_alone(list({run.folder: run for run in plan_runs(ready)}.values()))
    done = [run for run in planned if run.finished]
    todo = [run for run in planned if not run.finished]
    count = len({run.config["run"]["cell"] for run in planned})
    cells = "? cells" if waiting else f"{count} cell{'s' * (count != 1)}"  # those that wait have no identity yet
    left = len(todo) + len(waiting)
    lines = [f"{len(done) + left} run{'s' * (len(done) + left != 1)} ({cells}): {len(done)} done, {left} to do"]
    if waiting:
        names = ", ".join(sorted(set(waiting)))
        lines.append(f"{len(waiting)} of them wait for the registry's {names}, which would be made first")
    for why, number in Counter(why for why in reasons if why).items():
        lines.append(f"{number} left out: {why}")
    lines += [f"warning: {sentence}" for sentence in sentences]
    for status, number in Counter(_status(run) for run in todo).items():
        lines.append(f"  {number} {status}")
    return [*lines, _cost(done, todo, len(waiting), options)]


def _status(run: Planned) -> str:
    record = read_record(run.folder)
    return "not begun" if record is None else f"{record['status']} before"


def _cost(done: Sequence[Planned], todo: Sequence[Planned], waiting: int, options: dict[str, Any]) -> str:
    """Time for what is left, from the runs that are done: those of the same cell, else of the same strategy.

    Of `waiting` further runs nothing is known.
    """
    if not todo and not waiting:
        return "nothing is left to do"
    times = Times()
    for run in done:
        times.add(run)
    seconds, unknown = times.of(todo)
    unknown += waiting
    if unknown == len(todo) + waiting:
        return "no estimate of the time: no run of this kind has been done in this study yet"
    jobs = options.get("n_jobs") or jobs_that_fit([run.config for run in todo])
    rest = f", without {unknown} runs of which no like has been done" if unknown else ""
    return f"about {seconds / jobs / 60:.1f} minutes with {jobs} at once{rest} (from the median times of finished runs)"
