"""Carrying out a parameter plan in a Lightning Trainer, and gradual unfreezing for anybody's module."""

import bisect
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import lightning as L
from torch import nn
from torch.utils.hooks import RemovableHandle

from tlx.callbacks.optimizers import AroundConfiguring, RateFactor, check_held, held, warn_of_idle
from tlx.callbacks.timetable import STEPS, Timetable, as_lists, position, timetable
from tlx.errors import UserError, unknown
from tlx.layer_groups import LayerGroup, by_parameters
from tlx.models.backbone import Backbone
from tlx.network.compiled import forget_compiled
from tlx.plan import ParameterPlan, apply_modes, apply_phase, frozen_modules
from tlx.processes.distributed import check_in_step, rewrap
from tlx.strategies.freezing import Gradual

log = logging.getLogger(__name__)
Groups = Sequence[LayerGroup] | Callable[[L.LightningModule], Sequence[LayerGroup]]


def listed(groups: Groups, module: L.LightningModule) -> list[LayerGroup]:
    """The layer groups themselves, or what the function that lists them says of `module`."""
    return list(groups(module) if callable(groups) else groups)


def phase_starts(trainer: L.Trainer, plan: ParameterPlan) -> tuple[list[int], int]:
    """The optimiser step at which each phase of `plan` starts in this training, and the number of all its steps.

    Raises:
        UserError: a training without end, phases in epochs of unknown length, or phases that do not fit.
    """
    times = timetable(trainer, plan)
    if times.unit != STEPS:
        raise UserError("an epoch of this training has no known length: give its phases in steps, or as shares.")
    return [int(start) for start in times.starts], int(times.total)


class PhaseSchedule(L.Callback):
    """Puts the phases of a plan into effect: which groups have gradients, and train or eval mode.

    The plan is the argument, or the module's own attribute `plan`. After the fit, gradients and modes are allowed again
    where they were before it.

    The optimiser holds every group from step 0, so a phase change never touches it: what is frozen has no gradient and
    is passed over. The phase follows from the optimiser step (see `tlx.callbacks.timetable` for where it cannot) and
    `starts`; checkpoints hold the starts that `advance` has moved, so a resumed run is in the right phase. Where a
    training goes on for longer than was planned at first, its phases begin when they would have, and none begins twice.

    A module that carries its plan and has a method `phases_moved` applies the phases' `lr_factor` itself. For any
    other, they multiply the learning rates during each optimiser step, and the modes of its containers are those of
    `tlx.layer_groups.by_parameters`.

    With Lightning's DDP, all processes must hold the same weights at the end of a phase, and the wrapper is built anew
    for the next. What `torch.compile` made is compiled anew for each phase.

    Raises:
        RuntimeError: they do not.
        UserError: phases that cannot be timed, or that name parameters which the module or its optimisers leave out.
    """

    plan: ParameterPlan | None = None

    def __init__(self, plan: ParameterPlan | None = None) -> None:
        self._given = plan
        self.starts: list[float] = []
        self.unit = STEPS  # what `starts` are counted in
        self.phase = -1
        self._moved = False  # `starts` are not as planned
        self._frozen: list[nn.Module] = []
        self._hooks: list[RemovableHandle] = []
        self._before: tuple[dict[nn.Parameter, bool], dict[nn.Module, bool]] = {}, {}
        self._rates: RateFactor | None = None
        self._own = True  # the module carries the plan and computes its rates by it
        self._loaded: dict[str, Any] | None = None
        self._begun: dict[str, Any] | None = None  # the state of a fit that may be gone on with

    def make_plan(self, module: L.LightningModule) -> ParameterPlan:
        """The plan to carry out; subclasses build it from the module."""
        plan = self._given or getattr(module, "plan", None)
        if not isinstance(plan, ParameterPlan):
            raise UserError("PhaseSchedule needs a ParameterPlan: pass one, or set the module's attribute `plan`.")
        return plan

    def times(self, trainer: L.Trainer) -> Timetable:
        """When the phases of the plan begin in the training that `trainer` is about to do."""
        return timetable(trainer, self._current_plan)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        plan = self.make_plan(pl_module)
        self._own = plan is getattr(pl_module, "plan", None) and callable(getattr(pl_module, "phases_moved", None))
        if not self._own:
            names = [g.name for g in plan.groups]
            for name in sorted(plan.ever_trainable.difference(names)):
                raise unknown("layer group in the phases", name, names)
            check_held(trainer, pl_module, plan)
            warn_of_idle(trainer, pl_module, plan)
            plan = replace(plan, groups=by_parameters(pl_module, plan.groups, apart=(Backbone,)))
        self.plan = plan
        self._set_times(trainer)
        self._before = (
            {p: p.requires_grad for p in pl_module.parameters()},
            {m: m.training for m in pl_module.modules()},
        )
        if not self._own and any(phase.lr_factor != 1 for phase in plan.phases):
            self._rates = RateFactor(trainer.optimizers)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._loaded is not None:  # some Trainers read a checkpoint after on_fit_start
            self._set_times(trainer)
        # Not before: a checkpoint's step is restored after on_fit_start, and Lightning warns of layers in eval mode.
        self._enter(trainer, pl_module, self._phase_at(position(trainer, self.unit)))

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        phase = self._phase_at(position(trainer, self.unit))
        if phase != self.phase:
            check_in_step(pl_module, self._current_plan)
            self._enter(trainer, pl_module, phase)
        elif any(m.training for m in self._frozen):  # somebody called train() on the whole module
            apply_modes(pl_module, self._current_plan, phase)
        if batch_idx == 0 and not self._own:
            self._check_gradients(pl_module)

    def advance(self, trainer: L.Trainer, module: L.LightningModule) -> bool:
        """Let the next phase begin with the next optimiser step, if it has not yet; whether there is one.

        The phases after it keep their lengths and so begin as much earlier, but for the last, which takes what is left:
        the training, and a schedule of learning rates over its steps, are as long as they were. A module whose rates
        depend on the phase has a method `phases_moved`, which is called.
        """
        following = self.phase + 1
        if following == len(self.starts):
            return False
        now = position(trainer, self.unit)
        earlier = max(0, self.starts[following] - now)
        later = self.starts[following + 1 :]
        self.starts[following:] = [
            min(now, self.starts[following]),
            *(start if math.isinf(start) else start - earlier for start in later),
        ]
        self._moved = True
        if callable(moved := getattr(module, "phases_moved", None)):
            moved()
        return True

    def ended_in(self, trainer: L.Trainer) -> int:
        """The phase of the last step of the training, also where this sitting had none left to take."""
        return self.phase if self.phase >= 0 else self._phase_at(max(0, position(trainer, self.unit) - 1))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        check_in_step(pl_module, self._current_plan)
        plan = self._current_plan
        missed = plan.ever_trainable.difference(*(phase.trainable for phase in plan.phases[: self.phase + 1]))
        if missed and not self._own and trainer.is_global_zero:
            log.warning(
                "the training ended in phase %d of %d: %s never began to be trained.",
                self.phase + 1,
                len(plan.phases),
                ", ".join(g.name for g in plan.groups if g.name in missed),
            )

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._begun = self.state_dict() or None
        self._restore()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.on_fit_end(trainer, pl_module)
        self._loaded = None

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._restore()  # Lightning's tuner leaves a fit in the middle

    def state_dict(self) -> dict[str, Any]:
        """The times of the phases; nothing where a module that carries its plan can compute them itself."""
        if self.plan is None or (self._own and not self._moved):
            return {}
        return {
            "phase": self.phase,
            "starts": list(self.starts),
            "moved": self._moved,
            "unit": self.unit,
            "phases": as_lists(self.plan.phases),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = state_dict or None

    def _set_times(self, trainer: L.Trainer) -> None:
        """The times of the phases: those of the training that goes on, if one does."""
        goes_on = trainer.fit_loop.epoch_loop.batch_progress.total.ready > 0
        begun, self._loaded = self._loaded or (self._begun if goes_on else None), None
        if begun:
            if begun["phases"] == as_lists(self._current_plan.phases):
                self.starts, self.unit, self.phase = list(begun["starts"]), begun["unit"], begun["phase"]
                self._moved = begun["moved"]
                return
            log.warning("the training began with other phases; from here on those of this callback count.")
        times = self.times(trainer)
        self.starts, self.unit, self.phase, self._moved = list(times.starts), times.unit, -1, False

    def _phase_at(self, place: float) -> int:
        # A phase that has begun is not left again: with other batches a place may come twice.
        return max(bisect.bisect_right(self.starts, place) - 1, self.phase)

    @property
    def _current_plan(self) -> ParameterPlan:
        assert self.plan is not None
        return self.plan

    def _enter(self, trainer: L.Trainer, module: L.LightningModule, phase: int) -> None:
        plan = self._current_plan
        self.phase = phase
        apply_phase(module, plan, phase)
        if self._rates is not None:
            self._rates.factor = plan.phases[phase].lr_factor
        rewrap(trainer)
        forget_compiled()
        modules = dict(module.named_modules())
        self._release()
        self._frozen = [modules[n] for n in frozen_modules(plan, phase)]
        # Many a training step begins with train(); by then this callback has had its turn.
        self._hooks = [frozen.register_forward_pre_hook(_stay_in_eval_mode) for frozen in self._frozen]

    def _check_gradients(self, module: L.LightningModule) -> None:
        """See that nobody else decides what has gradients: the module's hooks are called after this callback's."""
        plan = self._current_plan
        trainable = plan.phases[self.phase].trainable
        parameters = dict(module.named_parameters())
        for group in plan.groups:
            wanted = group.name in trainable
            if any(parameters[n].requires_grad != (wanted and n not in plan.fixed) for n in group.parameters):
                raise UserError(
                    f"the module itself {'froze' if wanted else 'unfroze'} layer group {group.name} after the training "
                    f"began, and {type(self).__name__} {'trains it' if wanted else 'keeps it frozen'} in this phase: "
                    "leave requires_grad to one of the two."
                )

    def _restore(self) -> None:
        self._release()
        if self._rates is not None:
            self._rates.remove()
            self._rates = None
        gradients, modes = self._before
        for parameter, allowed in gradients.items():
            parameter.requires_grad_(allowed)
        for module, training in modes.items():
            module.training = training
        self._before = {}, {}

    def _release(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._frozen, self._hooks = [], []


def _stay_in_eval_mode(module: nn.Module, inputs: Any) -> None:
    module.training = False


class GradualUnfreezing(PhaseSchedule):
    """Gradual unfreezing in any Trainer with any LightningModule (Howard & Ruder 2018).

    `groups` lists the module's layer groups, stem first and head last, or is a function of the module that does (by
    `tlx.layer_groups.group_layers`; `tlx.network.proposed_groups.propose_groups` needs no patterns). The arguments up
    to `lr_factor` are those of `tlx.strategies.freezing.Gradual`, which computes the phases; but for `lr_factor`,
    learning rates stay with the module's own optimiser and scheduler.

    With `timed=False` a phase has no length and lasts until `advance` is called, as `tlx.callbacks.patience.Patience`
    does on a plateau; where phases are timed as well, whichever comes first begins the next.

    `own_freezing` says what is done about layer groups that the module itself does not train, since all their
    parameters have requires_grad False when the training begins, or some are not in its optimiser: "refuse" them;
    "lift" the module's freezing before it builds its optimiser, and put it back after the training; or "keep" them as
    they are, without a phase of their own. A few frozen parameters of a group stay frozen in any case.
    """

    def __init__(
        self,
        groups: Groups,
        groups_per_phase: int = 1,
        share: float = 0.5,
        epochs_per_phase: float | None = None,
        steps_per_phase: int | None = None,
        lr_factor: float = 1.0,
        own_freezing: str = "refuse",
        timed: bool = True,
    ) -> None:
        super().__init__()
        if own_freezing not in ("refuse", "lift", "keep"):
            raise unknown("own_freezing", own_freezing, ["refuse", "lift", "keep"])
        if not timed and (epochs_per_phase is not None or steps_per_phase is not None):
            raise UserError("phases with timed=False have no epochs_per_phase and no steps_per_phase: leave them out.")
        self.groups, self.own_freezing, self.timed = groups, own_freezing, timed
        self.rule = Gradual(groups_per_phase, share, epochs_per_phase, steps_per_phase, lr_factor)
        self._lifted: list[nn.Parameter] = []
        self._around: AroundConfiguring | None = None
        self._optimised: set[int] | None = None  # ids of what the optimisers hold, where that matters

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit" and self.own_freezing == "lift":
            self._around = AroundConfiguring(pl_module, lambda: self._lift(pl_module))

    @contextmanager
    def _lift(self, module: L.LightningModule) -> Iterator[None]:
        parameters = dict(module.named_parameters())
        for group in listed(self.groups, module):
            members = [parameters[n] for n in group.parameters]
            if not any(p.requires_grad for p in members):
                self._lifted += members
        for parameter in self._lifted:
            parameter.requires_grad_(True)
        yield

    def make_plan(self, module: L.LightningModule) -> ParameterPlan:
        groups = listed(self.groups, module)
        plan = ParameterPlan.of(module, groups)
        if self._optimised is not None:
            plan.fixed |= {n for n, p in module.named_parameters() if id(p) not in self._optimised}
            groups = [g for g in groups if not plan.fixed.issuperset(g.parameters)]
            if not groups:
                raise UserError("the module's optimiser trains no parameter of any layer group: nothing to unfreeze.")
        plan.phases = self.rule.phases(groups)
        return plan

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._optimised = held(trainer) if self.own_freezing == "keep" else None
        super().on_fit_start(trainer, pl_module)

    def times(self, trainer: L.Trainer) -> Timetable:
        if self.timed or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return super().times(trainer)
        return Timetable([0, *[math.inf] * (len(self._current_plan.phases) - 1)], math.inf)

    def _restore(self) -> None:
        super()._restore()
        if self._around is not None:
            self._around.undo()
            self._around = None
        for parameter in self._lifted:
            parameter.requires_grad_(False)
        self._lifted = []
