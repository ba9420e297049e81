"""Phases that a metric moves on, and the best weights at a phase's start, in somebody else's module."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tlx.callbacks.best_of_phase import BestOfPhase
from tlx.callbacks.patience import Patience
from tlx.callbacks.phases import GradualUnfreezing
from tlx.errors import UserError
from tlx.network.proposed_groups import propose_groups

BATCHES = 3


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


class Scripted(L.LightningModule):
    """A network that knows nothing of tlx; its validation scores are given, one an epoch."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = scores
        self.net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh())
        self.head = nn.Linear(3, 2)
        self.after: list[dict[str, Tensor]] = []  # weights at the end of each epoch
        self.began: list[dict[str, Tensor]] = []
        self.trained: list[str] = []

    def tensors(self) -> dict[str, Tensor]:
        return {n: t.clone() for n, t in self.state_dict().items()}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if batch_idx == 0:
            self.began.append(self.tensors())
            parts = {"0": self.net[0], "3": self.net[3], "h": self.head}
            self.trained.append("".join(n for n, part in parts.items() if part.weight.requires_grad))
        return nn.functional.cross_entropy(self.head(self.net(batch[0])), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.after.append(self.tensors())
            self.log("score", self.scores[self.trainer.current_epoch])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.3)


def fit(module: Scripted, *callbacks: L.Callback, ckpt: Path | None = None, **options: Any) -> L.Trainer:
    x = torch.randn(4 * BATCHES, 3, generator=torch.Generator().manual_seed(1))
    loader = DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=4)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    settings = {"accelerator": "cpu", "max_epochs": len(module.scores), "enable_model_summary": False} | quiet | options
    trainer = L.Trainer(callbacks=list(callbacks), **settings)
    trainer.fit(module, loader, loader, ckpt_path=ckpt)
    return trainer


SCORES = [0.5, 0.6, 0.5, 0.4, 0.1, 0.2, 0.2, 0.1, 0.7, 0.6, 0.6, 0.9]


def test_a_plateau_moves_on_and_ends_the_last_phase() -> None:
    module, phases = Scripted(SCORES), GradualUnfreezing(propose_groups, timed=False)
    trainer = fit(module, phases, Patience(phases, "score", "max", 2), max_epochs=-1)
    assert [g.name for g in phases.plan.groups] == ["net.0", "net.3", "head"]
    assert module.trained == ["h"] * 4 + ["3h"] * 4 + ["03h"] * 3
    assert phases.starts == [0, 4 * BATCHES, 8 * BATCHES] and trainer.current_epoch == 11


def test_a_phase_ends_at_its_time_or_at_a_plateau_whichever_comes_first() -> None:
    module = Scripted([0.1, 0.2, 0.3, 0.4, 0.4, 0.3, 0.5, 0.6, 0.7, 0.8])
    phases = GradualUnfreezing(propose_groups, epochs_per_phase=3)
    fit(module, phases, Patience(phases, "score", "max", 2))
    assert module.trained == ["h"] * 3 + ["3h"] * 3 + ["03h"] * 4


def test_moved_on_by_batches_where_the_module_optimises_by_hand() -> None:
    class ByHand(Scripted):
        def __init__(self, scores: list[float]) -> None:
            super().__init__(scores)
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            self.optimizers().zero_grad()
            self.manual_backward(loss)
            self.optimizers().step()
            return loss

    for rule in ({"timed": False}, {"epochs_per_phase": 5}):
        module, phases = ByHand(SCORES), GradualUnfreezing(propose_groups, **rule)
        fit(module, phases, Patience(phases, "score", "max", 2))
        assert module.trained == ["h"] * 4 + ["3h"] * 4 + ["03h"] * 3


def test_without_a_length_or_a_plateau_the_first_phase_lasts(caplog: pytest.LogCaptureFixture) -> None:
    module = Scripted([0.1, 0.2, 0.3])
    phases = GradualUnfreezing(propose_groups, timed=False)
    fit(module, phases, Patience(phases, "score", "max", 2))
    assert module.trained == ["h"] * 3
    assert "ended in phase 1 of 3: net.0, net.3 never began to be trained" in caplog.text
    with pytest.raises(UserError, match="timed=False have no epochs_per_phase"):
        GradualUnfreezing(propose_groups, epochs_per_phase=2, timed=False)


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return all(torch.equal(left[n], right[n]) for n in left)


@pytest.mark.parametrize("rule", [{"timed": False}, {"epochs_per_phase": 4}])
def test_a_phase_begins_with_the_best_weights_of_the_one_before(rule: dict) -> None:
    module, phases = Scripted(SCORES), GradualUnfreezing(propose_groups, **rule)
    fit(module, phases, BestOfPhase(phases, "score", "max"), Patience(phases, "score", "max", 2))
    starts = [4, 8]  # best in the epochs 1 and 5, the first of two
    for epoch, began in enumerate(module.began):
        if epoch in starts:
            assert equal(began, module.after[{4: 1, 8: 5}[epoch]])
            assert not equal(began, module.after[epoch - 1])
        elif epoch:
            assert equal(began, module.after[epoch - 1])
    plain, phases = Scripted(SCORES), GradualUnfreezing(propose_groups, **rule)
    fit(plain, phases, Patience(phases, "score", "max", 2))
    assert equal(plain.began[4], plain.after[3])


def test_of_a_loss_the_least_is_best_and_a_checkpoint_keeps_it(tmp_path: Path) -> None:
    scores = [-score for score in SCORES]

    class Save(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if trainer.current_epoch == 2:
                trainer.save_checkpoint(tmp_path / "third.ckpt")

    def parts() -> list[L.Callback]:
        phases = GradualUnfreezing(propose_groups, timed=False)
        return [phases, BestOfPhase(phases, "score", "min"), Patience(phases, "score", "min", 2)]

    whole = Scripted(scores)
    fit(whole, *parts(), Save())
    resumed = Scripted(scores)
    fit(resumed, *parts(), ckpt=tmp_path / "third.ckpt")
    assert resumed.trained == whole.trained[3:]
    assert equal(resumed.began[1], whole.after[1]) and equal(resumed.after[-1], whole.after[-1])


def test_what_cannot_be_is_refused() -> None:
    phases = GradualUnfreezing(propose_groups)
    with pytest.raises(UserError, match="its schedule of phases before it"):
        fit(Scripted(SCORES), BestOfPhase(phases, "score", "max"), phases)
    with pytest.raises(UserError, match="its schedule of phases before it"):
        fit(Scripted(SCORES), BestOfPhase(phases, "score", "max"))
    with pytest.raises(UserError, match="looks at val_acc, which is not logged; what is logged: score"):
        fit(Scripted(SCORES), phases, BestOfPhase(phases, "val_acc", "max"))
    with pytest.raises(UserError, match="allowed are 'min' and 'max'"):
        BestOfPhase(phases, "score", "maximum")
