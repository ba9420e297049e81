"""Scoring a part of a run's data, and where that is computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor

from tlx.data.loaders import eval_loader
from tlx.module import TransferModule, computed_features, known_score, score
from tlx.tasks.classification import ClassificationMeter


def evaluate(module: TransferModule, loaders: dict[str, Any], part: str) -> ClassificationMeter:
    """One pass over a part in eval mode, without gradients; from the head on where its features are kept."""
    features = module.features(part)
    if features is None:
        return score(module, module.task, loaders[part], forward=lambda batch: module.logits(batch, part))
    return known_score(module.task, features, loaders[part].dataset.labels)


def features_of(module: TransferModule, loaders: dict[str, Any], part: str) -> Tensor:
    """(n, D): what the backbone makes of each example of a part, kept or computed."""
    known = module.features(part)
    if known is not None:
        return known
    data = loaders[part].dataset  # without an epoch its examples come as they are, in the order of their positions
    return computed_features(module, module.task, eval_loader(data, 128))[0]


@contextmanager
def moved(module: TransferModule, device: torch.device) -> Iterator[None]:
    """The module is on `device` while this context is open, and on the CPU afterwards."""
    module.to(device)
    try:
        yield
    finally:
        module.cpu()


def device_of(config: dict[str, Any]) -> torch.device:
    """Where this process computes: its first device of the kind that the config names."""
    return _device(config["trainer"]["accelerator"])


@cache
def _device(accelerator: str) -> torch.device:
    """Asked for once a process: Lightning looks through all installed packages each time."""
    return Fabric(accelerator=accelerator, devices=1).device
