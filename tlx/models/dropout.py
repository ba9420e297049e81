"""Dropout that costs little on a CPU, in transformers' networks.

torch draws its masks there one Bernoulli variable at a time, some ten nanoseconds each, and its attention leaves the
fused kernel where probabilities are dropped: at 200 tokens that takes half of a training step. Here sixteen random bits
decide on a value. Everywhere else (evaluation, a GPU, compiled code) torch's own functions compute.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "sdpa_with_cheap_dropout"  # transformers' name for `attention`
LEVELS = 2**16


def dropout(x: Tensor, p: float) -> Tensor:
    """Each value is 0 with chance p, else divided by 1 − p; p is rounded to a multiple of 2⁻¹⁶.

    Draws from torch's global generator.
    """
    dropped = round(p * LEVELS)
    if x.device.type != "cpu" or not 0 < dropped < LEVELS or torch.compiler.is_compiling():
        return F.dropout(x, p)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    draws = words.view(torch.int16)[: x.numel()].view(x.shape)
    return x * (draws >= dropped - LEVELS // 2).to(x.dtype).mul_(LEVELS / (LEVELS - dropped))


class Dropout(nn.Dropout):
    """`nn.Dropout` by `dropout`."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training and not self.inplace else super().forward(x)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **further: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention as transformers calls it: of query, key, value (B, heads, L, D), (B, L, heads, D).

    Where nothing is dropped, on a GPU, in compiled code and in what encoders do not have (a causal mask that is not
    given, shared keys, a position bias), it is transformers' own.
    """
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    given = attention_mask is not None or not causal
    special = any(further.get(name) is not None for name in ("position_bias", "cache", "softcap"))
    shared = query.shape[1] != key.shape[1]
    if not dropout or query.device.type != "cpu" or torch.compiler.is_compiling() or special or shared or not given:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, is_causal, **further)
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(-1, -2)
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    elif attention_mask is not None:
        scores = scores + attention_mask
    return (_dropped(scores.softmax(-1), dropout) @ value).transpose(1, 2).contiguous(), None


_dropped = dropout  # `attention` has a parameter of this name, which transformers gives


def with_cheap_dropout(network: nn.Module) -> nn.Module:
    """The network with its dropout layers replaced; its attention is chosen where it is built."""
    for parent in list(network.modules()):
        for name, part in parent.named_children():
            if type(part) is nn.Dropout:
                setattr(parent, name, Dropout(part.p, part.inplace))
    return network


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
