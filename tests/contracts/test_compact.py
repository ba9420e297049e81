"""Every yaml of configs/model: with a table of the tokens that occur alone, a text network says what it said before."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tlx.data.loaders import Examples, eval_loader
from tlx.fit.compact import compact_table
from tlx.strategies.strategy import TransferStrategy

NAMES = sorted(p.stem for p in (Path(__file__).resolve().parents[2] / "configs" / "model").glob("*.yaml"))
ALONE = {"trainer": {"strategy": "auto", "devices": 1}}


@pytest.mark.parametrize("name", NAMES)
def test_features_and_gradients_are_those_of_the_full_table(contract: Any, name: str) -> None:
    backbone = contract.build(name)
    module = contract.plan(backbone, TransferStrategy())
    raw = contract.raw(backbone)
    data = Examples([backbone.preprocessing.encode(r) for r in raw], np.zeros(len(raw), int), backbone.preprocessing)
    loaders = {"train": eval_loader(data, 4), "selection": eval_loader(data, 4)}
    small, batch = compact_table(ALONE, module, loaders), contract.batch(backbone, raw)
    assert (small is not None) == (backbone.modality == "text")
    if small is None:
        return
    module.eval()
    before = module(batch)
    before.sum().backward()
    gradient = small.table.weight.grad
    with small:
        after = module(batch)
        after.sum().backward()
        assert torch.equal(after, before)
        assert torch.equal(small.table.weight.grad[:-1], gradient[small.rows])
        assert not small.table.weight.grad[-1].any()
    left_out = np.setdiff1d(np.arange(len(gradient)), small.rows)
    assert len(left_out) and not gradient[torch.from_numpy(left_out)].any()
    assert torch.equal(module(batch), before)
