"""Forgetting: positive means something was forgotten, whichever way the score points; measured in any Trainer."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tlx.callbacks.forgetting import ForgettingMeter, forgetting

scores = st.floats(0, 1)


@given(scores, scores)
def test_positive_means_forgotten_in_both_directions(before: float, after: float) -> None:
    assert forgetting(before, after) == before - after
    assert forgetting(before, after, higher_is_better=False) == after - before


def test_examples_with_their_signs() -> None:
    assert forgetting(0.9, 0.6) == pytest.approx(0.3)  # accuracy fell
    assert forgetting(0.6, 0.9) == pytest.approx(-0.3)  # it rose: nothing was forgotten
    assert forgetting(0.2, 1.2, higher_is_better=False) == pytest.approx(1.0)  # loss rose


class Foreign(L.LightningModule):
    """Learned y = x[0] > 0 before; is now trained on the opposite."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2))
        with torch.no_grad():
            self.net[1].weight.copy_(torch.tensor([[-0.5, 0.0], [0.5, 0.0]]))
            self.net[1].bias.zero_()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


X = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))


def source_scores(module: nn.Module) -> dict[str, float]:
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    with torch.no_grad():
        logits, y = module.net(X), (X[:, 0] > 0).long()
        result = {
            "accuracy": float((logits.argmax(1) == y).float().mean()),
            "loss": float(nn.functional.cross_entropy(logits, y)),
        }
    for part, training in modes:
        part.training = training
    return result


def fit(meter: ForgettingMeter, flip: bool = True, epochs: int = 3, **options: Any) -> tuple[Foreign, L.Trainer]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = Foreign()
    y = (X[:, 0] < 0).long() if flip else (X[:, 0] > 0).long()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[meter],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(TensorDataset(X, y), batch_size=8), **options)
    return module, trainer


def test_what_the_opposite_task_makes_a_module_forget() -> None:
    meter = ForgettingMeter(source_scores)
    module, _ = fit(meter)
    assert meter.before["accuracy"] == 1.0 and meter.after["accuracy"] < 0.2
    forgotten = meter.measure_after(module)
    assert forgotten["accuracy"] > 0.8 and forgotten["loss"] > 1.0
    assert meter.after == source_scores(module)


def test_more_of_the_same_task_makes_it_forget_nothing() -> None:
    meter = ForgettingMeter(source_scores)
    module, _ = fit(meter, flip=False)
    forgotten = meter.measure_after(module)
    assert forgotten["loss"] < -0.1 and forgotten["accuracy"] < 0.1


def test_measuring_does_not_change_the_training() -> None:
    class Nothing(ForgettingMeter):
        def on_fit_start(self, *_: Any) -> None: ...

        def on_fit_end(self, *_: Any) -> None: ...

    measured, plain = fit(ForgettingMeter(source_scores))[0], fit(Nothing(source_scores))[0]
    assert all(torch.equal(a, b) for a, b in zip(measured.parameters(), plain.parameters(), strict=True))


def test_the_caller_may_measure_the_end_itself() -> None:
    meter = ForgettingMeter(source_scores, at_fit_end=False)
    module, _ = fit(meter)
    assert meter.before and not meter.after
    assert meter.measure_after(module).keys() == {"accuracy", "loss"}


def test_a_resumed_run_compares_with_the_score_before_the_first_step(tmp_path: Path) -> None:
    _, trainer = fit(ForgettingMeter(source_scores), epochs=2)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    meter = ForgettingMeter(source_scores)
    fit(meter, epochs=4, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert meter.before["accuracy"] == 1.0


def test_other_scores_may_point_downwards_too() -> None:
    meter = ForgettingMeter(lambda module: {"wer": 0.1}, lower_is_better=("wer",))
    meter.before = {"wer": 0.04}
    assert meter.measure_after(Foreign())["wer"] == pytest.approx(0.06)


def test_a_network_that_did_not_change_is_not_scored_again() -> None:
    asked = []

    def scores(module: nn.Module) -> dict[str, float]:
        asked.append(module)
        return {"accuracy": 0.75, "loss": 0.5}

    meter = ForgettingMeter(scores)
    meter.measure_before(nn.Linear(1, 1))
    assert meter.measure_unchanged() == {"accuracy": 0.0, "loss": 0.0}
    assert meter.after == {"accuracy": 0.75, "loss": 0.5} and len(asked) == 1
