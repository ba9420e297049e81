"""Pretrained weights without what they know: each tensor keeps its values and loses their order."""

import torch
from torch import nn

STATISTICS = ("running_mean", "running_var")


@torch.no_grad()
def shuffle(network: nn.Module) -> None:
    """Permute every trainable parameter, and batch normalisation's statistics, within itself.

    What training starts from has the scale of the pretrained weights, layer by layer, and none of their features. The
    permutations are drawn from torch's global generator. Fixed parameters (sinusoidal positions) belong to the
    architecture and stay.
    """
    statistics = [b for name, b in network.named_buffers() if name.rpartition(".")[2] in STATISTICS]
    for tensor in [*(p for p in network.parameters() if p.requires_grad), *statistics]:
        tensor.copy_(tensor.flatten()[torch.randperm(tensor.numel())].view_as(tensor))
