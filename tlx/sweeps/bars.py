"""What a sweep shows of itself: one bar for the study, one line for each running job; silence outside a terminal."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from tlx.config import budget
from tlx.record.running import read_progress

if TYPE_CHECKING:  # `tlx runs` reads progress and needs no plan
    from tlx.sweeps.estimate import Estimate
    from tlx.sweeps.study import Planned


class _Left(TimeRemainingColumn):
    """What a task says of the time left itself, else what its pace says."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["left"]) if "left" in task.fields else super().render(task)


class StudyProgress:
    """Shows runs done of all with the time left, and each running job's epochs. Failures are said in any case."""

    def __init__(self, total: int, done: int, estimate: "Estimate | None" = None) -> None:
        self.estimate = estimate
        self.console = Console(stderr=True)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Left(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        note = f"{done} done before" if done else ""
        self.study = self.bars.add_task("runs", total=total, completed=done, note=note)
        if estimate:
            self.bars.update(self.study, left="")  # how many are done says little of the time
        self._tasks: dict[Path, TaskID] = {}

    def __enter__(self) -> "StudyProgress":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def start(self, run: "Planned") -> None:
        """A run begins."""
        if self.estimate:
            self.estimate.start(run)
        epochs = budget.epochs(run.config)
        self._tasks[run.folder] = self.bars.add_task("epochs", total=epochs, note=run.folder.name)

    def end(self, run: "Planned") -> None:
        """A run ended, one way or the other."""
        if self.estimate:
            self.estimate.end(run)
        self.bars.remove_task(self._tasks.pop(run.folder))

    def advance(self, run: "Planned") -> None:
        """A run was completed."""
        if self.estimate:
            self.estimate.completed(run)
        self.bars.advance(self.study)

    def failed(self, run: "Planned", why: str) -> None:
        """A run has failed for good; that is said."""
        if self.estimate:
            self.estimate.failed(run)
        self.say(f"failed: {run.folder.name}: {why}")

    def refresh(self, running: Sequence["Planned"]) -> None:
        """Move the bars of the running jobs to where their progress files are."""
        if self.bars.disable:
            return
        if self.estimate:
            self.bars.update(self.study, left=self.estimate.text())
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
