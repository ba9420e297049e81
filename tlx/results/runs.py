"""The list of runs: done, running, interrupted, failed (why), missing."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlx.record.record import headline
from tlx.results.collect import STATES, Run
from tlx.results.live import duration, progress
from tlx.results.naming import setting

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STYLES = {"completed": "green", "running": "cyan", "interrupted": "yellow", "missing": "dim"}  # the rest is red


def list_runs(runs: Sequence[Run], log: bool = False) -> dict[str, Any]:
    """A plain object, fit for JSON: `total`, `counts` by status, and `runs` in the order given.

    Each run has study, folder, identity, status, its choices, started (ISO time), seconds (total), attempt, progress
    (see `tlx.results.live.progress`; None unless training) and error (the first line of what went wrong; None unless
    failed, interrupted or damaged); with `log` also the last lines that a failed run printed.
    """
    counts = Counter(run.status for run in runs)
    return {
        "total": len(runs),
        "counts": {state: counts[state] for state in STATES},
        "runs": [
            {
                "study": run.study,
                "folder": str(run.folder),
                "identity": run.identity,
                "status": run.status,
                "choices": run.choices,
                "started": run.record.get("started"),
                "seconds": run.record.get("seconds", {}).get("total"),
                "attempt": run.record.get("attempt"),
                "progress": progress(run),
                "error": first_line(run),
                **({"log": failure_log(run) if run.status == "failed" else []} if log else {}),
            }
            for run in runs
        ],
    }


def first_line(run: Run) -> str | None:
    """`ValueError: the loss is nan`, the first line of the run's error; None when there is none."""
    error = run.record.get("error")
    return headline(error.get("type"), error.get("message")) if error else run.problem


def summary(runs: Sequence[Run]) -> str:
    """`12 of 20 runs done, 1 running, 2 failed, 5 missing`."""
    counts = Counter(run.status for run in runs)
    others = [f"{counts[state]} {state}" for state in STATES[1:] if counts[state]]
    return ", ".join([f"{counts['completed']} of {len(runs)} runs done", *others])


def print_runs(runs: Sequence[Run], console: "Console") -> None:
    """Print what is not done, run by run with the reason, then one line of numbers.

    Completed runs are listed when they are all there is or few enough to read (at most 40 runs).
    """
    shown = [run for run in runs if len(runs) <= 40 or run.status != "completed"] or list(runs)
    console.print(runs_table(shown, varying(runs)))
    console.print(summary(runs), highlight=False)


def print_failed(runs: Sequence[Run], console: "Console", log: bool = False) -> None:
    """Print the failed runs with the reason, with `log` what each of them printed at last, then one line of numbers."""
    failed = [run for run in runs if run.status == "failed"]
    if failed:
        console.print(runs_table(failed, varying(runs)))
    for run in failed if log else ():
        console.print(f"\n{run.folder}", style="bold", highlight=False, markup=False, soft_wrap=True)
        for line in failure_log(run) or ["it printed nothing"]:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    console.print(summary(runs), highlight=False)


def failure_log(run: Run, lines: int = 20) -> list[str]:
    """The last lines of a failed run's log; of its traceback when the log says no more than the error itself."""
    from tlx.record.running import log_tail

    error = run.record.get("error") or {}
    known = f"{error.get('type')}: {error.get('message')}".splitlines()
    log = log_tail(run.folder, lines)
    if any(line.strip() and line not in known for line in log):
        return log
    return str(error.get("traceback") or "").splitlines()[-lines:] or log


def varying(runs: Sequence[Run]) -> list[str]:
    """The choices that are not the same in all runs; all of them when there is no difference."""
    names = list(dict.fromkeys(name for run in runs for name in run.choices))
    return [n for n in names if len({setting(n, run.choices.get(n)) for run in runs}) > 1] or names


def runs_table(runs: Sequence[Run], names: Sequence[str], one_line: bool = False) -> "Table":
    """One row a run: status, the choices `names`, progress where a run is training, and why it failed.

    With `one_line` what does not fit is cut off.
    """
    from rich.markup import escape
    from rich.table import Table

    several = len({run.study for run in runs}) > 1
    states = [progress(run) for run in runs]
    table = Table(box=None, pad_edge=False)
    training = ("epoch", "loss", "left") if any(states) else ()
    for name in [*(["study"] if several else []), "status", *names, *training, "seconds", "why"]:
        table.add_column(name, overflow="ellipsis" if one_line else "fold", no_wrap=one_line)
    for run, state in zip(runs, states, strict=True):
        cells = [*([run.study] if several else []), run.status, *(setting(n, run.choices.get(n)) for n in names)]
        took = run.record.get("seconds", {}).get("total")
        if state:
            took = state["seconds"]
            loss = "" if state["loss"] is None else f"{state['loss']:.3f}"
            cells += [f"{state['epoch']}/{state['epochs']}", loss, duration(state["left"])]
        else:
            cells += [""] * len(training)
        cells += ["" if took is None else f"{took:.1f}", first_line(run) or ""]
        table.add_row(*map(escape, cells), style=STYLES.get(run.status, "red"))
    return table
