"""A loss that became NaN ends the run at once, in tlx's runs and in anybody's Trainer."""

import re

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tlx.callbacks.divergence import Diverged, StopOnDivergence, first_broken_group
from tlx.layer_groups import group_layers
from tlx.plan import ParameterPlan


class Foreign(L.LightningModule):
    """Knows nothing of tlx; its loss becomes NaN at the third step."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 1)
        self.steps = 0

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        self.steps += 1
        return self.net(batch[0]).square().mean() * (float("nan") if self.steps == 3 else 1.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.25)


def test_in_anybodys_trainer() -> None:
    module = Foreign()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=5,
        callbacks=[StopOnDivergence()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with pytest.raises(Diverged, match=r"loss is nan at step 3: all weights|learning rate 0\.25"):
        trainer.fit(module, DataLoader(TensorDataset(torch.randn(8, 4)), 4))
    assert module.steps == 3


def test_the_lowest_broken_group_is_named() -> None:
    module = nn.ModuleDict({"stem": nn.Linear(2, 2), "block": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    plan = ParameterPlan.of(module, group_layers(module, [(n, rf"{n}\.") for n in ("stem", "block", "head")]))
    assert first_broken_group(module, plan) is None
    for name in ("head", "block"):
        with torch.no_grad():
            module[name].weight[0, 0] = float("inf")
        assert first_broken_group(module, plan) == name


def test_a_run_with_an_impossible_rate(tlx) -> None:
    outcome = tlx.train("optimizer=sgd", "optimizer.lr=1e25", "trainer.gradient_clip=null", "trainer.max_epochs=5")
    assert outcome.code == 1 and "Diverged: the training loss is" in outcome.err
    (record,) = tlx.records()
    assert record["status"] == "failed" and record["error"]["type"] == "Diverged"
    # The rate is the one in effect, with the schedule's factor.
    assert re.search(r"layer group \w+ is not finite, learning rate \de\+2[45]\.", record["error"]["message"])
    assert record["counts"]["test_reads"] == 0
