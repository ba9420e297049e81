"""A run that falls behind scratch, or its own start, says so once; in any Trainer, without changing it."""

import logging

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tlx.callbacks.negative_transfer import NegativeTransferWarning, score_at

CURVES = [[(2, 0.3), (4, 0.5), (6, 0.7)], [(2, 0.4), (4, 0.6), (6, 0.8)]]


def test_a_curve_is_read_up_to_a_step() -> None:
    assert [score_at(CURVES[0], step) for step in (1, 2, 3, 4, 99)] == [None, 0.3, 0.3, 0.5, 0.7]


class Foreign(L.LightningModule):
    """Scores what it is told to, one score a validation."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores, self.layer = scores, nn.Linear(2, 2)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("score", self.scores[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize(
    ("scores", "higher", "said"),
    [
        ([0.35, 0.55, 0.75], True, []),  # between the seeds
        ([0.29, 0.55, 0.69], True, []),  # behind, but never twice one after the other
        ([0.35, 0.49, 0.69], True, ["score is 0.690, worse than 0.700, all 2 runs from scratch at step 6"]),
        ([0.5, 0.7, 0.9], False, ["score is 0.700, worse than 0.600, all 2 runs from scratch at step 4"]),
        (
            [0.45, 0.1, 0.2],
            True,
            ["score is 0.200, worse than 0.700, all 2", "worse than 0.250, before the first step"],
        ),
    ],
)
def test_what_is_said(scores: list[float], higher: bool, said: list[str], caplog) -> None:
    untrained = 0.25 if higher else 1.0
    watch = NegativeTransferWarning("score", CURVES, untrained, higher)
    trainer = L.Trainer(
        max_epochs=3,
        callbacks=[watch],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
    )
    with caplog.at_level(logging.WARNING, logger="tlx"):
        trainer.fit(Foreign(scores), DataLoader(torch.ones(4, 2), 2), DataLoader(torch.ones(2, 2), 2))
    assert len(watch.messages) == len(said)
    assert all(text in message for text, message in zip(said, watch.messages, strict=True))
    heard = [r.getMessage() for r in caplog.records if r.name.startswith("tlx")]
    assert heard == watch.messages
    again = NegativeTransferWarning("score")
    again.load_state_dict(watch.state_dict())
    assert again.messages == watch.messages and again.behind == watch.behind
