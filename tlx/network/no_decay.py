"""Which parameters weight decay leaves alone: biases, norms, and what the network itself names."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from tlx.private import NormBase

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, NormBase)  # BatchNorm and InstanceNorm


def spared_from_decay(module: nn.Module) -> frozenset[str]:
    """Names of the parameters of `module` that are trained without weight decay.

    What has fewer than two dimensions, biases, the parameters of torch's norms whatever their shape, and what networks
    say of themselves: timm's `no_weight_decay()` (position embeddings, class tokens; names or patterns, relative to the
    network that has the method), Swin's `no_weight_decay_keywords()` (parts of names), and parameters with a true
    attribute `_no_weight_decay`, as state-space models mark them. A network answers for all modules within it.
    """
    parameters = dict(module.named_parameters())
    norms = {
        f"{name}.{own}".lstrip(".")
        for name, part in module.named_modules()
        if isinstance(part, NORMS)
        for own, _ in part.named_parameters(recurse=False)
    }
    spared = {
        name
        for name, p in parameters.items()
        if p.ndim < 2 or name.endswith(".bias") or name in norms or getattr(p, "_no_weight_decay", False)
    }
    for prefix, network in _speaking(module):
        patterns = _listed(network, "no_weight_decay")
        keywords = _listed(network, "no_weight_decay_keywords")
        for name in parameters:
            own = name.removeprefix(prefix)
            if own == name and prefix:
                continue
            if any(fnmatchcase(own, p) for p in patterns) or any(word in own for word in keywords):
                spared.add(name)
    return frozenset(spared)


def _speaking(module: nn.Module, prefix: str = "") -> Iterable[tuple[str, nn.Module]]:
    """The outermost modules that say what must not decay, each with the beginning of its parameters' names."""
    if hasattr(module, "no_weight_decay") or hasattr(module, "no_weight_decay_keywords"):
        yield prefix, module
        return
    for name, child in module.named_children():
        yield from _speaking(child, f"{prefix}{name}.")


def _listed(network: nn.Module, attribute: str) -> tuple[str, ...]:
    """The names in a network's list, which may be a method or the list itself."""
    found: Any | Callable[[], Any] = getattr(network, attribute, ())
    return tuple(found() if callable(found) else found)
