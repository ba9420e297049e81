"""A few optimiser steps in the phases of a plan, watched: what is frozen rests, what is trained moves."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tlx.contracts.contract import hold
from tlx.models.backbone import Backbone
from tlx.module import TransferModule
from tlx.plan import ParameterPlan, apply_phase
from tlx.strategies.strategy import TransferStrategy
from tlx.tasks.classification import Classification


def planned_module(backbone: Backbone, strategy: TransferStrategy, classes: int = 3) -> TransferModule:
    """A backbone with a head, planned by a strategy; AdamW with weight decay, which must not reach what is frozen."""
    torch.manual_seed(1)
    task = Classification(backbone.feature_dim, [str(i) for i in range(classes)])
    plan = strategy.plan(backbone, task)
    return TransferModule(backbone, task, plan, 1e-3, 0.1, torch.optim.AdamW, lambda step, total: 1.0)


class Watch:
    """Checks, step by step, that a phase of a plan changes what it trains and nothing else.

    `unmoved` lists parameters of trained groups that never had a gradient.
    """

    def __init__(self, module: nn.Module, plan: ParameterPlan) -> None:
        self.module, self.plan = module, plan
        self.phase: int | None = None
        self.unmoved: list[str] = []

    def enter(self, phase: int) -> None:
        """Note everything before the first step of a phase."""
        self.leave()
        self.phase = phase
        trainable = self.plan.phases[phase].trainable
        self.trained = {n for g in self.plan.groups if g.name in trainable for n in g.parameters}
        self.trained_buffers = {n for g in self.plan.groups if g.name in trainable for n in g.buffers}
        self.before = {n: t.detach().clone() for n, t in self._tensors().items()}
        self.gradients: set[str] = set()

    def stepped(self) -> None:
        """After a step, with the gradients still there."""
        for name, parameter in self.module.named_parameters():
            if name not in self.trained:
                hold(parameter.grad is None, f"{name} is frozen and has a gradient")
            elif parameter.grad is not None and parameter.grad.any():
                self.gradients.add(name)

    def leave(self) -> None:
        """After the last step of a phase."""
        if self.phase is None:
            return
        for name, tensor in self._tensors().items():
            same = torch.equal(tensor, self.before[name])
            if name not in self.trained | self.trained_buffers or name in self.plan.fixed:
                hold(same, f"{name} is frozen in phase {self.phase} and moved")
            elif name in self.gradients:
                hold(not same, f"{name} is trained in phase {self.phase}, has a gradient and did not move")
        self.unmoved += sorted(self.trained - self.gradients - self.plan.fixed)
        self.phase = None

    def _tensors(self) -> dict[str, Tensor]:
        return dict(self.module.named_parameters()) | dict(self.module.named_buffers())


def each_once(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """See that every parameter is in the optimiser, and once.

    Raises:
        Broken: one is missing or there twice.
    """
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    hold(
        sorted(held) == sorted(id(p) for p in module.parameters()),
        "the optimiser does not hold each parameter exactly once: the layer groups list another network's",
    )


def train_phases(module: TransferModule, batch: dict[str, Tensor], phases: list[int], steps: int = 3) -> Watch:
    """`steps` optimiser steps in each of some phases of the module's plan, watched."""
    plan = module.plan
    optimizer = module.make_optimizer(plan.optimizer_groups(module, module.lr, module.weight_decay))
    each_once(module, optimizer)
    watch = Watch(module, plan)
    batch = batch | {"label": torch.arange(len(next(iter(batch.values())))) % module.task.classes}
    for phase in phases:
        apply_phase(module.train(), plan, phase)
        watch.enter(phase)
        for _ in range(steps):
            optimizer.zero_grad()
            module.task.loss(module(batch), batch).backward()
            optimizer.step()
            watch.stepped()
    watch.leave()
    return watch


def frozen_outputs(module: TransferModule, phase: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the frozen layers of a phase give while the module is in train mode, by layer name."""
    plan = module.plan
    apply_phase(module.train(), plan, phase)
    frozen = {n for g in plan.groups if g.name not in plan.phases[phase].trainable for n in g.modules}
    names = {n for n, _ in module.named_modules()}
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output
            if isinstance(output, Tensor):
                found[name] = output.detach().clone()

        return hook

    handles = []
    for name, layer in module.named_modules():
        # Layers that are frozen with all that they hold; those without parameters may stand above trained ones.
        whole = {n for n in names if n == name or n.startswith(f"{name}.")} <= frozen
        if name and whole and any(True for _ in layer.parameters()):
            handles.append(layer.register_forward_hook(keep(name)))
    with torch.no_grad():
        module(batch)
    for handle in handles:
        handle.remove()
    return found
