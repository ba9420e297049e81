"""What is frozen below everything that is trained keeps nothing for the backward pass: its memory is not spent."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tlx.plan import apply_phase
from tlx.strategies.freezing import Gradual
from tlx.strategies.strategy import TransferStrategy

NAMES = sorted(p.stem for p in (Path(__file__).resolve().parents[2] / "configs" / "model").glob("*.yaml"))


def saved_bytes(module: torch.nn.Module, batch: dict[str, Tensor]) -> int:
    """Bytes that a forward pass keeps for the backward, the network's own tensors aside; each storage once."""
    own = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    own |= {t.untyped_storage().data_ptr() for t in batch.values()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(batch).sum()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("name", NAMES)
def test_activations_saved_for_backward_fall_with_the_frozen_share(contract: Any, name: str) -> None:
    backbone = contract.build(name)
    module = contract.plan(backbone, TransferStrategy(freezing=Gradual()))
    batch = contract.batch(backbone, contract.raw(backbone))
    kept = []
    for phase in range(len(module.plan.phases)):
        apply_phase(module.train(), module.plan, phase)
        kept.append(saved_bytes(module, batch))
    # With the head alone: the features that it reads, float32. Then more, layer by layer.
    assert kept[0] == 4 * len(next(iter(batch.values()))) * backbone.feature_dim
    assert kept[1] > kept[0]
    assert kept == sorted(kept)
