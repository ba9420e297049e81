"""Each phase of a training begins with the best weights of the phase before."""

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor

from tlx.callbacks.phases import PhaseSchedule
from tlx.errors import UserError


class BestOfPhase(L.Callback):
    """Puts back, at a phase's start, the weights that had the best `monitor` in the phase before.

    "Best" is by the validations of that phase alone, the first among equals; `mode` is "min" or "max". What the phase
    trained, buffers included, is kept in memory on the CPU, and in checkpoints; the optimiser's moments are left as
    they are. The weights at the end of the training are those of its last step: a ModelCheckpoint keeps the best.
    `schedule` must be before this callback in the Trainer's list.

    Raises:
        UserError: from `fit`: it is not, or nobody logs `monitor`.
    """

    def __init__(self, schedule: PhaseSchedule, monitor: str, mode: str) -> None:
        if mode not in ("min", "max"):
            raise UserError(f"mode='{mode}': allowed are 'min' and 'max'.")
        self.schedule, self.monitor, self.mode = schedule, monitor, mode
        self.phase = 0
        self.best = math.nan
        self.weights: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if self.schedule not in callbacks or callbacks.index(self.schedule) > callbacks.index(self):
            raise UserError("BestOfPhase needs its schedule of phases before it in the Trainer's callbacks.")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step == 0:  # another training with the same callback
            self.phase, self.best, self.weights = self.schedule.phase, math.nan, {}

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self.schedule.phase == self.phase:
            return
        tensors = dict(pl_module.named_parameters()) | dict(pl_module.named_buffers())
        with torch.no_grad():
            for name, kept in self.weights.items():
                tensors[name].copy_(kept)
        self.phase, self.best, self.weights = self.schedule.phase, math.nan, {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self.monitor not in trainer.callback_metrics:
            names = ", ".join(sorted(trainer.callback_metrics)) or "none"
            raise UserError(f"BestOfPhase looks at {self.monitor}, which is not logged; what is logged: {names}.")
        score = float(trainer.callback_metrics[self.monitor])
        sign = 1 if self.mode == "max" else -1
        better = not math.isnan(score) and (math.isnan(self.best) or sign * score > sign * self.best)
        if not trainer.strategy.reduce_boolean_decision(better, all=True):
            return
        self.best = score
        plan = self.schedule.plan
        assert plan is not None
        tensors = dict(pl_module.named_parameters()) | dict(pl_module.named_buffers())
        trained = [g for g in plan.groups if g.name in plan.phases[self.phase].trainable]
        names_of = (name for group in trained for name in (*group.parameters, *group.buffers))
        self.weights = {name: tensors[name].detach().to("cpu", copy=True) for name in names_of}

    def state_dict(self) -> dict[str, Any]:
        return {"phase": self.phase, "best": self.best, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.phase, self.best, self.weights = state_dict["phase"], state_dict["best"], dict(state_dict["weights"])
