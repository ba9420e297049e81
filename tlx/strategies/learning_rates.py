"""How the base learning rate is shared out over layer groups: pure functions, one class per rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tlx.errors import UserError, unknown
from tlx.layer_groups import LayerGroup


def discriminative_factors(groups: Sequence[LayerGroup], decay: float) -> dict[str, float]:
    """decay^(depth of the top − depth of the group): 1 at the top, smaller towards the stem.

    Howard & Ruder 2018 (arXiv:1801.06146) use decay = 1/2.6. Groups at one depth (LoRA beside its layer) share it.
    """
    top = max(g.depth for g in groups)
    return {g.name: decay ** (top - g.depth) for g in groups}


@dataclass(frozen=True)
class Uniform:
    """One learning rate for the backbone; the head's is `head_factor` times as large."""

    head_factor: float = 1.0

    def __post_init__(self) -> None:
        _positive("head_factor", self.head_factor)

    def factors(self, groups: Sequence[LayerGroup]) -> dict[str, float]:
        return {g.name: 1.0 for g in groups[:-1]} | {groups[-1].name: self.head_factor}


@dataclass(frozen=True)
class Discriminative:
    """Lower layers learn more slowly: a `decay` factor per layer group, or explicit factors by group name.

    The head learns at `head_factor` times the base rate.

    Raises:
        UserError: a decay outside (0, 1], a factor that is not positive, an unknown group.
    """

    decay: float = 1 / 2.6
    factors_by_group: Mapping[str, float] | None = None
    head_factor: float = 1.0

    def __post_init__(self) -> None:
        _positive("head_factor", self.head_factor)
        if not 0 < self.decay <= 1:
            raise UserError(f"strategy.learning_rates.decay={self.decay} must lie in (0, 1].")
        for name, factor in (self.factors_by_group or {}).items():
            _positive(f"factors_by_group.{name}", factor)

    def factors(self, groups: Sequence[LayerGroup]) -> dict[str, float]:
        stated = dict(self.factors_by_group or {})
        for name in stated:
            if name not in {g.name for g in groups}:
                raise unknown("layer group in strategy.learning_rates.factors_by_group", name, [g.name for g in groups])
        return discriminative_factors(groups, self.decay) | {groups[-1].name: self.head_factor} | stated


def _positive(key: str, value: float) -> None:
    if not value > 0:
        raise UserError(f"strategy.learning_rates.{key}={value} must be positive.")
