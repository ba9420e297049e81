"""What the outputs of frozen layers depend on, as one hash: other weights, code, settings or examples, other hash."""

import hashlib
import inspect
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlx.data.loaders import Examples
from tlx.plan import ParameterPlan


def prefix_key(module: nn.Module, plan: ParameterPlan, depth: int, known: dict[str, str], *further: object) -> str:
    """Hash of all that decides what enters the layer groups from `depth` up, and of what `further` there is.

    That is: tensors of the groups below; the code and settings of every module that is not above; the versions of the
    libraries, the number of threads and the kind of device, which decide the last bits. `known` keeps the hash of each
    group's tensors for the next call: a network is large, and what is frozen does not change.
    """
    groups = [group for group in plan.groups if group.depth < depth]
    above = {name for group in plan.groups if group.depth >= depth for name in group.modules}
    state = dict(module.named_parameters()) | dict(module.named_buffers())
    digest = hashlib.sha256()
    for group in groups:
        if group.name not in known:
            tensors = hashlib.sha256()
            for name in (*group.parameters, *group.buffers):
                _feed(tensors, name)
                _feed(tensors, state[name])
            known[group.name] = tensors.hexdigest()
        _feed(digest, known[group.name])
    for name, part in module.named_modules():
        if name and name not in above:
            _feed(digest, [name, *_behaviour(part)])
    network = getattr(getattr(module, "backbone", None), "network", None)
    _feed(digest, str(getattr(network, "config", "")))
    _feed(digest, [version(package) for package in ("torch", "transformers", "timm")])
    _feed(digest, [torch.get_num_threads(), next(module.parameters()).device.type, *further])
    return digest.hexdigest()[:32]


def content_key(data: Examples) -> str:
    """Hash of the encoded examples and of how they become a batch."""
    digest = hashlib.sha256(data.preprocessing.key().encode())
    for example in data.examples:
        _feed(digest, example)
    return digest.hexdigest()


def _behaviour(part: nn.Module) -> Iterator[str]:
    """What decides what a module computes, apart from its tensors: the code of its class, and its settings."""
    kind: Any = type(part)
    yield _source(kind)
    for name, value in sorted(vars(part).items()):
        if isinstance(value, (int, float, str, tuple, list)) and name != "training" and name[0] != "_":
            yield f"{name}={value}"
        elif inspect.isfunction(value):
            yield f"{name}={_source(value)}"


@lru_cache
def _source(thing: Any) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):  # made in an interactive session, or compiled
        return f"{thing.__module__}.{thing.__qualname__}"


def _feed(digest: Any, value: Any) -> None:
    """Add an example or a tensor to a hash, with what tells it from others of the same bytes."""
    if isinstance(value, dict):
        for key in sorted(value):
            digest.update(key.encode())
            _feed(digest, value[key])
    elif isinstance(value, Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    else:
        digest.update(f"{value!r};".encode())
