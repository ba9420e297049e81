"""One bar for the study and one for the current run; silence when the output is not a terminal."""

import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tlx.sweeps.study import Planned

if TYPE_CHECKING:
    import lightning as L


class StudyProgress:
    """Shows runs done of all, with the time left, and the current run's epochs. Failures are said in any case."""

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
        self.current = self.bars.add_task("epochs", total=None, note="", visible=False)

    def __enter__(self) -> "StudyProgress":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def start(self, run: Planned) -> None:
        """A run begins."""
        epochs = run.config["trainer"]["max_epochs"]
        self.bars.reset(self.current, total=epochs, visible=True, note=run.folder.name)

    def advance(self) -> None:
        """The current run ended."""
        self.bars.advance(self.study)

    def failed(self, run: Planned, error: Exception) -> None:
        """Say that a run failed; the sweep goes on."""
        lines = str(error).splitlines()
        reason = f"{type(error).__name__}: {lines[0] if lines else ''}"
        self.console.print(f"failed: {run.folder.name}: {reason}", highlight=False, markup=False, soft_wrap=True)

    def callbacks(self) -> list["L.Callback"]:
        """The Lightning callbacks that move the current run's bar."""
        import lightning as L

        progress = self

        class EpochBar(L.Callback):
            def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
                scores: dict[str, Any] = trainer.callback_metrics
                loss = scores.get("train/loss")
                note = f"loss {float(loss):.3f}" if loss is not None else ""
                progress.bars.update(progress.current, completed=trainer.current_epoch + 1, note=note)

        return [EpochBar()]
