"""Mixout reaches every matrix of every architecture, however the network's code reads it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tlx.callbacks.mixout import Mixout

CONFIGS = Path(__file__).resolve().parents[2] / "configs/model"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_at_p_1_no_matrix_of_a_layer_has_a_gradient(contract: Any, name: str) -> None:
    backbone = contract.build(name)
    with torch.no_grad():
        for parameter in backbone.parameters():  # branches that start at zero would hide what is below them
            parameter += 0.05 * torch.randn_like(parameter)
    batch = contract.batch(backbone, contract.raw(backbone))
    callback = Mixout(1.0)
    callback.on_fit_start(None, backbone)  # type: ignore[arg-type]
    backbone.train()(batch).square().sum().backward()
    mixed = {part for part, _, _ in callback.parts(backbone)}
    moved = {n for n, p in backbone.named_parameters() if p.grad is not None and p.grad.any()}
    assert not moved & mixed
    used = {n for n, p in callback._unmixed.items() if p.grad is not None and p.grad.any()}
    assert not used
    # What else has a matrix: rows that are looked up, positions, tokens, and weights that are computed.
    rest = {n for n, p in backbone.named_parameters() if p.ndim > 1 and n in moved}
    looked_up = {f"{n}.weight" for n, m in backbone.named_modules() if isinstance(m, nn.Embedding)}
    known = ("pos_embed", "cls_token", "dist_token", "embed_positions", "parametrizations", "masked_spec_embed")
    known += ("gru_rel_pos_const",)
    assert not {n for n in rest - looked_up if not any(word in n for word in known)}
    callback.on_fit_end(None, backbone)  # type: ignore[arg-type]
    assert mixed
