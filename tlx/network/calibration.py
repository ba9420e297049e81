"""Batch normalisation of a network that has seen no examples: its statistics from those that it will be trained on."""

from typing import Any

import numpy as np
import torch
from torch import nn

from tlx.errors import UserError
from tlx.network.modes import in_eval_mode
from tlx.private import BatchNorm
from tlx.streams import stream

BATCH = 256  # examples at once at most; the statistics are the mean over batches of nearly equal size


def statistics(module: nn.Module) -> list[str]:
    """The names of the running statistics of all batch normalisation in `module`."""
    return [f"{name}.{own}" for name, part in _norms(module).items() for own, _ in part.named_buffers()]


def _norms(module: nn.Module) -> dict[str, BatchNorm]:
    return {n: m for n, m in module.named_modules() if isinstance(m, BatchNorm) and m.track_running_stats}


@torch.no_grad()
def calibrate(backbone: nn.Module, examples: Any) -> None:
    """Give the batch normalisation of a backbone the statistics of these training examples.

    A forward pass as in training, in which nothing but the statistics changes: each layer sees its inputs normalised
    by the layers below. Its order is always the same. Without any batch normalisation nothing is done.

    Raises:
        UserError: fewer than two examples: they have no variance.
    """
    norms = _norms(backbone)
    if not norms:
        return
    if len(examples) < 2:
        raise UserError("strategy.calibrate takes batch normalisation's statistics from two training examples or more.")
    order = stream(0, "calibration").permutation(len(examples))  # examples may lie class by class
    momenta = {name: norm.momentum for name, norm in norms.items()}
    device = next(backbone.parameters()).device
    with in_eval_mode(backbone):
        for norm in norms.values():
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.train()
        for chosen in np.array_split(order, -(-len(order) // BATCH)):
            batch = examples.collate([examples[int(i)] for i in chosen])
            backbone({name: value.to(device) for name, value in batch.items()})
    for name, norm in norms.items():
        norm.momentum = momenta[name]
