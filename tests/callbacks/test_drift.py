"""Drift: CKA is one for the same features up to rotation and scale, about zero for unrelated ones; in any Trainer."""

import lightning as L
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tlx.callbacks.drift import DriftMeter, gram, hsic, linear_cka, outputs
from tlx.layer_groups import LayerGroup, group_layers


def features(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(st.integers(4, 30), st.integers(1, 40), st.floats(0.1, 10), st.integers(0, 99))
def test_rotation_and_scale_change_nothing(n: int, d: int, scale: float, seed: int) -> None:
    x = features(n, d, seed)
    rotation, _ = torch.linalg.qr(features(d, d, seed + 1))
    assert linear_cka(gram(x), gram(scale * x @ rotation)) == pytest.approx(1, abs=1e-4)


def test_unrelated_features_are_unlike_even_when_there_are_more_than_examples() -> None:
    values = [linear_cka(gram(features(40, 500, 2 * i)), gram(features(40, 500, 2 * i + 1))) for i in range(20)]
    assert abs(sum(values) / 20) < 0.05  # the biased estimate is about 0.93 here


def test_the_estimate_is_unbiased() -> None:
    """Over all ordered quadruples of different examples, the definition that the estimate is unbiased for."""
    k, m = gram(features(6, 3, 0)), gram(features(6, 2, 1))
    terms = [
        k[i, j] * m[i, j] + k[i, j] * m[q, r] - 2 * k[i, j] * m[i, q]
        for i in range(6)
        for j in range(6)
        for q in range(6)
        for r in range(6)
        if len({i, j, q, r}) == 4
    ]
    assert hsic(k, m) == pytest.approx(float(sum(terms)) / len(terms))


def test_few_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="four examples or more; there are 3"):
        linear_cka(torch.eye(3), torch.eye(3))


class Foreign(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Linear(5, 8), nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x).relu()
        return self.head(x)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch), (batch[:, 0] > 0).long())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([*self.blocks[1].parameters(), *self.head.parameters()], lr=0.5)


def layers(module: nn.Module) -> list[LayerGroup]:
    return group_layers(module, [("stem", "stem"), ("block", r"blocks\.(\d+)"), ("head", "head")])


def test_in_anybodys_trainer_what_was_trained_drifts() -> None:
    torch.manual_seed(0)
    module, x = Foreign(), features(64, 5, 3)
    module.eval()
    meter = DriftMeter(layers, x)
    trainer = L.Trainer(
        max_epochs=5,
        callbacks=[meter],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(x, 8))
    assert meter.similarity.keys() == {"stem", "block0", "block1", "head"}
    assert meter.similarity["stem"] == meter.similarity["block0"] == pytest.approx(1)
    assert meter.similarity["block1"] < 0.99
    assert outputs(module, layers(module)) == {
        "stem": ["stem"],
        "block0": ["blocks.0"],
        "block1": ["blocks.1"],
        "head": ["head"],
    }
