"""Carrying out a parameter plan in a Lightning Trainer, and gradual unfreezing for anybody's module."""

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
from torch import nn
from torch.utils.hooks import RemovableHandle

from tlx.compiled import forget_compiled
from tlx.distributed import check_in_step, rewrap
from tlx.errors import UserError
from tlx.layer_groups import LayerGroup
from tlx.plan import ParameterPlan, apply_modes, apply_phase
from tlx.strategies.freezing import Gradual

Groups = Sequence[LayerGroup] | Callable[[L.LightningModule], Sequence[LayerGroup]]


def listed(groups: Groups, module: L.LightningModule) -> list[LayerGroup]:
    """The layer groups themselves, or what the function that lists them says of `module`."""
    return list(groups(module) if callable(groups) else groups)


def phase_starts(trainer: L.Trainer, plan: ParameterPlan) -> tuple[list[int], int]:
    """The optimiser step at which each phase of `plan` starts in this training, and the number of all its steps.

    Raises:
        UserError: a training without end, phases in epochs of unknown length, or phases that do not fit.
    """
    total = trainer.estimated_stepping_batches
    if math.isinf(total):
        raise UserError("phases need an end of training: give the Trainer max_epochs or max_steps.")
    trainer.fit_loop.setup_data()  # with max_steps alone, Lightning has not looked at the loader yet
    batches = trainer.num_training_batches
    if not math.isinf(batches):
        per_epoch = math.ceil(batches / trainer.accumulate_grad_batches)
    elif any(phase.epochs is not None for phase in plan.phases):
        raise UserError("an epoch of this training has no known length: give its phases in steps, or as shares.")
    else:
        per_epoch = int(total)
    return plan.boundaries(int(total), per_epoch), int(total)


class PhaseSchedule(L.Callback):
    """Puts the phases of a plan into effect: which groups have gradients, and train or eval mode.

    The plan is the argument, or the module's own attribute `plan`. After the fit, gradients and modes are allowed again
    where they were before it.

    The optimiser holds every group from step 0, so a phase change never touches it: what is frozen has no gradient and
    is passed over. The phase follows from the optimiser step alone, so a resumed run is in the right one.

    With Lightning's DDP, all processes must hold the same weights at the end of a phase, and the wrapper is built anew
    for the next. What `torch.compile` made is compiled anew for each phase.

    Raises:
        RuntimeError: they do not.
    """

    plan: ParameterPlan | None = None

    def __init__(self, plan: ParameterPlan | None = None) -> None:
        self.plan = plan
        self.starts: list[int] = []
        self.phase = -1
        self._frozen: list[nn.Module] = []
        self._hooks: list[RemovableHandle] = []
        self._before: tuple[dict[nn.Parameter, bool], dict[nn.Module, bool]] = {}, {}

    def make_plan(self, module: L.LightningModule) -> ParameterPlan:
        """The plan to carry out; subclasses build it from the module."""
        plan = self.plan or getattr(module, "plan", None)
        if not isinstance(plan, ParameterPlan):
            raise UserError("PhaseSchedule needs a ParameterPlan: pass one, or set the module's attribute `plan`.")
        return plan

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.plan = self.make_plan(pl_module)
        self.starts, _ = phase_starts(trainer, self.plan)
        self._before = (
            {p: p.requires_grad for p in pl_module.parameters()},
            {m: m.training for m in pl_module.modules()},
        )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Not before: a checkpoint's step is restored after on_fit_start, and Lightning warns of layers in eval mode.
        self._enter(trainer, pl_module, self._phase_at(trainer.global_step))

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        phase = self._phase_at(trainer.global_step)
        if phase != self.phase:
            check_in_step(pl_module, self._current_plan)
            self._enter(trainer, pl_module, phase)
        elif any(m.training for m in self._frozen):  # somebody called train() on the whole module
            apply_modes(pl_module, self._current_plan, phase)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        check_in_step(pl_module, self._current_plan)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._release()
        gradients, modes = self._before
        for parameter, allowed in gradients.items():
            parameter.requires_grad_(allowed)
        for module, training in modes.items():
            module.training = training
        self._before = {}, {}

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.on_fit_end(trainer, pl_module)

    def _phase_at(self, step: int) -> int:
        return bisect.bisect_right(self.starts, step) - 1

    @property
    def _current_plan(self) -> ParameterPlan:
        assert self.plan is not None
        return self.plan

    def _enter(self, trainer: L.Trainer, module: L.LightningModule, phase: int) -> None:
        plan = self._current_plan
        self.phase = phase
        apply_phase(module, plan, phase)
        rewrap(trainer)
        forget_compiled()
        trainable = plan.phases[phase].trainable
        modules = dict(module.named_modules())
        self._release()
        self._frozen = [modules[n] for g in plan.groups if g.name not in trainable for n in g.modules]
        # Many a training step begins with train(); by then this callback has had its turn.
        self._hooks = [frozen.register_forward_pre_hook(_stay_in_eval_mode) for frozen in self._frozen]

    def _release(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._frozen, self._hooks = [], []


def _stay_in_eval_mode(module: nn.Module, inputs: Any) -> None:
    module.training = False


class GradualUnfreezing(PhaseSchedule):
    """Gradual unfreezing in any Trainer with any LightningModule (Howard & Ruder 2018).

    `groups` lists the module's layer groups, stem first and head last, or is a function of the module that does
    (`tlx.layer_groups.group_layers`). The other arguments are those of `tlx.strategies.freezing.Gradual`, which
    computes the phases; learning rates stay with the module's own optimiser and scheduler.
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
