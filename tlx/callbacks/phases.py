"""Carrying out a parameter plan in a Lightning Trainer, and gradual unfreezing for anybody's module."""

import bisect
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
from torch import nn

from tlx.errors import UserError
from tlx.plan import LayerGroup, ParameterPlan, apply_modes, apply_phase
from tlx.strategies.freezing import Gradual

Groups = Sequence[LayerGroup] | Callable[[L.LightningModule], Sequence[LayerGroup]]


def listed(groups: Groups, module: L.LightningModule) -> list[LayerGroup]:
    """The layer groups themselves, or what the function that lists them says of `module`."""
    return list(groups(module) if callable(groups) else groups)


class PhaseSchedule(L.Callback):
    """Puts the phases of a plan into effect: which groups have gradients, and train or eval mode.

    The plan is the argument, or the module's own attribute `plan`.

    The optimiser holds every group from step 0, so a phase change never touches it: what is frozen has no gradient and
    is passed over. The phase follows from the optimiser step alone, so a resumed run is in the right one.
    """

    plan: ParameterPlan | None = None

    def __init__(self, plan: ParameterPlan | None = None) -> None:
        self.plan = plan
        self.starts: list[int] = []
        self.phase = -1
        self._frozen: list[nn.Module] = []

    def make_plan(self, module: L.LightningModule) -> ParameterPlan:
        """The plan to carry out; subclasses build it from the module."""
        plan = self.plan or getattr(module, "plan", None)
        if not isinstance(plan, ParameterPlan):
            raise UserError("PhaseSchedule needs a ParameterPlan: pass one, or set the module's attribute `plan`.")
        return plan

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.plan = self.make_plan(pl_module)
        total = trainer.estimated_stepping_batches
        if total == float("inf"):
            raise UserError("phases need an end of training: give the Trainer max_epochs or max_steps.")
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else 1
        self.starts = self.plan.boundaries(int(total), max(1, int(total) // epochs))
        self._enter(pl_module, self._phase_at(trainer.global_step))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # A checkpoint's step is restored between on_fit_start and here.
        self._enter(pl_module, self._phase_at(trainer.global_step))

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        phase = self._phase_at(trainer.global_step)
        if phase != self.phase:
            self._enter(pl_module, phase)
        elif any(m.training for m in self._frozen):  # somebody called train() on the whole module
            assert self.plan is not None
            apply_modes(pl_module, self.plan, phase)

    def _phase_at(self, step: int) -> int:
        return bisect.bisect_right(self.starts, step) - 1

    def _enter(self, module: L.LightningModule, phase: int) -> None:
        assert self.plan is not None
        self.phase = phase
        apply_phase(module, self.plan, phase)
        trainable = self.plan.phases[phase].trainable
        modules = dict(module.named_modules())
        self._frozen = [modules[n] for g in self.plan.groups if g.name not in trainable for n in g.modules]


class GradualUnfreezing(PhaseSchedule):
    """Gradual unfreezing in any Trainer with any LightningModule (Howard & Ruder 2018).

    `groups` lists the module's layer groups, stem first and head last, or is a function of the module that does
    (`tlx.plan.group_layers`). The other arguments are those of `tlx.strategies.freezing.Gradual`, which computes the
    phases; learning rates stay with the module's own optimiser and scheduler.
    """

    def __init__(
        self,
        groups: Groups,
        groups_per_phase: int = 1,
        share: float = 0.5,
        epochs_per_phase: float | None = None,
        steps_per_phase: int | None = None,
    ) -> None:
        super().__init__()
        self.groups = groups
        self.rule = Gradual(groups_per_phase, share, epochs_per_phase, steps_per_phase)

    def make_plan(self, module: L.LightningModule) -> ParameterPlan:
        groups = listed(self.groups, module)
        plan = ParameterPlan.of(module, groups)
        plan.phases = self.rule.phases(groups)
        return plan
