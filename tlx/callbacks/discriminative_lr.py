"""Discriminative learning rates for anybody's LightningModule."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from torch import nn
from torch.optim import lr_scheduler as schedulers

from tlx.callbacks.optimizers import AroundConfiguring
from tlx.callbacks.phases import Groups, listed
from tlx.errors import UserError
from tlx.layer_groups import LayerGroup
from tlx.strategies.learning_rates import Discriminative

# Schedulers that multiply what the optimiser was given, and what they keep for each group is known.
_MULTIPLYING = {
    schedulers.LambdaLR,
    schedulers.MultiplicativeLR,
    schedulers.StepLR,
    schedulers.MultiStepLR,
    schedulers.ConstantLR,
    schedulers.LinearLR,
    schedulers.ExponentialLR,
    schedulers.PolynomialLR,
    schedulers.CosineAnnealingLR,
    schedulers.CosineAnnealingWarmRestarts,
    schedulers.SequentialLR,
    schedulers.ChainedScheduler,
}


def split_group(
    group: dict[str, Any], owner: dict[int, str], factors: dict[str, float], lr: float
) -> list[dict[str, Any]]:
    """One optimiser group as several, one per layer group it holds, each with its learning rate × factor.

    `owner` maps id(parameter) to the name of its layer group; `lr` is used where `group` has none. Every other setting
    is kept. A parameter in no layer group keeps the group's own learning rate. The new groups say what was done, in
    `rate_factor` and `rate_given`; a group that says so already is left as it is (an optimiser around another one is
    built from the groups of that one).
    """
    if "rate_factor" in group:
        return [group]
    members: dict[str, list[nn.Parameter]] = {}
    for parameter in group["params"]:
        members.setdefault(owner.get(id(parameter), ""), []).append(parameter)
    rates = {"lr": group.get("lr", lr)} | {k: group[k] for k in ("initial_lr",) if k in group}
    given = float(rates.get("initial_lr", rates["lr"]))  # a scheduler may have begun with another one
    rest = {k: v for k, v in group.items() if k not in ("params", "name", *rates)}
    label = f"{group['name']}/" if "name" in group else ""
    parts = []
    for name, parameters in members.items():
        factor = factors.get(name, 1.0)
        said = {"name": f"{label}{name or 'others'}", "rate_factor": factor, "rate_given": given * factor}
        parts.append(rest | {"params": parameters} | {k: v * factor for k, v in rates.items()} | said)
    return parts


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


def regroup_built(
    optimizer: torch.optim.Optimizer,
    split: Callable[[torch.optim.Optimizer, dict[str, Any]], list[dict[str, Any]]],
    schedulers: Sequence[Any],
) -> None:
    """Pass the groups of an optimiser that exists already through `split`, and let its schedulers know them.

    Raises:
        UserError: a scheduler of which nobody knows what it keeps for each group.
    """
    parts = [split(optimizer, group) for group in optimizer.param_groups]
    for scheduler in schedulers:
        _follow(scheduler, [[part["rate_factor"] for part in several] for several in parts])
    optimizer.param_groups[:] = [part for several in parts for part in several]


def _follow(scheduler: Any, factors: list[list[float]]) -> None:
    # LightningCLI has a subclass of this one.
    if type(scheduler) not in _MULTIPLYING and not isinstance(scheduler, schedulers.ReduceLROnPlateau):
        raise UserError(
            f"a {type(scheduler).__name__} was built before DiscriminativeLR could regroup its optimiser: build both "
            "in the module's configure_optimizers, or use a scheduler of torch that multiplies learning rates."
        )
    for part in getattr(scheduler, "_schedulers", ()):
        _follow(part, factors)
    for name in ("base_lrs", "_last_lr"):
        if rates := vars(scheduler).get(name):
            new = [rate * f for rate, several in zip(rates, factors, strict=True) for f in several]
            setattr(scheduler, name, new)
    for name in ("lr_lambdas", "min_lrs"):
        if kept := vars(scheduler).get(name):
            setattr(scheduler, name, [one for one, several in zip(kept, factors, strict=True) for _ in several])


class DiscriminativeLR(L.Callback):
    """Learning rates that fall by `decay` per layer group from the top down, in any Trainer with any LightningModule.

    `groups`: the layer groups, stem first and head last, or a function of the module that lists them. It regroups the
    optimiser while `configure_optimizers` builds it, before a scheduler exists; one that was built before (LightningCLI
    does) together with its schedulers.

    Raises:
        UserError: an optimiser without a learning rate, or that takes one group alone (LBFGS); a scheduler with a list
            per group of the optimiser; one that sets absolute learning rates (OneCycleLR,
            CyclicLR) and so undid the factors, or does not say what it keeps; a checkpoint with other factors.
    """

    def __init__(
        self, groups: Groups, decay: float = 1 / 2.6, factors_by_group: dict[str, float] | None = None
    ) -> None:
        self.groups = groups
        self.rule = Discriminative(decay, factors_by_group)
        self._factors: dict[int, float] = {}  # of each parameter, by id
        self._split: Any = None
        self._around: AroundConfiguring | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit":
            self._around = AroundConfiguring(pl_module, lambda: self._regrouping(pl_module))

    @contextmanager
    def _regrouping(self, module: L.LightningModule) -> Iterator[None]:
        groups = listed(self.groups, module)
        factors = self.rule.factors(groups)
        owner = _owners(module, groups)
        self._factors = {parameter: factors[name] for parameter, name in owner.items()}

        def split(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> list[dict[str, Any]]:
            lr = group.get("lr", optimizer.defaults.get("lr"))
            if lr is None:
                raise UserError(f"{type(optimizer).__name__} has no learning rate that DiscriminativeLR could scale.")
            return split_group(group, owner, factors, lr)

        self._split = split
        with regrouped(split):
            try:
                yield
            except ValueError as error:
                if words := _in_words(str(error)):
                    raise UserError(words) from error
                raise

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for optimizer in trainer.optimizers:
            if any("rate_factor" not in group for group in optimizer.param_groups):
                built = [c.scheduler for c in trainer.lr_scheduler_configs if c.scheduler.optimizer is optimizer]
                regroup_built(optimizer, self._split, built)
            # A scheduler may scale all learning rates alike; it must not set them.
            scales = [
                float(group.get("initial_lr", group["lr"]) / group["rate_given"])
                for group in optimizer.param_groups
                if group["rate_given"]
            ]
            if scales and max(scales) > min(scales) * 1.001:
                raise UserError(
                    "the module's scheduler sets absolute learning rates and so undid the factors of DiscriminativeLR: "
                    "use one that multiplies (LambdaLR, CosineAnnealingLR, linear warm-up)."
                )
        self._check_factors(trainer, "the module's optimiser was built")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._check_factors(trainer, "the checkpoint was made")

    def _check_factors(self, trainer: L.Trainer, what: str) -> None:
        for group in (group for optimizer in trainer.optimizers for group in optimizer.param_groups):
            own = self._factors.get(id(group["params"][0]), 1.0)
            found = group.setdefault("rate_factor", own)  # a checkpoint of an earlier version does not say it
            if not math.isclose(found, own, rel_tol=1e-6):
                raise UserError(
                    f"{what} with learning rates × {found:.3g} for {group['name']}, and DiscriminativeLR is to make "
                    f"them × {own:.3g}: go on with the same decay and factors_by_group, or begin anew."
                )

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self._around is not None:
            self._around.undo()
            self._around = None

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")


def _in_words(text: str) -> str | None:
    """What torch says of groups whose number it did not expect, and what to do; None where it says something else."""
    if "per-parameter options" in text:  # LBFGS
        return (
            "DiscriminativeLR gives each layer group a learning rate of its own, and the module's optimiser takes one "
            f"group of parameters alone ({text}): use another, as AdamW or SGD."
        )
    if re.search(r"(lr_lambdas|min_lrs),.* got|same length as optimizer.param_groups", text):
        return (
            "DiscriminativeLR makes the groups of the module's optimiser anew, one for each layer group, so that a "
            f"list with an entry per group does not fit them ({text}): give the scheduler one value for all, or "
            "one function."
        )
    return None


def _owners(module: nn.Module, groups: Sequence[LayerGroup]) -> dict[int, str]:
    parameters = dict(module.named_parameters())
    return {id(parameters[name]): group.name for group in groups for name in group.parameters}
