"""Random inputs of every modality, and what a backbone makes of them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlx.models.backbone import Backbone

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "a sentence of other words, with a comma and a number: 42",
    "why do short texts and long texts give the same features alone and together?",
    "stop",
]


def raw_examples(modality: str, preprocessing: Any, count: int = 4, seed: int = 0) -> list[Any]:
    """Random raw values of a modality, of different sizes and lengths."""
    rng = np.random.default_rng(seed)
    if modality == "text":
        return [TEXTS[i % len(TEXTS)] for i in range(count)]
    if modality == "image":
        return [rng.integers(0, 256, (70 + 9 * i, 80, 3), dtype=np.uint8) for i in range(count)]
    rate = preprocessing.sample_rate
    lengths = [int(rate * (0.5 + 0.1 * (i % 4))) for i in range(count)]
    return [(rng.standard_normal(n).astype(np.float32) / 10, rate) for n in lengths]


def examples_for(backbone: Backbone, count: int = 4) -> list[Any]:
    """Random raw examples of the backbone's modality."""
    return raw_examples(backbone.modality, backbone.preprocessing, count)


def batch_of(backbone: Backbone, raw: list[Any]) -> dict[str, Tensor]:
    """Raw values through the backbone's own preprocessing."""
    return backbone.preprocessing.collate([backbone.preprocessing.encode(value) for value in raw])


def features_of(backbone: Backbone, batch: dict[str, Tensor]) -> Tensor:
    """Features (B, D) in eval mode."""
    with torch.no_grad():
        return backbone.eval()(batch)
