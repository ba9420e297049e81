"""The contract of an objective: a term that is added to the task's loss."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import lightning as L

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
