"""What the parts of a strategy touch of what is trained: a part that touches nothing is another strategy's run."""

from typing import TYPE_CHECKING, Any

from torch import nn

from tlx.callbacks.mixout import Mixout, matrices
from tlx.errors import UserError
from tlx.plan import ParameterPlan
from tlx.strategies.freezing import Partial
from tlx.strategies.learning_rates import Discriminative
from tlx.strategies.lora import adapted_layers
from tlx.strategies.strategy import TransferStrategy

if TYPE_CHECKING:
    from tlx.module import TransferModule


def check_touches(strategy: TransferStrategy, plan: ParameterPlan) -> None:
    """See that a planned strategy does what the names of its parts say. What is set to zero in so many words may be.

    Raises:
        UserError: it trains nothing, freezes nothing where it is to freeze a share, or has one layer group to share
            out learning rates over.
    """
    if not plan.trained:
        raise UserError("this strategy trains nothing: strategy.freezing freezes every layer group, the head included.")
    freezing, rates = strategy.freezing, strategy.learning_rates
    everything = plan.ever_trainable == {g.name for g in plan.groups}
    if isinstance(freezing, Partial) and freezing.until and everything:
        raise UserError(
            f"strategy.freezing.until={freezing.until} is the lowest layer group, so that nothing would be frozen: "
            "name one above it, or say strategy=full."
        )
    if isinstance(freezing, Partial) and freezing.ratio and everything:
        backbone = len(plan.groups) - 1
        raise UserError(
            f"strategy.freezing.ratio={freezing.ratio} of {backbone} layer groups is less than half of one, so that "
            f"nothing would be frozen: give {1 / backbone:.2g} or more, or say strategy=full."
        )
    if isinstance(rates, Discriminative) and rates.decay < 1 and len(plan.ever_trainable) == 1:
        raise UserError(
            "strategy.learning_rates shares out learning rates over layer groups, and this strategy trains one, "
            f"{next(iter(plan.ever_trainable))}: say strategy.learning_rates._target_=tlx.strategies.learning_rates."
            "Uniform, or freeze less."
        )


def mixed(config: dict[str, Any], module: "TransferModule") -> Mixout | None:
    """The run's Mixout, over the pretrained weights that some phase of the module's plan trains.

    Raises:
        UserError: there are none, or none that is a matrix of a linear layer or a convolution.
    """
    p, init = config["strategy"]["mixout"], config["strategy"]["init"]
    if p is None:
        return None
    if init in ("scratch", "shuffled"):
        raise UserError(
            f"strategy.mixout puts weights back to their pretrained values, and strategy.init={init} has none: say "
            "strategy.init=pretrained (or registry:NAME), or strategy.mixout=null."
        )
    held = module.trained_pretrained
    if not held:
        raise UserError(
            "strategy.mixout puts trained weights back to their pretrained values, and this strategy trains no "
            "pretrained ones: say strategy.mixout=null, or leave out what freezes them all (strategy.freezing, "
            "strategy.adapter)."
        )

    def select(name: str, layer: nn.Module) -> bool:
        return any(f"{name}.{own}" in held for own in matrices(layer))

    mixout = Mixout(p, select)
    if not list(mixout.parts(module)):
        kinds = sorted({type(layer).__name__ for layer in module.backbone.modules() if next(layer.children(), 0) == 0})
        raise UserError(
            "strategy.mixout mixes linear layers, attention and convolutions, and this run trains none of the "
            f"backbone's: it is made of {', '.join(kinds[:12])}. Say strategy.mixout=null, or freeze less."
        )
    return mixout


def coverage(module: "TransferModule") -> dict[str, float]:
    """By part of the strategy (mixout, an objective, the adapter): the share of the backbone's weights that it touches.

    That is of those that are trained, counted in numbers; for an adapter, of all: it stands beside frozen ones.
    """
    plan = module.plan
    sizes = {n: p.numel() for n, p in module.named_parameters() if n.startswith("backbone.")}
    trained = {n: size for n, size in sizes.items() if n in plan.trained}
    touched: dict[str, frozenset[str]] = {}
    if module.mixout is not None:
        touched["mixout"] = frozenset(name for name, _, _ in module.mixout.parts(module))
    for objective in module.objectives:
        names = objective.touches(module)
        if names is not None:
            touched[getattr(objective, "label", type(objective).__name__)] = names
    total = sum(trained.values())
    found = {part: sum(trained.get(n, 0) for n in names) / total for part, names in touched.items() if total}
    if any(group.adapter for group in plan.groups):
        adapters = {n for group in plan.groups if group.adapter for n in group.parameters}
        base = {n: size for n, size in sizes.items() if n not in adapters}
        below = {id(p) for layer in adapted_layers(module) for p in layer.get_base_layer().parameters()}
        own = {n for n, p in module.named_parameters() if id(p) in below}
        found["adapter"] = sum(base.get(n, 0) for n in own) / sum(base.values())
    return found
