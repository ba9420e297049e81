"""What the outputs of frozen layers depend on, as one hash: other weights, code, settings or examples, other hash."""

import hashlib
import inspect
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tlx.cache.contents import feed
from tlx.config.own_code import code_hash
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
                feed(tensors, name)
                feed(tensors, state[name])
            known[group.name] = tensors.hexdigest()
        feed(digest, known[group.name])
    below = [(name, part) for name, part in module.named_modules() if name and name not in above]
    for name, part in below:
        feed(digest, [name, *_behaviour(part)])
    # Of the user's own classes not their files alone but what these import counts, and as it stands now.
    if own := code_hash({type(part).__module__ for _, part in below} - {"__main__"}):
        feed(digest, own)
    network = getattr(getattr(module, "backbone", None), "network", None)
    feed(digest, str(getattr(network, "config", "")))
    feed(digest, [version(package) for package in ("torch", "transformers", "timm")])
    feed(digest, [torch.get_num_threads(), next(module.parameters()).device.type, *further])
    return digest.hexdigest()[:32]


def _behaviour(part: nn.Module) -> Iterator[str]:
    """What decides what a module computes, apart from its tensors: the code of its class, and its settings."""
    kind: Any = type(part)
    yield source_of(kind)
    for name, value in sorted(vars(part).items()):
        if isinstance(value, (int, float, str, tuple, list)) and name != "training" and name[0] != "_":
            yield f"{name}={value}"
        elif inspect.isfunction(value):
            yield f"{name}={source_of(value)}"


@lru_cache
def source_of(thing: Any) -> str:
    """Name and file of a class or function; the file as a whole, which also holds what it calls there.

    To look for the lines of a class in it would take as long as many a run.
    """
    try:
        file = inspect.getsourcefile(thing)
    except TypeError:  # made in an interactive session, or compiled
        file = None
    return f"{thing.__module__}.{thing.__qualname__} {_hash_of(file) if file and Path(file).is_file() else ''}"


@lru_cache
def _hash_of(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
