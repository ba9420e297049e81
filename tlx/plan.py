"""The parameter plan: every parameter exactly once, with its layer group, phase, LR factor, weight decay and mode.

Strategies edit a plan; callbacks carry it out. Nothing else in tlx decides what is trained.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from tlx.errors import UserError, unknown

HEAD = "head"
Layers = Sequence[tuple[str, str] | list[str]]


@dataclass(frozen=True)
class LayerGroup:
    """Some layers that are frozen and trained together.

    `parameters`, `buffers` and `modules` are names relative to the module the groups describe. `modules` lists the
    modules whose train/eval mode belongs to this group. `depth` counts from the stem (0); groups that adapt the same
    layers (LoRA) share their depth. `adapter` marks modules that a strategy added to the layers of another group.
    """

    name: str
    parameters: tuple[str, ...]
    buffers: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    depth: int = 0
    adapter: bool = False

    def within(self, prefix: str) -> "LayerGroup":
        """The same group seen from the module that holds this one as its child `prefix`."""

        def put(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(f"{prefix}.{n}" if n else prefix for n in names)

        return replace(self, parameters=put(self.parameters), buffers=put(self.buffers), modules=put(self.modules))


def group_layers(module: nn.Module, layers: Layers) -> list[LayerGroup]:
    """Divide `module` into ordered layer groups by regular expressions.

    `layers` is an ordered list of (name, regular expression); the first expression that matches the start of a
    parameter's name takes it. An expression with one capture group, as in `("block", r"blocks\\.(\\d+)\\.")`, makes a
    group for each value of it, in numerical order: `block0`, `block1`, … The name "+" adds to the last group before it
    (a final norm belongs to the last block).

    Raises:
        UserError: a parameter that no expression matches, an expression that matches nothing, one that is not an
            expression or captures something else than a number, or a network without parameters.
    """
    if not any(True for _ in module.parameters()):
        raise UserError(f"{type(module).__name__} has no parameters: there is nothing to divide into layer groups.")
    rules = [(name, _compile(name, pattern)) for name, pattern in layers]
    keys: dict[str, tuple[int, int]] = {}
    leftover = []
    # Tied parameters have one name here (the first), so that each is counted once.
    for name, _ in module.named_parameters():
        key = _match(name, rules)
        if key is None:
            leftover.append(name)
        else:
            keys[name] = key
    if leftover:
        shown = ", ".join(leftover[:8]) + (f" and {len(leftover) - 8} more" if len(leftover) > 8 else "")
        raise UserError(
            f"no layer group takes the parameters {shown}. Every parameter must belong to exactly one group: "
            "add a line to the model's `layer_groups` (name: regular expression, stem first)."
        )
    empty = [
        f"{rules[i][0]} ({rules[i][1].pattern})" for i in range(len(rules)) if i not in {k[0] for k in keys.values()}
    ]
    if empty:
        raise UserError(f"the layer groups {', '.join(empty)} match no parameter of this network.")
    if rules[0][0] == "+":
        raise UserError("the first of the layer groups is called '+', which adds to the group before it: name it.")
    for position, (name, _) in enumerate(rules):
        if name == "+":
            last = max(k for k in keys.values() if k[0] < position)
            keys = {n: last if k[0] == position else k for n, k in keys.items()}
    return divide(
        module, keys, {k: rules[k[0]][0] + (str(k[1]) if rules[k[0]][1].groups else "") for k in keys.values()}
    )


def divide(module: nn.Module, keys: dict[str, tuple[int, int]], names: dict[tuple[int, int], str]) -> list[LayerGroup]:
    """Layer groups from a key for every parameter; keys sort from the stem up, `names` gives each key's group name.

    A module's train/eval mode (dropout, LayerDrop, masking) belongs to the group of the parameters that it holds
    itself; else to the lowest group below it; else (it has no parameters) to the lowest group of the nearest container.
    Buffers go with the module that holds them.
    """
    # By identity: a module whose parameters are all tied to those of another goes with them.
    held = {id(p): keys[n] for n, p in module.named_parameters()}
    modes = {name: _mode_key(name, module, held) for name, _ in module.named_modules()}
    return [
        LayerGroup(
            name=names[key],
            parameters=tuple(n for n, k in keys.items() if k == key),
            buffers=tuple(n for n, _ in module.named_buffers() if modes[n.rpartition(".")[0]] == key),
            modules=tuple(n for n, k in modes.items() if k == key),
            depth=depth,
        )
        for depth, key in enumerate(sorted(set(keys.values())))
    ]


def _compile(name: str, pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"layer group '{name}': '{pattern}' is not a regular expression ({error}).") from error
    if compiled.groups > 1:
        raise UserError(f"layer group '{name}': '{pattern}' captures more than one number; write (?:…) for the others.")
    return compiled


def _match(name: str, rules: list[tuple[str, re.Pattern[str]]]) -> tuple[int, int] | None:
    for position, (group, pattern) in enumerate(rules):
        found = pattern.match(name)
        if found:
            captured = found.group(1) if pattern.groups else "0"
            if captured is None or not captured.isdecimal():
                raise UserError(
                    f"layer group '{group}': '{pattern.pattern}' captures '{captured}' in {name}, but what it captures "
                    "numbers the group; write (?:…) for parentheses that do not."
                )
            return position, int(captured)
    return None


def _mode_key(name: str, root: nn.Module, held: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """The group whose mode the module `name` follows, see `divide`; `held` gives the key of each parameter's id."""
    module = root.get_submodule(name)
    own = [held[id(p)] for p in module.parameters(recurse=False)]
    below = own or [held[id(p)] for p in module.parameters()]
    if below:
        return min(below)
    return _mode_key(name.rpartition(".")[0], root, held)


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
    weight decay: norms, biases and anything else with fewer than two dimensions. `fixed` names the parameters that the
    architecture itself never trains (Whisper's sinusoidal positions).
    """

    groups: list[LayerGroup]
    phases: list[Phase] = field(default_factory=list)
    lr_factors: dict[str, float] = field(default_factory=dict)
    no_decay: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()

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
        flat = frozenset(n for n, p in module.named_parameters() if p.ndim < 2)
        fixed = frozenset(n for n, p in module.named_parameters() if not p.requires_grad)
        return cls(groups, [Phase(frozenset(g.name for g in groups))], {}, flat, fixed)

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

    def boundaries(self, total_steps: int, steps_per_epoch: int) -> list[int]:
        """The optimiser step at which each phase starts (the first is 0).

        Raises:
            UserError: phases longer than the training, or shorter than one step.
        """
        starts = [0]
        done = 0.0
        for phase in self.phases[:-1]:
            if phase.share is not None:
                done += phase.share * total_steps
            elif phase.epochs is not None:
                done += phase.epochs * steps_per_epoch
            else:
                assert phase.steps is not None
                done += phase.steps
            starts.append(round(done))
        if any(b <= a for a, b in zip(starts, [*starts[1:], total_steps], strict=True)):
            raise UserError(
                f"{len(self.phases)} phases do not fit into {total_steps} optimiser steps: they would start at "
                f"{starts}. Train longer (trainer.max_epochs), or make fewer or shorter phases."
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
    """Put the trainable groups of `phase` into train mode and all others into eval mode."""
    trainable = plan.phases[phase].trainable
    modules = dict(module.named_modules())
    for group in plan.groups:
        for name in group.modules:
            modules[name].training = group.name in trainable


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
