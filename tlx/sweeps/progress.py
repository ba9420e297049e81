"""What a sweep shows of itself: one bar for the study, one line for each running job; silence outside a terminal."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tlx import budget

if TYPE_CHECKING:  # `tlx runs` reads progress and needs no plan
    from tlx.sweeps.study import Planned

NAME = "progress.json"  # written by tlx.callbacks.progress.ProgressFile


def read_progress(folder: Path) -> dict[str, Any]:
    """What the run in `folder` last said of its progress; {} when it said nothing."""
    try:
        return json.loads((folder / NAME).read_text())
    except (OSError, ValueError):
        return {}


class StudyProgress:
    """Shows runs done of all with the time left, and each running job's epochs. Failures are said in any case."""

    def __init__(self, total: int, done: int) -> None:
        self.console = Console(stderr=True)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self.study = self.bars.add_task("runs", total=total, completed=done, note=f"{done} done before" if done else "")
        self._tasks: dict[Path, TaskID] = {}

    def __enter__(self) -> "StudyProgress":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def start(self, run: "Planned") -> None:
        """A run begins."""
        epochs = budget.epochs(run.config)
        self._tasks[run.folder] = self.bars.add_task("epochs", total=epochs, note=run.folder.name)

    def end(self, run: "Planned") -> None:
        """A run ended, one way or the other."""
        self.bars.remove_task(self._tasks.pop(run.folder))

    def advance(self) -> None:
        """A run was completed."""
        self.bars.advance(self.study)

    def refresh(self, running: Sequence["Planned"]) -> None:
        """Move the bars of the running jobs to where their progress files are."""
        if self.bars.disable:
            return
        for run in running:
            state = read_progress(run.folder)
            if state:
                self.move(run, state["epoch"], state["loss"])

    def move(self, run: "Planned", epoch: int, loss: float | None) -> None:
        """A run has done that many epochs."""
        note = run.folder.name + ("" if loss is None else f"  loss {loss:.3f}")
        self.bars.update(self._tasks[run.folder], completed=epoch, note=note)

    def say(self, line: str) -> None:
        """A line that stays on the screen."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
