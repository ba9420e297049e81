"""Which layer groups are trained when: pure functions from layer groups to phases, one class per rule.

Each rule has `phases(groups)`: `groups` is ordered from the stem to the head, and the head is its last element.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tlx.errors import UserError, unknown
from tlx.layer_groups import LayerGroup
from tlx.plan import Phase


def _names(groups: Sequence[LayerGroup]) -> frozenset[str]:
    return frozenset(g.name for g in groups)


@dataclass(frozen=True)
class NoFreezing:
    """Everything is trained all the time."""

    def phases(self, groups: Sequence[LayerGroup]) -> list[Phase]:
        return [Phase(_names(groups))]


@dataclass(frozen=True)
class FrozenBackbone:
    """Only the head is trained (feature extraction, linear probing)."""

    def phases(self, groups: Sequence[LayerGroup]) -> list[Phase]:
        return [Phase(_names(groups[-1:]))]


@dataclass(frozen=True)
class Partial:
    """The lower layers stay frozen. Exactly one of:

    `until`: the name of the lowest layer group that is trained; `ratio`: the share of the backbone's groups that is
    frozen, from the stem (rounded); `frozen`: the names of the frozen groups.

    Raises:
        UserError: none or several of them, an unknown group, a ratio outside [0, 1].
    """

    until: str | None = None
    ratio: float | None = None
    frozen: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if sum(v is not None for v in (self.until, self.ratio, self.frozen)) != 1:
            raise UserError("partial freezing takes exactly one of strategy.freezing.until, .ratio and .frozen.")
        if self.ratio is not None and not 0 <= self.ratio <= 1:
            raise UserError(f"strategy.freezing.ratio={self.ratio} must lie in [0, 1].")

    def phases(self, groups: Sequence[LayerGroup]) -> list[Phase]:
        names = [g.name for g in groups]
        for name in [self.until] if self.until else self.frozen or []:
            if name not in names:
                raise unknown("layer group in strategy.freezing", name, names)
        if self.until:
            frozen = set(names[: names.index(self.until)])
        elif self.ratio is not None:
            frozen = set(names[: round(self.ratio * (len(names) - 1))])
        else:
            frozen = set(self.frozen or [])
        return [Phase(frozenset(n for n in names if n not in frozen))]


@dataclass(frozen=True)
class Gradual:
    """Gradual unfreezing from the head down (Howard & Ruder 2018, arXiv:1801.06146).

    Phase 0 trains the head; each further phase adds the next `groups_per_phase` groups below. A phase before the last
    takes `epochs_per_phase` epochs, or `steps_per_phase` optimiser steps, or (default) an equal part of `share` of all
    steps; the last phase, with everything trained, takes the rest. `lr_factor` multiplies the learning rates once more
    at each new phase.
    """

    groups_per_phase: int = 1
    share: float = 0.5
    epochs_per_phase: float | None = None
    steps_per_phase: int | None = None
    lr_factor: float = 1.0

    def __post_init__(self) -> None:
        if self.groups_per_phase < 1:
            raise UserError(f"strategy.freezing.groups_per_phase={self.groups_per_phase} must be at least 1.")
        if not 0 < self.share < 1:
            raise UserError(f"strategy.freezing.share={self.share} must lie between 0 and 1.")
        if self.epochs_per_phase is not None and self.steps_per_phase is not None:
            raise UserError("give one of strategy.freezing.epochs_per_phase and .steps_per_phase, not both.")
        for key in ("epochs_per_phase", "steps_per_phase", "lr_factor"):
            value = getattr(self, key)
            if value is not None and not value > 0:
                raise UserError(f"strategy.freezing.{key}={value} must be positive.")

    def phases(self, groups: Sequence[LayerGroup]) -> list[Phase]:
        lowest = [*range(len(groups) - 1, 0, -self.groups_per_phase), 0]
        share = None if self.epochs_per_phase or self.steps_per_phase else self.share / max(1, len(lowest) - 1)
        return [
            Phase(
                _names(groups[first:]),
                share=None if last else share,
                epochs=None if last else self.epochs_per_phase,
                steps=None if last else self.steps_per_phase,
                lr_factor=self.lr_factor**number,
            )
            for number, first in enumerate(lowest)
            for last in [first == 0]
        ]


@dataclass(frozen=True)
class ProbeThenAll:
    """Train the head alone for `share` of the steps, then everything (LP-FT, Kumar et al. 2022, arXiv:2202.10054).

    `lr_factor` multiplies the learning rate of the second phase: a probe takes larger steps than fine-tuning.
    """

    share: float = 0.5
    lr_factor: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError(f"strategy.freezing.share={self.share} must lie between 0 and 1.")
        if not self.lr_factor > 0:
            raise UserError(f"strategy.freezing.lr_factor={self.lr_factor} must be positive.")

    def phases(self, groups: Sequence[LayerGroup]) -> list[Phase]:
        return [Phase(_names(groups[-1:]), share=self.share), Phase(_names(groups), lr_factor=self.lr_factor)]
