"""Layer groups of a network found without patterns: a proposal, from how its modules are built."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import nn

from tlx.errors import UserError
from tlx.layer_groups import LayerGroup, divide
from tlx.network.modes import in_eval_mode

_STACKS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def propose_groups(module: nn.Module, run: Callable[[nn.Module], Any] | None = None) -> list[LayerGroup]:
    """Layer groups of `module`, stem first and head last: each block of its stacks, and what lies around them.

    A stack is a Sequential, ModuleList or ModuleDict of several blocks, or of several layers of one kind. Layers with
    vectors alone (norms) go with what is before them, parameters of a container with the first layer in it; the last
    layers stay together where they are the smaller part (a head). Groups are named by their modules.

    The order is that in which the modules were made; or, where `run(module)` calls the network, or a LightningModule
    has an `example_input_array`, that in which they are called.

    Raises:
        UserError: all is one layer.
    """
    units = _units(module)
    if run is not None or getattr(module, "example_input_array", None) is not None:
        units = _as_called(module, units, run or _example)
    members: dict[str, list[str]] = {unit: [] for unit in units}
    for name, _ in module.named_parameters():  # tied parameters once
        members[_unit_of(name, units)].append(name)
    layers: list[tuple[str, list[str]]] = []
    vectors: list[str] = []  # below every layer
    for unit, names in members.items():
        if all(module.get_parameter(name).ndim < 2 for name in names):
            (layers[-1][1] if layers else vectors).extend(names)
        else:
            layers.append((unit, [*vectors, *names]))
            vectors = []
    if len(layers) < 2:
        raise UserError(f"{type(module).__name__} is one layer as far as its modules show: list its layer groups.")
    keys = {name: (number, 0) for number, (_, names) in enumerate(layers) for name in names}
    return divide(module, keys, {(number, 0): unit for number, (unit, _) in enumerate(layers)})


def _units(module: nn.Module) -> list[str]:
    """The names of the modules that stay whole, in the order in which they were made."""
    name, top = "", module
    while len(inside := _children(top)) == 1 and not list(top.parameters(recurse=False)):
        ((child, top),) = inside.items()
        name = f"{name}{child}."
    if not inside:
        return [name.rstrip(".")]
    *lower, (last, head) = inside.items()
    found = [unit for child, part in lower for unit in _opened(f"{name}{child}", part)]
    smaller = 2 * sum(p.numel() for p in head.parameters()) < sum(p.numel() for p in top.parameters())
    return found + ([f"{name}{last}"] if smaller else _opened(f"{name}{last}", head))


def _opened(name: str, module: nn.Module, in_stack: bool = False) -> list[str]:
    if not _opens(module, in_stack):
        return [name]
    stack = isinstance(module, _STACKS)
    return [unit for child, part in _children(module).items() for unit in _opened(f"{name}.{child}", part, stack)]


def _opens(module: nn.Module, in_stack: bool) -> bool:
    """Whether this is a stack of layers, or has one in it; a block of a stack is looked at as a stack alone."""
    parts = _children(module).values()
    if not isinstance(module, _STACKS):
        return not in_stack and any(_opens(part, False) for part in parts)
    if sum(bool(_children(part)) for part in parts) > 1:
        return True
    kinds = [type(part) for part in parts]
    return not in_stack and len(set(kinds)) < len(kinds)


def _children(module: nn.Module) -> dict[str, nn.Module]:
    """The modules in this one that have parameters."""
    return {name: part for name, part in module.named_children() if any(True for _ in part.parameters())}


def _unit_of(parameter: str, units: list[str]) -> str:
    """The unit that a parameter is in; for one that a container of units holds itself, the first of these."""
    for unit in units:
        if parameter.startswith(f"{unit}.") or not unit:
            return unit
    holder = parameter.rpartition(".")[0]
    return next(unit for unit in units if unit.startswith(f"{holder}.") or not holder)


def _example(module: nn.Module) -> Any:
    inputs = move_data_to_device(module.example_input_array, next(module.parameters()).device)
    if isinstance(inputs, dict):
        return module(**inputs)
    return module(*inputs) if isinstance(inputs, tuple) else module(inputs)


def _as_called(module: nn.Module, units: list[str], run: Callable[[nn.Module], Any]) -> list[str]:
    """The units in the order of their first call; those that are not called stay behind what they were made after."""
    called: list[str] = []
    hooks = [
        module.get_submodule(unit).register_forward_pre_hook(lambda *_, unit=unit: called.append(unit))
        for unit in units
    ]
    try:
        with in_eval_mode(module), torch.no_grad():
            run(module)
    finally:
        for hook in hooks:
            hook.remove()
    place, places = -1, {}
    for unit in units:
        place = called.index(unit) if unit in called else place
        places[unit] = place
    return sorted(units, key=places.__getitem__)
