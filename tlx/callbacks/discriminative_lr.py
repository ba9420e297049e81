"""Discriminative learning rates for anybody's LightningModule."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from torch import nn

from tlx.callbacks.phases import Groups, listed
from tlx.errors import UserError
from tlx.layer_groups import LayerGroup
from tlx.strategies.learning_rates import Discriminative


def split_group(
    group: dict[str, Any], owner: dict[int, str], factors: dict[str, float], lr: float
) -> list[dict[str, Any]]:
    """One optimiser group as several, one per layer group it holds, each with its learning rate × factor.

    `owner` maps id(parameter) to the name of its layer group; `lr` is used where `group` has none. Every other setting
    is kept. A parameter in no layer group keeps the group's own learning rate.
    """
    members: dict[str, list[nn.Parameter]] = {}
    for parameter in group["params"]:
        members.setdefault(owner.get(id(parameter), ""), []).append(parameter)
    base = group.get("lr", lr)
    rest = {k: v for k, v in group.items() if k not in ("params", "lr", "name")}
    label = f"{group['name']}/" if "name" in group else ""
    return [
        rest | {"params": parameters, "lr": base * factors.get(name, 1.0), "name": f"{label}{name or 'others'}"}
        for name, parameters in members.items()
    ]


@contextmanager
def regrouped(split: Callable[[torch.optim.Optimizer, dict[str, Any]], list[dict[str, Any]]]) -> Iterator[None]:
    """While active, every group given to a new optimiser passes through `split` first.

    Schedulers size their lists when they are built, so an optimiser must have its final groups before that; a module
    often builds both in `configure_optimizers`, which leaves the optimiser's own constructor as the place to step in.
    """
    original = torch.optim.Optimizer.add_param_group

    def add(self: torch.optim.Optimizer, group: dict[str, Any]) -> None:
        params = group["params"]
        group = {**group, "params": [params] if isinstance(params, torch.Tensor) else list(params)}
        if group["params"] and isinstance(group["params"][0], tuple):  # torch accepts (name, parameter) pairs
            group["params"] = [p for _, p in group["params"]]
        for part in split(self, group):
            original(self, part)

    torch.optim.Optimizer.add_param_group = add  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.optim.Optimizer.add_param_group = original  # type: ignore[method-assign]


class DiscriminativeLR(L.Callback):
    """Learning rates that fall by `decay` per layer group from the top down, in any Trainer with any LightningModule.

    `groups`: the layer groups, stem first and head last, or a function of the module that lists them. It regroups the
    optimiser by wrapping `configure_optimizers` in `setup`, before a scheduler exists.

    Raises:
        UserError: an optimiser without a learning rate, or a scheduler that sets absolute learning rates (OneCycleLR,
            CyclicLR) and so undid the factors.
    """

    def __init__(
        self, groups: Groups, decay: float = 1 / 2.6, factors_by_group: dict[str, float] | None = None
    ) -> None:
        self.groups = groups
        self.rule = Discriminative(decay, factors_by_group)
        self._given: dict[int, float] = {}  # learning rate of each new group, by id of its first parameter

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        groups = listed(self.groups, pl_module)
        factors = self.rule.factors(groups)
        owner = _owners(pl_module, groups)
        configure = pl_module.configure_optimizers

        def split(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> list[dict[str, Any]]:
            lr = group.get("lr", optimizer.defaults.get("lr"))
            if lr is None:
                raise UserError(f"{type(optimizer).__name__} has no learning rate that DiscriminativeLR could scale.")
            parts = split_group(group, owner, factors, lr)
            self._given |= {id(part["params"][0]): part["lr"] for part in parts}
            return parts

        def configure_regrouped() -> Any:
            pl_module.configure_optimizers = configure  # type: ignore[method-assign]
            with regrouped(split):
                return configure()

        self._given.clear()
        pl_module.configure_optimizers = configure_regrouped  # type: ignore[method-assign]

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for optimizer in trainer.optimizers:
            # A scheduler may scale all learning rates alike; it must not set them.
            scales = [
                float(group.get("initial_lr", group["lr"]) / self._given[id(group["params"][0])])
                for group in optimizer.param_groups
            ]
            if max(scales) > min(scales) * 1.001:
                raise UserError(
                    "the module's scheduler sets absolute learning rates and so undid the factors of DiscriminativeLR: "
                    "use one that multiplies (LambdaLR, CosineAnnealingLR, linear warm-up)."
                )


def _owners(module: nn.Module, groups: Sequence[LayerGroup]) -> dict[int, str]:
    parameters = dict(module.named_parameters())
    return {id(parameters[name]): group.name for group in groups for name in group.parameters}
