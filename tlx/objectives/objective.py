"""The contract of an objective: a term that is added to the task's loss."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import lightning as L

from tlx.errors import UserError

if TYPE_CHECKING:
    from tlx.module import TransferModule


class Objective(L.Callback):
    """A callback that adds its term to what a training minimises; the members of `strategy.objectives`.

    It works in anybody's Trainer from its arguments alone. In a run of tlx `join` tells it the rest. `seconds` is what
    it computed for before the first step.
    """

    seconds: float = 0.0

    def join(self, config: dict[str, Any], module: "TransferModule") -> None:
        """Take part in a planned run: note what it knows, edit `module.plan`. Expensive work waits for the fit.

        Raises:
            UserError: the term makes no sense in this run.
        """

    def touches(self, module: "TransferModule") -> frozenset[str] | None:
        """Names of the parameters that the term is about, for the record; None: of no parameters in particular."""
        return None

    def examples(self, module: "TransferModule") -> Iterable[Any]:
        """Encoded examples that the network meets for this term's sake, beside those that it trains on."""
        return ()


def check_objectives(objectives: Sequence[Any]) -> None:
    """See that the members of `strategy.objectives` are objectives, each of another kind.

    Raises:
        UserError: one is none, or is named twice.
    """
    for objective in objectives:
        if not isinstance(objective, Objective):
            raise UserError(f"strategy.objectives: a {type(objective).__name__} is no objective (tlx.objectives).")
    kinds = [type(objective).__name__ for objective in objectives]
    if len(set(kinds)) < len(kinds):
        raise UserError(f"strategy.objectives names one twice: {', '.join(kinds)}. Add up their strengths.")
