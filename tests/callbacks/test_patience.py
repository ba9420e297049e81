"""Patience is of a phase: a plateau moves on to the next one, and only the last one's ends the training."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tlx.callbacks.patience import Patience
from tlx.callbacks.phases import PhaseSchedule
from tlx.errors import UserError
from tlx.fit.seeding import RandomState, seed_everything
from tlx.models.backbone import Backbone
from tlx.module import TransferModule
from tlx.plan import frozen_hash
from tlx.schedules import constant, linear
from tlx.strategies.freezing import Gradual
from tlx.strategies.strategy import TransferStrategy
from tlx.tasks.classification import Classification

BATCHES = 4  # of an epoch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Tiny(Backbone):
    modality = "image"
    layers = (("stem", r"stem\."), ("block", r"blocks\.(\d+)\."))

    def __init__(self) -> None:
        super().__init__()
        blocks = nn.ModuleList([nn.Linear(5, 5), nn.Linear(5, 5)])
        self.network = nn.ModuleDict({"stem": nn.Linear(4, 5), "blocks": blocks})
        self.feature_dim = 5

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        x = self.network["stem"](batch["x"])
        for block in self.network["blocks"]:
            x = block(x.relu())
        return x


class Scripted(TransferModule):
    """Its validation scores are given."""

    scores: list[float]

    def on_validation_epoch_end(self) -> None:
        self.log("val/given", self.scores[self.trainer.current_epoch])


class Steps(L.Callback):
    """Notes the rate and the trainable groups of each optimiser step."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.trained: list[int] = []

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[-1]["lr"])
        self.trained.append(len({n.rpartition(".")[0] for n, p in pl_module.named_parameters() if p.requires_grad}))


class Kill(L.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("killed")


class Save(L.Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.save_checkpoint(self.path)


def fit(
    scores: list[float],
    patience: int,
    *more: L.Callback,
    lr_factor: float = 1.0,
    schedule: Any = constant,
    resume: Path | None = None,
    share: float = 0.75,
) -> tuple[L.Trainer, PhaseSchedule, Steps, TransferModule]:
    seed_everything(0)
    backbone = Tiny()
    task = Classification(5, ["a", "b"], ["accuracy"])
    plan = TransferStrategy(freezing=Gradual(share=share, lr_factor=lr_factor)).plan(backbone, task)
    module = Scripted(backbone, task, plan, 0.05, 0.0, partial(torch.optim.AdamW, fused=True), schedule)
    module.scores = scores
    x = torch.randn(4 * BATCHES, 4, generator=torch.Generator().manual_seed(1))
    data = DataLoader([{"x": v, "label": (v[0] > 0).long(), "index": torch.tensor(0)} for v in x], batch_size=4)
    phases, steps = PhaseSchedule(), Steps()
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=[phases, RandomState(), Patience(phases, "val/given", "max", patience), steps, *more],
        max_epochs=len(scores),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, data, data, ckpt_path=resume, weights_only=True if resume else None)
    return trainer, phases, steps, module


def test_a_plateau_moves_on_phase_by_phase_and_ends_the_training_in_the_last() -> None:
    trainer, phases, steps, _ = fit([0.5] * 20, 2)
    # Each phase: one validation that sets its best score, and two that are not better.
    assert phases.starts == [0, 12, 24, 36] and phases.phase == 3
    assert trainer.current_epoch == 12 and steps.trained == [1] * 12 + [2] * 12 + [3] * 12 + [4] * 12


def test_what_improves_goes_on_as_planned() -> None:
    trainer, phases, steps, _ = fit([i / 20 for i in range(20)], 2)
    assert phases.starts == [0, 20, 40, 60] and trainer.current_epoch == 20
    assert steps.trained == [n for n in (1, 2, 3, 4) for _ in range(20)]


def test_the_wait_of_a_phase_is_not_that_of_the_next() -> None:
    """In each phase of 5 epochs the last two are worse, and so is the next phase's beginning: 3 at a stretch."""
    scores = [0.5, 0.6, 0.7, 0.6, 0.6] + [0.2, 0.3, 0.5, 0.4, 0.4] * 3
    trainer, phases, _, _ = fit(scores, 3)
    assert phases.starts == [0, 20, 40, 60] and trainer.current_epoch == 20


def test_phases_after_one_that_ended_early_keep_their_lengths_and_the_last_takes_the_rest() -> None:
    scores = [0.5, 0.5, *(i / 40 for i in range(18))]
    trainer, phases, _, _ = fit(scores, 1)
    assert phases.starts == [0, 8, 28, 48] and trainer.current_epoch == 20


def test_a_phase_that_was_due_anyway_is_not_passed_over() -> None:
    scores = [0.5, 0.6, 0.7, 0.6, 0.6, *(i / 40 for i in range(15))]  # patience ends where the phase does
    _, phases, steps, _ = fit(scores, 2)
    assert phases.starts == [0, 20, 40, 60] and steps.trained[20] == 2


def test_a_score_that_is_no_number_ends_the_training_in_any_phase() -> None:
    trainer, phases, _, _ = fit([0.5, float("nan"), 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 2, share=0.6)
    assert trainer.current_epoch == 2 and phases.phase == 1  # of 4


def test_rates_follow_the_phases_that_were_moved_from_their_first_step_on() -> None:
    _, phases, steps, _ = fit([0.5] * 20, 2, lr_factor=0.5, schedule=linear)
    assert phases.starts == [0, 12, 24, 36]
    expected = [0.05 * linear(step, 80) * 0.5 ** (step // 12) for step in range(48)]
    assert steps.rates == pytest.approx(expected)


@pytest.mark.parametrize("killed", [5, 12, 13, 30, 41])
def test_taken_up_after_a_move_it_ends_as_if_undisturbed(tmp_path: Path, killed: int) -> None:
    options: dict[str, Any] = {"lr_factor": 0.5, "schedule": linear}
    whole = fit([0.5] * 20, 2, **options)
    with pytest.raises(RuntimeError, match="killed"):
        fit([0.5] * 20, 2, Save(tmp_path / "last.ckpt"), Kill(killed), **options)
    resumed = fit([0.5] * 20, 2, resume=tmp_path / "last.ckpt", **options)
    assert resumed[0].global_step == whole[0].global_step == 48 and resumed[1].starts == whole[1].starts
    left = len(resumed[2].rates)
    assert resumed[2].rates == whole[2].rates[-left:] and resumed[2].trained == whole[2].trained[-left:]
    for name, tensor in whole[3].state_dict().items():
        assert torch.equal(tensor, resumed[3].state_dict()[name])
    assert frozen_hash(whole[3], whole[3].plan) == frozen_hash(resumed[3], resumed[3].plan)  # type: ignore[arg-type]


def test_a_record_holds_when_phases_began_and_what_was_trained(tlx: Any) -> None:
    still = ["optimizer.lr=1e-9", "trainer.patience=1", "trainer.max_epochs=20", "trainer.batch_size=4"]
    record = tlx.record("strategy=gradual_unfreezing", "strategy.freezing.epochs_per_phase=3", *still)
    plan, counts = record["plan"], record["counts"]
    starts = [phase["start"] for phase in plan["phases"]]
    per_epoch = counts["steps"] // counts["epochs"]
    planned = [phase.get("planned_start", phase["start"]) for phase in plan["phases"]]
    assert planned == [3 * per_epoch * i for i in range(len(starts))]
    assert starts[1] == 2 * per_epoch and all(a <= b for a, b in zip(starts, planned, strict=True))
    assert plan["ended_in"] == len(starts) - 1 and counts["epochs"] < 20
    assert counts["steps"] > starts[-1] and 0 <= plan["selected_in"] <= plan["ended_in"]
    assert counts["trainable_share"] == 1.0 and not any("ended in" in text for text in record["warnings"])
    assert "layers never trained" not in tlx("table", str(tlx.runs / "adhoc")).out


def test_a_record_of_a_training_that_ended_before_its_last_phase_says_so(
    tlx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does where a score is no number; whoever sees a plateau there moves on."""

    def stop(self: Patience, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch == 3

    monkeypatch.setattr(Patience, "on_validation_end", stop)
    phases = ["strategy=gradual_unfreezing", "strategy.freezing.epochs_per_phase=3", "trainer.patience=2"]
    record = tlx.record(*phases, "trainer.max_epochs=20", "trainer.batch_size=4")
    plan, counts = record["plan"], record["counts"]
    names = [set(phase["trainable"]) for phase in plan["phases"]]
    assert plan["ended_in"] == 1 and counts["trainable"] < 0.9 * counts["parameters"]
    assert counts["trainable_share"] == counts["trainable"] / counts["parameters"]
    (said,) = [text for text in record["warnings"] if "ended in phase" in text]
    assert f"phase 2 of {len(names)}" in said and all(name in said for name in names[-1] - names[1])
    assert "layers never trained" in " ".join(tlx("table", str(tlx.runs / "adhoc")).out.split())


def test_a_schedule_that_is_not_in_the_trainer_is_missed() -> None:
    schedule = PhaseSchedule()
    trainer = L.Trainer(callbacks=[Patience(schedule, "val/given", "min", 1)], logger=False, enable_checkpointing=False)
    with pytest.raises(UserError, match=r"Patience ends the phases of a PhaseSchedule.*callbacks=\[schedule, Patience"):
        trainer.callbacks[0].setup(trainer, L.LightningModule(), "fit")
