"""What a run says of its progress while it trains, for whoever watches the study."""

import json
import time
from pathlib import Path
from typing import Any

import lightning as L

from tlx.record.atomic import atomic
from tlx.record.running import PROGRESS


class Listener(L.Callback):
    """A callback that only listens to how far a training is, so that it needs no Trainer.

    `hear` is told after each epoch, or more often; `stop` at the end of the training.
    """

    def hear(self, epochs: int, of: int, steps: int, loss: float) -> None:
        """So many epochs are over, of so many at most; so many optimiser steps; the loss of the last batch."""

    def stop(self) -> None:
        """The training has ended."""


class ProgressFile(Listener):
    """Keeps `progress.json` in a run's folder: how far training is; once a second at most.

    It holds epoch, epochs, step, steps, loss, first_step and seconds: where and how long ago this sitting began.
    """

    EVERY = 1.0

    def __init__(self, folder: Path) -> None:
        self.file = folder / PROGRESS
        self._began, self._wrote = time.monotonic(), 0.0
        self._first = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._began, self._first = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if not trainer.is_global_zero or not self._due:
            return
        loss = trainer.callback_metrics.get("train/loss")
        self._write(
            trainer.current_epoch,
            int(trainer.max_epochs or 0),
            trainer.global_step,
            int(trainer.estimated_stepping_batches),
            None if loss is None else float(loss),
        )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            self.stop()

    def hear(self, epochs: int, of: int, steps: int, loss: float) -> None:
        if self._due:
            self._write(epochs, of, steps, steps * of // epochs, loss)

    def stop(self) -> None:
        self.file.unlink(missing_ok=True)

    @property
    def _due(self) -> bool:
        return time.monotonic() - self._wrote >= self.EVERY

    def _write(self, epoch: int, epochs: int, step: int, steps: int, loss: float | None) -> None:
        self._wrote = time.monotonic()
        state = {
            "epoch": epoch,
            "epochs": epochs,
            "step": step,
            "first_step": self._first,
            "steps": steps,
            "loss": loss,
            "seconds": self._wrote - self._began,
        }
        with atomic(self.file) as file:
            file.write(json.dumps(state).encode())
