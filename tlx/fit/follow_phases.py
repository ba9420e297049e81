"""The callback that keeps `FrozenWork` in step with the phases of a training."""

from typing import Any

import lightning as L

from tlx.cache.frozen_work import FrozenWork
from tlx.callbacks.phases import PhaseSchedule


class FollowPhases(L.Callback):
    """Tells `FrozenWork` of each phase that training enters; after the PhaseSchedule among the callbacks."""

    def __init__(self, work: FrozenWork, schedule: PhaseSchedule) -> None:
        self.work, self.schedule = work, schedule

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.work.enter(self.schedule.phase)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.work.enter(self.schedule.phase)
