"""What a run says of its progress while it trains, for whoever watches the study."""

import json
import time
from pathlib import Path
from typing import Any

import lightning as L

from tlx.atomic import atomic
from tlx.sweeps.progress import NAME, StudyProgress
from tlx.sweeps.study import Planned


class ProgressFile(L.Callback):
    """Keeps `progress.json` in a run's folder: how far training is; once a second at most.

    It holds epoch, epochs, step, steps, loss, first_step and seconds: where and how long ago this sitting began.
    """

    EVERY = 1.0

    def __init__(self, folder: Path) -> None:
        self.file = folder / NAME
        self._began = self._wrote = 0.0
        self._first = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._began, self._first = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if not trainer.is_global_zero or time.monotonic() - self._wrote < self.EVERY:
            return
        self._wrote = time.monotonic()
        loss = trainer.callback_metrics.get("train/loss")
        state = {
            "epoch": trainer.current_epoch,
            "epochs": trainer.max_epochs,
            "step": trainer.global_step,
            "first_step": self._first,
            "steps": int(trainer.estimated_stepping_batches),
            "loss": None if loss is None else float(loss),
            "seconds": self._wrote - self._began,
        }
        with atomic(self.file) as file:
            file.write(json.dumps(state).encode())

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            self.file.unlink(missing_ok=True)


class EpochBar(L.Callback):
    """Moves the bar of a run that is done in the process that shows it."""

    def __init__(self, progress: StudyProgress, run: Planned) -> None:
        self.progress, self.run = progress, run

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        loss = trainer.callback_metrics.get("train/loss")
        self.progress.move(self.run, trainer.current_epoch + 1, None if loss is None else float(loss))
