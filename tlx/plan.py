"""The parameter plan: every parameter exactly once, with its layer group, phase, LR factor, weight decay and mode.

Strategies edit a plan; callbacks carry it out. Nothing else in tlx decides what is trained.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import nn

from tlx.errors import UserError, unknown
from tlx.layer_groups import LayerGroup
from tlx.network.no_decay import spared_from_decay


@dataclass(frozen=True)
class Phase:
    """A stretch of training in which a fixed set of layer groups is trainable.

    Its length is given in one of three units: a `share` of all optimiser steps, `epochs`, or optimiser `steps`; the
    last phase takes what is left (all three None). `lr_factor` multiplies every learning rate during the phase.
    """

    trainable: frozenset[str]
    share: float | None = None
    epochs: float | None = None
    steps: int | None = None
    lr_factor: float = 1.0


@dataclass
class ParameterPlan:
    """What happens to each layer group, from the stem to the head.

    `lr_factors[group]` multiplies the base learning rate (1 when absent). `no_decay` names the parameters without
    weight decay (`tlx.network.no_decay`): norms, biases, vectors, and what the network itself spares. `fixed` names the
    parameters that the architecture itself never trains (Whisper's sinusoidal positions), `calibrated` the buffers that
    are set before the training (`tlx.network.calibration`), whichever group they are in.
    """

    groups: list[LayerGroup]
    phases: list[Phase] = field(default_factory=list)
    lr_factors: dict[str, float] = field(default_factory=dict)
    no_decay: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    calibrated: frozenset[str] = frozenset()

    @classmethod
    def of(cls, module: nn.Module, groups: Iterable[LayerGroup]) -> "ParameterPlan":
        """A plan that trains all groups all the time; the starting point that strategies edit.

        Raises:
            UserError: a parameter of `module` in no group or in two, or two groups with one name.
        """
        groups = list(groups)
        counts: dict[str, int] = {}
        for group in groups:
            for name in group.parameters:
                counts[name] = counts.get(name, 0) + 1
        names = {n for n, _ in module.named_parameters()}
        wrong = sorted(names.symmetric_difference(counts) | {n for n, c in counts.items() if c > 1})
        if wrong:
            raise UserError(f"every parameter must be in exactly one layer group; see to {', '.join(wrong[:8])}.")
        if len({g.name for g in groups}) != len(groups):
            raise UserError(f"two layer groups have the same name: {', '.join(g.name for g in groups)}.")
        fixed = frozenset(n for n, p in module.named_parameters() if not p.requires_grad)
        return cls(groups, [Phase(frozenset(g.name for g in groups))], {}, spared_from_decay(module), fixed)

    def group(self, name: str) -> LayerGroup:
        """The group called `name`; UserError with the nearest match when there is none."""
        for group in self.groups:
            if group.name == name:
                return group
        raise unknown("layer group", name, [g.name for g in self.groups])

    @property
    def ever_trainable(self) -> frozenset[str]:
        """Names of the groups that some phase trains."""
        return frozenset().union(*(p.trainable for p in self.phases))

    @property
    def trained(self) -> frozenset[str]:
        """Names of the parameters that some phase trains."""
        return self.trained_until(len(self.phases) - 1)

    def trained_until(self, phase: int) -> frozenset[str]:
        """Names of the parameters that this phase or one before it trains."""
        groups = frozenset().union(*(p.trainable for p in self.phases[: phase + 1]))
        return frozenset(n for group in self.groups if group.name in groups for n in group.parameters) - self.fixed

    def boundaries(
        self, total_steps: float, steps_per_epoch: float | Sequence[int], unit: str = "optimiser steps"
    ) -> list[int]:
        """The optimiser step at which each phase starts (the first is 0).

        `steps_per_epoch` may be a list, with the steps of each epoch. `unit` is what is counted, for the message.

        Raises:
            UserError: phases longer than the training, or shorter than one step.
        """
        starts = [0]
        done = 0.0
        for phase in self.phases[:-1]:
            if phase.share is not None:
                done += phase.share * total_steps
            elif phase.epochs is not None:
                done = _epochs_later(done, phase.epochs, steps_per_epoch)
            else:
                assert phase.steps is not None
                done += phase.steps
            starts.append(round(done))
        if any(b <= a for a, b in zip(starts, [*starts[1:], total_steps], strict=True)):
            raise UserError(
                f"{len(self.phases)} phases do not fit into {total_steps} {unit}: they would start at "
                f"{starts}. Train longer (trainer.max_epochs), make fewer phases "
                "(strategy.freezing.groups_per_phase), or change their lengths (strategy.freezing.share, "
                "epochs_per_phase, steps_per_phase)."
            )
        return starts

    def optimizer_groups(self, module: nn.Module, lr: float, weight_decay: float) -> list[dict]:
        """Parameter groups for a torch optimiser: all layer groups from step 0, each split by weight decay.

        A group carries `name` ("layer3" or "layer3/no_decay"), `lr` (= base × factor) and `weight_decay`.
        """
        parameters = dict(module.named_parameters())
        result = []
        for group in self.groups:
            for suffix, decay in (("", weight_decay), ("/no_decay", 0.0)):
                members = [parameters[n] for n in group.parameters if (n in self.no_decay) == bool(suffix)]
                if members:
                    factor = self.lr_factors.get(group.name, 1.0)
                    result.append(
                        {"params": members, "name": group.name + suffix, "lr": lr * factor, "weight_decay": decay}
                    )
        return result

    def summary(self, lr: float, total_steps: int, steps_per_epoch: int) -> dict[str, Any]:
        """The plan for a record: layer groups with their learning rates, and phases with their first step."""
        groups = [{"name": g.name, "depth": g.depth, "lr": lr * self.lr_factors.get(g.name, 1.0)} for g in self.groups]
        phases = [
            {
                "start": start,
                "trainable": [g.name for g in self.groups if g.name in phase.trainable],
                "lr_factor": phase.lr_factor,
            }
            for start, phase in zip(self.boundaries(total_steps, steps_per_epoch), self.phases, strict=True)
        ]
        return {"steps": total_steps, "groups": groups, "phases": phases}

    def rows(self, module: nn.Module) -> list[dict]:
        """One row per parameter: name, group, depth, size, first phase, LR factor, decays or not; in golden files."""
        sizes = {n: p.numel() for n, p in module.named_parameters()}
        first = {
            g.name: next((i for i, p in enumerate(self.phases) if g.name in p.trainable), None) for g in self.groups
        }
        return [
            {
                "name": name,
                "group": group.name,
                "depth": group.depth,
                "size": sizes[name],
                "first_phase": first[group.name],
                "lr_factor": self.lr_factors.get(group.name, 1.0),
                "decay": name not in self.no_decay,
            }
            for group in self.groups
            for name in group.parameters
        ]


def _epochs_later(step: float, epochs: float, steps_per_epoch: float | Sequence[int]) -> float:
    """The step that lies so many epochs after `step`; the end of training where that comes first."""
    if not isinstance(steps_per_epoch, Sequence):
        return step + epochs * steps_per_epoch
    ends = [0, *accumulate(steps_per_epoch)]
    return float(np.interp(np.interp(step, ends, range(len(ends))) + epochs, range(len(ends)), ends))


def apply_phase(module: nn.Module, plan: ParameterPlan, phase: int) -> None:
    """Make exactly the groups of `phase` trainable: gradients, and train/eval mode if the module is in train mode.

    What is frozen loses its gradients, or momentum and weight decay would still move it.
    """
    trainable = plan.phases[phase].trainable
    parameters = dict(module.named_parameters())
    for group in plan.groups:
        on = group.name in trainable
        for name in group.parameters:
            parameters[name].requires_grad_(on and name not in plan.fixed)
            if not on:
                parameters[name].grad = None
    # Any part in train mode: `module` itself is in eval mode where it belongs to a group that is frozen so far.
    if any(part.training for part in module.modules()):
        apply_modes(module, plan, phase)


def apply_modes(module: nn.Module, plan: ParameterPlan, phase: int) -> None:
    """Put the modules of the trainable groups of `phase` into train mode and those of the others into eval mode."""
    modules = dict(module.named_modules())
    frozen = frozen_modules(plan, phase)
    for group in plan.groups:
        for name in group.modules:
            modules[name].training = name not in frozen


def frozen_modules(plan: ParameterPlan, phase: int) -> dict[str, None]:
    """Names of the modules that are in eval mode in `phase`: listed by layer groups none of which is trained."""
    trainable = plan.phases[phase].trainable
    trained = {name for group in plan.groups if group.name in trainable for name in group.modules}
    return {name: None for group in plan.groups for name in group.modules if name not in trained}


def share_frozen(module: nn.Module, other: nn.Module, plan: ParameterPlan) -> bool:
    """Let the tensors that no phase trains be those of `other`, where they are equal: one copy for both.

    Returns whether all of them are.
    """
    same = True
    theirs = dict(other.named_parameters()) | dict(other.named_buffers())
    ours = dict(module.named_parameters()) | dict(module.named_buffers())
    for group in plan.groups:
        if group.name in plan.ever_trainable:
            continue
        for name in (*group.parameters, *group.buffers):
            if name in theirs and torch.equal(ours[name], theirs[name]):
                ours[name].data = theirs[name].data
            else:
                same = False
    return same


def frozen_hash(module: nn.Module, plan: ParameterPlan) -> str:
    """SHA-256 over the parameters and buffers of the groups that no phase trains (names, shapes and bytes)."""
    digest = hashlib.sha256()
    state = dict(module.named_parameters()) | dict(module.named_buffers())
    for group in plan.groups:
        if group.name in plan.ever_trainable:
            continue
        for name in (*group.parameters, *group.buffers):
            tensor = state[name].detach().cpu().contiguous()
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()
