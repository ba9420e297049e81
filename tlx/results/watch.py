"""Watching a study: a live table on a terminal, one line a change elsewhere, until nothing is left to wait for."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tlx.results.collect import Run
from tlx.results.runs import runs_table, summary, varying

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EVERY = 1.0  # seconds between two looks
SHARE = 0.1  # of a core at most: training needs the rest, and a large study takes long to read
ORDER = ("running", "failed", "damaged", "interrupted")  # what is shown run by run; the others are counted


def watch(look: Callable[[], Sequence[Run]], console: "Console") -> None:
    """Show the runs that `look` gives, again and again, until none is running or missing; Ctrl-C ends it, too.

    Raises:
        UserError: from `look`.
    """
    from rich.live import Live

    said = None
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with contextlib.suppress(KeyboardInterrupt), live or contextlib.nullcontext():
        while True:
            began = time.monotonic()
            runs = look()
            if live:
                live.update(view(runs, console.height), refresh=True)
            elif (line := summary(runs)) != said:
                console.print(line, highlight=False, markup=False, soft_wrap=True)
                said = line
            if over(runs):
                return
            time.sleep(max(EVERY, (time.monotonic() - began) * (1 / SHARE - 1)))


def over(runs: Sequence[Run]) -> bool:
    """Whether nothing is running or missing any more."""
    return not any(run.status in ("running", "missing") for run in runs)


def view(runs: Sequence[Run], height: int) -> "RenderableType":
    """The table of what is running or went wrong, as far as it fits, over one line of numbers."""
    from rich.console import Group
    from rich.text import Text

    told = sorted((r for r in runs if r.status in ORDER), key=lambda run: ORDER.index(run.status))
    room = max(1, height - 4)
    shown, more = told[:room], len(told) - room
    parts: list[RenderableType] = [runs_table(shown, varying(runs), one_line=True)] if shown else []
    if more > 0:
        parts.append(Text(f"… and {more} more", style="dim"))
    return Group(*parts, Text(summary(runs)))
