"""Negative transfer: a warning while it happens, when a run falls behind training from scratch."""

import logging
from collections.abc import Sequence
from typing import Any

import lightning as L

log = logging.getLogger(__name__)
Curve = Sequence[tuple[int, float]]  # (optimiser step, validation score), in the order of the steps


def score_at(curve: Curve, step: int) -> float | None:
    """The last score of a learning curve up to `step`; None before its first."""
    return next((score for at, score in reversed(curve) if at <= step), None)


class NegativeTransferWarning(L.Callback):
    """Warns, and changes nothing, when a run is worse than scratch at the same step, or than its own start.

    `curves` are learning curves of training from scratch, one a seed; a run is behind when it is worse than all of them
    at the same step. `untrained` is the score before the first step. Each is said once, after `patience` validations
    one after the other, by the logger `tlx.callbacks.negative_transfer`, and kept in `messages`. Works in any Trainer
    that logs `monitor`; where it is not logged, that is said instead, once.
    """

    def __init__(
        self,
        monitor: str,
        curves: Sequence[Curve] = (),
        untrained: float | None = None,
        higher_is_better: bool = True,
        patience: int = 2,
    ) -> None:
        self.monitor, self.curves, self.untrained = monitor, curves, untrained
        self.higher_is_better, self.patience = higher_is_better, patience
        self.behind = {"scratch": 0, "start": 0}  # validations one after the other
        self.messages: list[str] = []
        self._missed = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        if self.monitor not in trainer.callback_metrics:
            if not self._missed:
                self._missed = True
                names = ", ".join(sorted(trainer.callback_metrics)) or "none"
                log.warning("nothing is compared: %s is not logged; what is logged: %s.", self.monitor, names)
            return
        self.look(float(trainer.callback_metrics[self.monitor]), trainer.global_step)

    def look(self, score: float, step: int) -> None:
        """Take note of a validation at this step."""
        scratch = [value for curve in self.curves if (value := score_at(curve, step)) is not None]
        self._compare("scratch", scratch, score, f"all {len(scratch)} runs from scratch at step {step}")
        start = [] if self.untrained is None else [self.untrained]
        self._compare("start", start, score, f"before the first step; this is step {step}")

    def _compare(self, what: str, others: Sequence[float], score: float, where: str) -> None:
        sign = 1 if self.higher_is_better else -1
        worse = bool(others) and all(sign * score < sign * other for other in others)
        self.behind[what] = self.behind[what] + 1 if worse else 0
        if self.behind[what] == self.patience:
            worst = (min if self.higher_is_better else max)(others)
            self.say(f"negative transfer? {self.monitor} is {score:.3f}, worse than {worst:.3f}, {where}.")

    def say(self, message: str) -> None:
        """Warn of something, and keep it."""
        self.messages.append(message)
        log.warning(message)

    def state_dict(self) -> dict[str, Any]:
        return {"behind": self.behind, "messages": self.messages}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.behind, self.messages = dict(state_dict["behind"]), list(state_dict["messages"])
