"""A transfer strategy: initialisation × freezing × learning rates × adapter × weight noise × objectives, composed from
parts.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import nn

from tlx.errors import UserError
from tlx.layer_groups import HEAD, LayerGroup
from tlx.models.backbone import Backbone
from tlx.network.calibration import statistics
from tlx.plan import ParameterPlan, Phase
from tlx.strategies.freezing import NoFreezing
from tlx.strategies.learning_rates import Uniform
from tlx.strategies.lora import LoRA

INITS = ("pretrained", "scratch", "shuffled")


class Freezing(Protocol):
    def phases(self, groups: list[LayerGroup]) -> list[Phase]: ...


class LearningRates(Protocol):
    def factors(self, groups: list[LayerGroup]) -> dict[str, float]: ...


class Solver(Protocol):
    def check(self, config: dict[str, Any]) -> None: ...


@dataclass
class TransferStrategy:
    """How we get from initial weights to a solution; `configs/strategy/*.yaml` are presets of its parts.

    `init` is "pretrained" (the model's own weights), "scratch" (random), "shuffled" (the model's own without their
    order, see `tlx.models.shuffled`) or "registry:NAME". `lr` is the base learning rate that the preset recommends
    (optimizer.lr follows it). `mixout` is the probability p of `tlx.callbacks.mixout`. `longer` multiplies the epochs
    (`tlx.config.budget`). `solver` finds the head at once where nothing else is trained (`tlx.probes.logistic`).
    `calibrate` takes batch normalisation's statistics from the training inputs before anything is trained
    (`tlx.network.calibration`). `objectives` are terms beside the task's loss (`tlx.objectives`).
    """

    init: str = "pretrained"
    lr: float | None = None
    freezing: Freezing = field(default_factory=NoFreezing)
    learning_rates: LearningRates = field(default_factory=Uniform)
    adapter: LoRA | None = None
    mixout: float | None = None
    longer: int | None = None
    solver: Solver | None = None
    calibrate: bool = False
    objectives: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.init not in INITS and not self.init.startswith("registry:"):
            raise UserError(f"strategy.init={self.init}: allowed are {', '.join(INITS)} and registry:NAME.")
        if self.init in ("scratch", "shuffled") and self.adapter is not None:
            raise UserError(
                f"an adapter on random weights cannot learn: strategy.init={self.init} excludes strategy.adapter."
            )
        if self.mixout is not None and not 0 <= self.mixout <= 1:
            raise UserError(f"strategy.mixout={self.mixout} is a probability and must lie in [0, 1].")

    def plan(self, backbone: Backbone, task: nn.Module) -> ParameterPlan:
        """`apply` for the parts of a `tlx.module.TransferModule` that is yet to be made."""
        return self.apply(nn.ModuleDict({"backbone": backbone, "task": task}), backbone)

    def apply(self, module: nn.Module, backbone: Backbone) -> ParameterPlan:
        """Wrap layers of the backbone if the strategy does, and plan every parameter of `module`.

        `module` holds the backbone as `backbone` and everything else it trains as its head.
        """
        if self.adapter is not None:
            self.adapter.inject(backbone)
        plan = ParameterPlan.of(module, self._groups(module, backbone))
        trained = [g for g in plan.groups if self.adapter is None or g.adapter or g.name == HEAD]
        plan.phases = self.freezing.phases(trained)
        if self.solver is not None and (self.adapter or [p.trainable for p in plan.phases] != [frozenset({HEAD})]):
            raise UserError(
                "strategy.solver finds a linear head on features that do not change: it excludes an adapter, and every "
                "strategy.freezing but tlx.strategies.freezing.FrozenBackbone."
            )
        if self.calibrate:
            plan.calibrated = frozenset(f"backbone.{name}" for name in statistics(backbone))
        plan.lr_factors = self.learning_rates.factors(trained)
        return plan

    def _groups(self, module: nn.Module, backbone: Backbone) -> list[LayerGroup]:
        """The backbone's groups, adapters apart from the layers they adapt, and the head on top."""
        groups: list[LayerGroup] = []
        for group in (g.within("backbone") for g in backbone.layer_groups()):
            base, own = (group, None) if self.adapter is None else _split(group, self.adapter)
            groups.append(base)
            if own is not None:
                groups.append(own)
        taken = {n for g in groups for n in g.parameters}
        mode_taken = {n for g in groups for n in g.modules}
        head = LayerGroup(
            HEAD,
            parameters=tuple(n for n, _ in module.named_parameters() if n not in taken),
            buffers=tuple(n for n, _ in module.named_buffers() if not n.startswith("backbone.")),
            modules=tuple(n for n, _ in module.named_modules() if n not in mode_taken and n not in ("", "backbone")),
            depth=groups[-1].depth + 1,
        )
        return [*groups, head]


def _split(group: LayerGroup, adapter: LoRA) -> tuple[LayerGroup, LayerGroup | None]:
    """A layer group without the adapter's own parameters, and the group of these, at the same depth."""

    def part(adapts: bool) -> LayerGroup:
        kept = {
            kind: tuple(n for n in getattr(group, kind) if adapter.is_own(n) == adapts)
            for kind in ("parameters", "buffers", "modules")
        }
        name = f"{group.name}.lora" if adapts else group.name
        return LayerGroup(name, depth=group.depth, adapter=adapts, **kept)

    own = part(True)
    return part(False), own if own.parameters else None
