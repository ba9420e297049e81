"""The bar of a run that is done in the process that shows it."""

import lightning as L

from tlx.callbacks.progress import Listener
from tlx.sweeps.bars import StudyProgress
from tlx.sweeps.study import Planned


class EpochBar(Listener):
    """Moves the bar of a run after each epoch."""

    def __init__(self, progress: StudyProgress, run: Planned) -> None:
        self.progress, self.run = progress, run

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        loss = trainer.callback_metrics.get("train/loss")
        self.progress.move(self.run, trainer.current_epoch + 1, None if loss is None else float(loss))

    def hear(self, epochs: int, of: int, steps: int, loss: float) -> None:
        self.progress.move(self.run, epochs, loss)
