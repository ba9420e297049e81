"""Early stopping of a training in phases: a plateau ends the phase, and in the last phase the training."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping

from tlx.callbacks.phases import PhaseSchedule
from tlx.errors import UserError


class Patience(EarlyStopping):
    """Counts, within each phase, the validations without a better score of that phase.

    After `patience` of them the next phase begins (`PhaseSchedule.advance`); in the last one the training ends, and so
    it does in any where the score is no number. A phase's first validation sets its best score: what is unfrozen may
    cost something at first.

    Raises:
        UserError: from `fit`: `schedule` is not among the Trainer's callbacks.
    """

    def __init__(self, schedule: PhaseSchedule, monitor: str, mode: str, patience: int) -> None:
        # After the validation: a checkpoint at the end of the epoch holds what follows from it.
        super().__init__(monitor, mode=mode, patience=patience, check_on_train_epoch_end=False)
        self.schedule, self.phase = schedule, 0
        self._worst = self.best_score

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and self.schedule not in trainer.callbacks:  # type: ignore[attr-defined]
            raise UserError(
                f"Patience ends the phases of a {type(self.schedule).__name__} that is not among the Trainer's "
                "callbacks, so that no phase would begin: give both, callbacks=[schedule, Patience(schedule, …)]."
            )

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.schedule.phase != self.phase:
            self.phase, self.wait_count, self.best_score = self.schedule.phase, 0, self._worst
        before = trainer.should_stop
        super().on_validation_end(trainer, pl_module)
        waited = self.wait_count >= self.patience
        if trainer.should_stop and not before and waited and self.schedule.advance(trainer, pl_module):
            trainer.should_stop = False
            self.wait_count = 0

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"phase": self.phase}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.phase = state_dict["phase"]
