"""Stepping in where somebody's LightningModule builds its optimisers, and where these step."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import lightning as L
import torch
from torch.utils.hooks import RemovableHandle

from tlx.errors import UserError
from tlx.plan import ParameterPlan

log = logging.getLogger(__name__)


class AroundConfiguring:
    """Once, while a module's `configure_optimizers` runs, the context `around()` is open; then the method is as before.

    Layers that `configure_model` builds are there by then, and schedulers are not. `undo` gives the method back where
    the training ended before it was called.
    """

    def __init__(self, module: L.LightningModule, around: Callable[[], AbstractContextManager[None]]) -> None:
        self.module, self.inner, self.waiting = module, module.configure_optimizers, True
        own = vars(module).get("configure_optimizers")  # LightningCLI puts one there

        # A function, since Lightning looks at the code of the method to see whether there is any.
        def configure_optimizers() -> Any:
            if not self.waiting:
                return self.inner()
            self._put_back(own)
            with around():
                return self.inner()

        self._wrapper, self._own = configure_optimizers, own
        configure_optimizers.around = self  # type: ignore[attr-defined]
        module.configure_optimizers = configure_optimizers  # type: ignore[method-assign]

    def undo(self) -> None:
        """Let the method be what it was. Where another callback has wrapped it since, that one passes this by."""
        if self.waiting:
            self._put_back(self._own)

    def _put_back(self, own: Any) -> None:
        self.waiting = False
        if vars(self.module).get("configure_optimizers") is not self._wrapper:
            return
        while (other := getattr(own, "around", None)) is not None and not other.waiting:
            own = other._own  # another callback's wrapper, that has had its turn
        if own is None:
            del self.module.configure_optimizers
        else:
            self.module.configure_optimizers = own  # type: ignore[method-assign]


class RateFactor:
    """Multiplies every learning rate of some optimisers by `factor` while they step, and at no other time.

    So it holds whatever sets the rates: any scheduler, or the module itself. In between, the rates are those that the
    module gave.

    Raises:
        UserError: an optimiser without a learning rate.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        for optimizer in optimizers:
            if any(group.get("lr") is None for group in optimizer.param_groups):
                raise UserError(
                    f"{type(optimizer).__name__} has no learning rate (lr is None) that lr_factor could multiply: give "
                    "it one (Adafactor: lr=1e-3, relative_step=False), or leave lr_factor at 1."
                )
        self.factor = 1.0
        self._given: list[tuple[dict[str, Any], Any]] = []
        self._handles: list[RemovableHandle] = []
        for optimizer in optimizers:
            self._handles.append(optimizer.register_step_pre_hook(self._before))
            self._handles.append(optimizer.register_step_post_hook(self._after))

    def remove(self) -> None:
        """End it; after a step that failed, the rates are given back here."""
        self._give_back()
        for handle in self._handles:
            handle.remove()

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._give_back()
        for group in optimizer.param_groups:
            self._given.append((group, group["lr"]))
            group["lr"] = group["lr"] * self.factor

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._give_back()

    def _give_back(self) -> None:
        for group, lr in self._given:
            group["lr"] = lr
        self._given.clear()


def held(trainer: L.Trainer) -> set[int]:
    """The ids of the parameters that the optimisers of `trainer` hold."""
    return {id(p) for o in trainer.optimizers for group in o.param_groups for p in group["params"]}


def check_held(trainer: L.Trainer, module: L.LightningModule, plan: ParameterPlan) -> None:
    """See that the optimisers hold what the phases train.

    Raises:
        UserError: they do not, or the module itself never trains a whole layer group; names them and what to do.
    """
    inside, parameters = held(trainer), dict(module.named_parameters())
    groups = [g for g in plan.groups if g.name in plan.ever_trainable and g.parameters]
    frozen = [g.name for g in groups if plan.fixed.issuperset(g.parameters)]
    if frozen:
        raise UserError(
            f"the module itself froze the layer groups {', '.join(frozen)} (requires_grad is False), and the phases "
            "would train them: leave freezing to this callback; or, with GradualUnfreezing, say own_freezing='lift' "
            "to have them trained in their turn, or own_freezing='keep' to leave them frozen."
        )
    left_out = {
        g.name: n for g in groups for n in g.parameters if n not in plan.fixed and id(parameters[n]) not in inside
    }
    if left_out:
        raise UserError(
            f"the module's optimiser lacks parameters of the layer groups {', '.join(left_out)} (such as "
            f"{next(iter(left_out.values()))}), so that no phase would train them: give it all of self.parameters() in "
            "configure_optimizers; what is frozen is passed over. With GradualUnfreezing, own_freezing='keep' never "
            "unfreezes what the optimiser lacks."
        )


def warn_of_idle(trainer: L.Trainer, module: L.LightningModule, plan: ParameterPlan) -> None:
    """Say in which phase one of several optimisers has nothing to train: a loss for it alone has no gradient then."""
    if len(trainer.optimizers) < 2 or not trainer.is_global_zero:
        return
    parameters = dict(module.named_parameters())
    for number, phase in enumerate(plan.phases):
        names = (n for g in plan.groups if g.name in phase.trainable for n in g.parameters if n not in plan.fixed)
        trained = {id(parameters[n]) for n in names}
        for place, optimizer in enumerate(trainer.optimizers):
            if trained.isdisjoint(id(p) for group in optimizer.param_groups for p in group["params"]):
                log.warning(
                    "phase %d of %d trains nothing that optimiser %d (%s) holds: a step that toggles it, or goes "
                    "backward for it alone, fails then; let it look at requires_grad, or put such layers in one group.",
                    number + 1,
                    len(plan.phases),
                    place,
                    type(optimizer).__name__,
                )
