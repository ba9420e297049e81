"""Layer groups: how a network is divided into layers that are frozen and trained together, ordered from the stem."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from tlx.errors import UserError
from tlx.private import children_of

HEAD = "head"
Layers = Sequence[tuple[str, str] | list[str]]


@dataclass(frozen=True)
class LayerGroup:
    """Some layers that are frozen and trained together.

    `parameters`, `buffers` and `modules` are names relative to the module the groups describe. `modules` lists the
    modules whose train/eval mode belongs to this group; one that several groups list is in train mode while any of them
    is trained. `depth` counts from the stem (0); groups that adapt the same
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


def by_parameters(
    module: nn.Module, groups: Sequence[LayerGroup], apart: tuple[type[nn.Module], ...] = ()
) -> list[LayerGroup]:
    """The same groups, with the mode of every module decided by the parameters below it.

    `module` is anybody's: its root, or a container of frozen and trained layers, is in train mode while any parameter
    below it is trained (a detector returns losses in train mode alone). A module without parameters goes with its
    neighbours in a Sequential, on both sides; elsewhere with the container that it is in. A buffer goes with the
    highest group of its module.

    Modules below one of the types `apart` stay where `groups` puts them. Modules that were frozen and put into eval
    mode by somebody (a teacher, a BatchNorm with fixed statistics) are in no group: they stay as they are.
    """
    held = {name: number for number, group in enumerate(groups) for name in group.parameters}
    number_of = {id(p): held[n] for n, p in module.named_parameters()}
    every = dict(module.named_modules(remove_duplicate=False))
    inside = {n for n, m in every.items() if isinstance(m, apart)}
    listed = {name: number for number, group in enumerate(groups) for name in group.modules}
    numbers: dict[int, set[int]] = {}
    for name, part in every.items():
        own = name in listed and any(_is_below(name, other) for other in inside)
        numbers.setdefault(id(part), set()).update({listed[name]} if own else _numbers(name, every, number_of))
    theirs = _kept_in_eval_mode(module)
    names = {name: numbers[id(part)] for name, part in module.named_modules() if id(part) not in theirs}
    top = {name: max(numbers[id(part)]) for name, part in every.items()}
    return [
        replace(
            group,
            buffers=tuple(n for n, _ in module.named_buffers() if top[n.rpartition(".")[0]] == number),
            modules=tuple(name for name, found in names.items() if number in found),
        )
        for number, group in enumerate(groups)
    ]


def _is_below(name: str, other: str) -> bool:
    return not other or name == other or name.startswith(f"{other}.")


def _numbers(name: str, every: dict[str, nn.Module], number_of: dict[int, int]) -> set[int]:
    """The numbers of the groups that the mode of module `name` follows, see `by_parameters`."""
    found = {number_of[id(p)] for p in every[name].parameters()}
    if found:
        return found
    parent, _, own = name.rpartition(".")
    if isinstance(every[parent], nn.Sequential):
        children = children_of(every[parent])
        place = children.index(own)
        for side in (reversed(children[:place]), children[place + 1 :]):
            near = ({number_of[id(p)] for p in every[parent].get_submodule(child).parameters()} for child in side)
            found |= next((numbers for numbers in near if numbers), set())
    return found or _numbers(parent, every, number_of)


def _kept_in_eval_mode(module: nn.Module) -> set[int]:
    """The ids of the modules in eval mode all of whose parameters, one or more, are frozen; and of those within."""
    kept = set()
    for part in module.modules():
        gradients = [p.requires_grad for p in part.parameters()]
        if gradients and not part.training and not any(gradients):
            kept |= {id(within) for within in part.modules() if not within.training}
    return kept
