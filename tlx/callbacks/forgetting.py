"""Forgetting: what adaptation to the target costs on the source task."""

import weakref
from collections.abc import Callable

import lightning as L
from torch import nn

from tlx.network.modes import as_before


def forgetting(before: float, after: float, higher_is_better: bool = True) -> float:
    """Source score before adaptation − source score after; positive means something was forgotten.

    For a lower-is-better score the sign is turned, so that positive keeps that meaning.
    """
    return (before - after) if higher_is_better else (after - before)


class ForgettingMeter(L.Callback):
    """Scores the source task before and after training, in any Trainer.

    `score(module)` returns the source scores by name; it may call eval() or freeze(), since modes and requires_grad are
    put back, but must leave no gradients behind. Another module than the one before is scored anew. `lower_is_better`
    names the scores where less is better (a loss). The caller may measure the start himself by
    `measure_before` and, with `at_fit_end=False`, the end by `measure_after`, for example once the best checkpoint has
    been loaded.
    """

    def __init__(
        self,
        score: Callable[[nn.Module], dict[str, float]],
        lower_is_better: tuple[str, ...] = ("loss",),
        at_fit_end: bool = True,
    ) -> None:
        self.score, self.lower_is_better, self.at_fit_end = score, lower_is_better, at_fit_end
        self.before: dict[str, float] = {}
        self.after: dict[str, float] = {}
        self._scored: weakref.ref[nn.Module] | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.measure_before(pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.at_fit_end:
            self.measure_after(pl_module)

    def measure_before(self, module: nn.Module) -> None:
        """Score the source, unless that was done already."""
        other = self._scored is not None and self._scored() is not module
        if not self.before or other:
            self.before = self._score(module)
        self._scored = weakref.ref(module)

    def measure_after(self, module: nn.Module) -> dict[str, float]:
        """Score the source once more and return the forgetting of each score."""
        self.after = self._score(module)
        return self._forgotten()

    def measure_unchanged(self) -> dict[str, float]:
        """What `measure_after` finds where the caller knows that nothing has changed that the scores depend on."""
        self.after = dict(self.before)
        return self._forgotten()

    def _score(self, module: nn.Module) -> dict[str, float]:
        with as_before(module):
            return self.score(module)

    def _forgotten(self) -> dict[str, float]:
        return {
            name: forgetting(before, self.after[name], name not in self.lower_is_better)
            for name, before in self.before.items()
        }

    def state_dict(self) -> dict[str, dict[str, float]]:
        return {"before": self.before}

    def load_state_dict(self, state_dict: dict[str, dict[str, float]]) -> None:
        self.before, self._scored = dict(state_dict["before"]), None
