"""Floating-point operations of a training, counted on one batch of it."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tlx.module import TransferModule
from tlx.network.modes import in_eval_mode
from tlx.plan import apply_phase


def flops_per_example(module: TransferModule, batch: dict[str, Tensor], phase: int | None) -> float:
    """Multiplications and additions for one example: of the forward pass, and of the backward pass of a `phase` too.

    Counts matrix products, convolutions and attention (torch's FlopCounterMode), which dominate; a multiply-add is two.
    Nothing is trained: gradients and modes are as before afterwards, no random number is drawn.
    """
    before = [(p, p.requires_grad) for p in module.parameters()]
    batch = {name: value.to(module.device) for name, value in batch.items()}
    try:
        # The plain kernel: torch does not count the fused one of CPUs.
        with in_eval_mode(module), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            if phase is None:
                with torch.no_grad():
                    module(batch)
            else:
                apply_phase(module, module.plan, phase)
                module.task.loss(module(batch), batch).backward()
    finally:
        module.zero_grad(set_to_none=True)
        for parameter, allowed in before:
            parameter.requires_grad_(allowed)
    return counter.get_total_flops() / len(batch["label"])


def training_flops(module: TransferModule, batch: dict[str, Tensor], steps: Sequence[int], batch_size: int) -> float:
    """Operations of a training with so many optimiser steps in each phase, of `batch_size` examples each.

    The examples of `batch` stand for all: for texts and speech of other lengths this is an estimate.
    """
    each = [flops_per_example(module, batch, phase) if count else 0.0 for phase, count in enumerate(steps)]
    return sum(flops * count * batch_size for flops, count in zip(each, steps, strict=True))
