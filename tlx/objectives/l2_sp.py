"""L2-SP: weights are held near where they started, new ones near zero (Li et al. 2018, arXiv:1802.01483)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tlx.errors import UserError
from tlx.objectives.penalty import Penalty, Pull, at_least, pretrained

if TYPE_CHECKING:
    from tlx.module import TransferModule


class L2SP(Penalty):
    """alpha / 2 · ‖w − w₀‖² over pretrained parameters + beta / 2 · ‖w‖² over new ones, w₀ being their start.

    Both halves are terms of the loss: an adaptive optimiser divides their gradient by its moments, as it does the rest.
    `new(name)` says which parameters are new: a head (default: none). The penalty takes the place of weight decay: give
    the optimiser none; in a run of tlx what is penalised is not decayed, and the new parameters are those of the head
    and those that the pretrained file did not hold.

    Raises:
        UserError: a negative alpha or beta; from `fit`: `new` takes no parameter, or all.
    """

    label: ClassVar[str] = "l2_sp"

    def __init__(self, alpha: float = 0.1, beta: float = 0.01, new: Callable[[str], bool] | None = None) -> None:
        super().__init__()
        at_least(0, alpha=alpha, beta=beta)
        self._told = new is not None
        self.alpha, self.beta, self.new = alpha, beta, new or (lambda name: False)

    def starts(self, name: str) -> bool:
        return not self.new(name)

    def pull(self, name: str) -> Pull | None:
        return Pull(self.beta) if self.new(name) else Pull(self.alpha, self.start[name])

    def join(self, config: dict[str, Any], module: "TransferModule") -> None:
        old, plan = pretrained(config, module, self.label), module.plan
        self.new = lambda name: name not in old
        plan.no_decay |= plan.trained

    def touches(self, module: "TransferModule") -> frozenset[str]:
        return frozenset(n for n in module.plan.trained if (self.beta if self.new(n) else self.alpha))

    def check(self, names: Sequence[str]) -> None:
        if self._told and not any(map(self.new, names)):
            raise UserError(
                "l2_sp: `new` takes none of the module's parameters, so that a new head would be held near where it "
                f"started; they are called, for example, {', '.join(names[-4:])}."
            )
        if all(map(self.new, names)):
            raise UserError("l2_sp: `new` takes all of the module's parameters, so that nothing is held near a start.")
