"""The list of runs: done, running, interrupted, failed (why), missing."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlx.results.collect import STATES, Run
from tlx.results.naming import setting

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"completed": "green", "running": "cyan", "interrupted": "yellow", "missing": "dim"}  # the rest is red


def list_runs(runs: Sequence[Run]) -> dict[str, Any]:
    """A plain object, fit for JSON: `total`, `counts` by status, and `runs` in the order given.

    Each run has study, folder, identity, status, its choices, started (ISO time), seconds (total), attempt and error
    (the first line of what went wrong; None unless failed, interrupted or damaged).
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
                "error": first_line(run),
            }
            for run in runs
        ],
    }


def first_line(run: Run) -> str | None:
    """`ValueError: the loss is nan`, the first line of the run's error; None when there is none."""
    error = run.record.get("error")
    if not error:
        return run.problem
    message = str(error.get("message") or "").strip()
    line = message.splitlines()[0] if message else ""
    return ": ".join(part for part in (error.get("type"), line) if part)


def summary(runs: Sequence[Run]) -> str:
    """`12 of 20 runs done, 1 running, 2 failed, 5 missing`."""
    counts = Counter(run.status for run in runs)
    others = [f"{counts[state]} {state}" for state in STATES[1:] if counts[state]]
    return ", ".join([f"{counts['completed']} of {len(runs)} runs done", *others])


def print_runs(runs: Sequence[Run], console: "Console") -> None:
    """Print what is not done, run by run with the reason, then one line of numbers.

    Completed runs are listed when they are all there is or few enough to read (at most 40 runs).
    """
    from rich.markup import escape
    from rich.table import Table

    shown = [run for run in runs if len(runs) <= 40 or run.status != "completed"] or list(runs)
    names = list(dict.fromkeys(name for run in shown for name in run.choices))
    studies = len({run.study for run in shown}) > 1
    table = Table(box=None, pad_edge=False)
    for name in [*(["study"] if studies else []), "status", *names, "seconds", "why"]:
        table.add_column(name, overflow="fold")
    for run in shown:
        took = run.record.get("seconds", {}).get("total")
        cells = [*([run.study] if studies else []), run.status, *(setting(n, run.choices.get(n)) for n in names)]
        cells += ["" if took is None else f"{took:.1f}", first_line(run) or ""]
        table.add_row(*map(escape, cells), style=STYLES.get(run.status, "red"))
    console.print(table)
    console.print(summary(runs), highlight=False)
