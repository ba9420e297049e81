"""A run that is killed and taken up again ends with the weights of the run that nobody disturbed, bit for bit."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tlx.callbacks.mixout import Mixout
from tlx.callbacks.phases import PhaseSchedule
from tlx.data.loaders import Examples, eval_loader, train_loader
from tlx.fit.seeding import RandomState, seed_everything
from tlx.models.backbone import Backbone
from tlx.module import TransferModule
from tlx.plan import frozen_hash
from tlx.schedules import linear
from tlx.strategies.freezing import Gradual
from tlx.strategies.learning_rates import Discriminative
from tlx.strategies.strategy import TransferStrategy
from tlx.tasks.classification import Classification

EPOCHS, BATCHES, BATCH_SIZE = 6, 7, 4
STARTS = [0, 10, 21, 32]  # of the four phases, in optimiser steps: two of them in the middle of an epoch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Vectors:
    """Examples are vectors; augmentation adds noise."""

    def key(self) -> str:
        return "vectors"

    def encode(self, raw: Any) -> Any:
        return raw

    def length(self, example: np.ndarray) -> int:
        return int(abs(example[0]) * 10)

    def augment(self, example: np.ndarray, augmentation: Any, rng: np.random.Generator) -> np.ndarray:
        return example + augmentation["noise"] * rng.standard_normal(len(example)).astype(np.float32)

    def collate(self, examples: Sequence[np.ndarray]) -> dict[str, Tensor]:
        return {"x": torch.from_numpy(np.stack(examples))}


class Tiny(Backbone):
    modality = "image"
    layers = (("stem", r"stem\."), ("block", r"blocks\.(\d+)\."))

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.ModuleDict(
            {
                "stem": nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3)),
                "blocks": nn.ModuleList(
                    nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.LayerNorm(8), nn.ReLU(), nn.Dropout(0.3))
                    for _ in range(2)
                ),
            }
        )
        self.feature_dim, self.preprocessing = 8, Vectors()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        x = self.network["stem"](batch["x"])
        for block in self.network["blocks"]:
            x = block(x)
        return x


def build(mixout: bool, workers: int) -> tuple[TransferModule, Any, Any, list[L.Callback]]:
    """A run from its beginning, as a new process would make it."""
    seed_everything(3)
    backbone = Tiny()
    task = Classification(8, ["a", "b", "c"], ["accuracy"], dropout=0.2)
    strategy = TransferStrategy(freezing=Gradual(share=0.75), learning_rates=Discriminative(0.5))
    module = TransferModule(
        backbone,
        task,
        strategy.plan(backbone, task),
        lr=0.02,
        weight_decay=0.05,
        optimizer=partial(torch.optim.AdamW, fused=True),
        schedule=partial(linear, warmup=0.1),
    )
    x = np.random.default_rng(0).standard_normal((BATCHES * BATCH_SIZE, 6)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0)
    train = train_loader(Examples(x, y, Vectors(), {"noise": 0.1}, 3), BATCH_SIZE, 3, True, workers)
    callbacks: list[L.Callback] = [PhaseSchedule(), RandomState()]
    if mixout:
        callbacks.append(Mixout(0.5, select=lambda name, layer: name.startswith("backbone.")))
    return module, train, eval_loader(Examples(x[:8], y[:8], Vectors()), 8), callbacks


class Kill(L.Callback):
    """Raises at the start of an epoch, or right before a batch."""

    def __init__(self, epoch: int, batch: int | None = None) -> None:
        self.place = (epoch, batch)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.place == (trainer.current_epoch, None):
            raise RuntimeError("killed")

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self.place == (trainer.current_epoch, batch_idx):
            raise RuntimeError("killed")


def fit(
    *more: L.Callback, mixout: bool = False, workers: int = 0, resume: Path | None = None, **options: Any
) -> tuple[TransferModule, L.Trainer]:
    module, train, validation, callbacks = build(mixout, workers)
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=[*callbacks, *more],
        logger=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in more),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        gradient_clip_val=1.0,
        **({"max_epochs": EPOCHS} | options),
    )
    trainer.fit(module, train, validation, ckpt_path=resume, weights_only=True if resume else None)
    return module, trainer


def every_epoch(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)


def every_step(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, "last", every_n_train_steps=1, enable_version_counter=False)


def assert_same_end(one: tuple[TransferModule, L.Trainer], other: tuple[TransferModule, L.Trainer]) -> None:
    states = [module.state_dict() for module, _ in (one, other)]
    assert list(states[0]) == list(states[1])
    different = [n for n in states[0] if not torch.equal(states[0][n], states[1][n])]
    assert not different
    moments = [trainer.optimizers[0].state_dict()["state"] for _, trainer in (one, other)]
    assert moments[0].keys() == moments[1].keys()
    assert all(torch.equal(moments[0][i][k], moments[1][i][k]) for i in moments[0] for k in moments[0][i])


@pytest.fixture(scope="module")
def undisturbed() -> Callable[[bool], tuple[TransferModule, L.Trainer]]:
    torch.set_num_threads(1)
    done = {mixout: fit(mixout=mixout) for mixout in (False, True)}
    return lambda mixout: done[mixout]


def test_the_run_has_four_phases_that_all_train(undisturbed: Callable) -> None:
    module, trainer = undisturbed(False)
    schedule = next(c for c in trainer.callbacks if isinstance(c, PhaseSchedule))
    assert schedule.starts == STARTS and trainer.global_step == EPOCHS * BATCHES
    fresh = build(False, 0)[0].state_dict()
    assert not any(torch.equal(fresh[n], t) for n, t in module.state_dict().items())


@pytest.mark.parametrize("mixout", [False, True], ids=["plain", "mixout"])
@pytest.mark.parametrize("epoch", range(1, EPOCHS))
def test_killed_at_any_epoch_boundary(undisturbed: Callable, tmp_path: Path, epoch: int, mixout: bool) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        fit(every_epoch(tmp_path), Kill(epoch), mixout=mixout)
    resumed = fit(every_epoch(tmp_path), mixout=mixout, resume=tmp_path / "last.ckpt")
    assert_same_end(resumed, undisturbed(mixout))


@pytest.mark.parametrize("mixout", [False, True], ids=["plain", "mixout"])
@pytest.mark.parametrize("place", [(0, 3), (1, 4), (3, 1), (4, 6)])
def test_killed_in_the_middle_of_an_epoch(
    undisturbed: Callable, tmp_path: Path, place: tuple[int, int], mixout: bool
) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        fit(every_step(tmp_path), Kill(*place), mixout=mixout)
    resumed = fit(every_step(tmp_path), mixout=mixout, resume=tmp_path / "last.ckpt")
    assert_same_end(resumed, undisturbed(mixout))


@pytest.mark.parametrize("place", [(2, None), (3, 2)], ids=["boundary", "middle"])
def test_killed_with_worker_processes(undisturbed: Callable, tmp_path: Path, place: tuple[int, int | None]) -> None:
    checkpoint = every_epoch if place[1] is None else every_step
    with pytest.raises(RuntimeError, match="killed"):
        fit(checkpoint(tmp_path), Kill(*place), workers=2)
    resumed = fit(checkpoint(tmp_path), workers=2, resume=tmp_path / "last.ckpt")
    assert_same_end(resumed, undisturbed(False))


def test_killed_with_gradient_accumulation(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        fit(every_epoch(tmp_path), Kill(3), accumulate_grad_batches=2)
    resumed = fit(every_epoch(tmp_path), resume=tmp_path / "last.ckpt", accumulate_grad_batches=2)
    assert_same_end(resumed, fit(accumulate_grad_batches=2))


class SaveAt(L.Callback):
    """Writes a checkpoint after a batch, as one that goes by the clock may at any batch."""

    def __init__(self, file: Path, epoch: int, batch: int) -> None:
        self.file, self.place = file, (epoch, batch)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        if self.place == (trainer.current_epoch, args[-1]):
            trainer.save_checkpoint(self.file)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_saved_while_gradients_are_accumulated(tmp_path: Path, batch: int) -> None:
    file, options = tmp_path / "some.ckpt", {"accumulate_grad_batches": 3}
    whole = fit(SaveAt(file, 3, batch), **options)
    assert_same_end(fit(resume=file, **options), whole)


def test_killed_where_the_length_is_given_in_steps(undisturbed: Callable, tmp_path: Path) -> None:
    length = {"max_epochs": -1, "max_steps": EPOCHS * BATCHES}
    with pytest.raises(RuntimeError, match="killed"):
        fit(every_step(tmp_path), Kill(3, 2), **length)
    assert_same_end(fit(every_step(tmp_path), resume=tmp_path / "last.ckpt", **length), undisturbed(False))


def test_killed_twice(undisturbed: Callable, tmp_path: Path) -> None:
    resume = None
    for epoch in (1, 4):
        with pytest.raises(RuntimeError, match="killed"):
            fit(every_epoch(tmp_path), Kill(epoch), resume=resume)
        resume = tmp_path / "last.ckpt"
    assert_same_end(fit(every_epoch(tmp_path), resume=resume), undisturbed(False))


def test_killed_twice_in_one_epoch(undisturbed: Callable, tmp_path: Path) -> None:
    resume = None
    for batch in (2, 5):
        with pytest.raises(RuntimeError, match="killed"):
            fit(every_step(tmp_path), Kill(1, batch), resume=resume)
        resume = tmp_path / "last.ckpt"
    assert_same_end(fit(every_step(tmp_path), resume=resume), undisturbed(False))


class Foreign(L.LightningModule):
    """Knows nothing of tlx; its shuffled loader draws from the global generator."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 2))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.05)


@pytest.mark.parametrize("workers", [0, 1])
def test_anybodys_run_is_killed_at_an_epoch_boundary(tmp_path: Path, workers: int) -> None:
    def run(*callbacks: L.Callback, resume: Path | None = None) -> Tensor:
        seed_everything(0)
        module, x = Foreign(), torch.randn(24, 6)
        loader = DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), 4, shuffle=True, num_workers=workers)
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=4,
            callbacks=[RandomState(), *callbacks],
            logger=False,
            enable_checkpointing=bool(callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader, ckpt_path=resume, weights_only=True if resume else None)
        return torch.cat([p.detach().flatten() for p in module.parameters()])

    whole = run()
    with pytest.raises(RuntimeError, match="killed"):
        run(every_epoch(tmp_path), Kill(2))
    assert torch.equal(run(every_epoch(tmp_path), resume=tmp_path / "last.ckpt"), whole)


def test_after_resuming_every_trainable_parameter_is_in_exactly_one_optimiser_group(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        fit(every_epoch(tmp_path), Kill(4))
    module, trainer = fit(resume=tmp_path / "last.ckpt")
    listed = [id(p) for g in trainer.optimizers[0].param_groups for p in g["params"]]
    assert sorted(listed) == sorted(id(p) for p in module.parameters())
    assert all(group["params"] for group in trainer.optimizers[0].param_groups)
    assert len(trainer.optimizers[0].state) == len(listed)


def test_checkpoints_hold_nothing_but_tensors_numbers_and_text(tmp_path: Path) -> None:
    fit(every_epoch(tmp_path), mixout=True)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert content["epoch"] == EPOCHS - 1 and "RandomState" in content["callbacks"]


def frozen_stem() -> TransferModule:
    module, _, _, _ = build(False, 0)
    module.plan.phases = module.plan.phases[:2]  # the head, then the block below it
    return module


def test_a_checkpoint_holds_what_a_phase_trains_and_fits_nothing_else() -> None:
    module = frozen_stem()
    state = module.trained_state()
    assert {n.rsplit(".", 2)[0] for n in state} == {"backbone.network.blocks.1"} | {"task.head"}
    assert "backbone.network.blocks.1.1.running_mean" in state
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["state_dict"].keys() == state.keys()
    module.on_load_checkpoint(checkpoint)
    for spoilt in (dict(list(state.items())[1:]), state | {"backbone.network.stem.0.weight": torch.zeros(8, 6)}):
        with pytest.raises(RuntimeError, match="does not hold the tensors that this run trains"):
            module.on_load_checkpoint({"state_dict": spoilt})
    module.base = frozen_hash(module, module.plan)
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    module.on_load_checkpoint(checkpoint)
    with torch.no_grad():
        module.get_parameter("backbone.network.stem.0.weight").add_(1e-3)
    module.base = frozen_hash(module, module.plan)
    with pytest.raises(RuntimeError, match="other frozen weights"):
        module.on_load_checkpoint(checkpoint)


def test_a_checkpoint_of_another_plan_is_refused_on_resume(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        fit(every_epoch(tmp_path), Kill(1))
    module, train, _, callbacks = build(False, 0)
    module.plan.phases = module.plan.phases[:1]
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    with pytest.raises(RuntimeError, match="does not hold the tensors"):
        trainer.fit(module, train, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
