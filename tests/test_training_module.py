"""The one LightningModule: what it optimises, saves, selects and scores; the same seed gives the same run."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tlx.callbacks.phases import PhaseSchedule
from tlx.errors import UserError
from tlx.fit.checkpoints import BestWeights
from tlx.fit.seeding import seed_everything
from tlx.fit.selected import load_selected
from tlx.models.backbone import Backbone
from tlx.module import TransferModule, score
from tlx.schedules import linear
from tlx.strategies.freezing import FrozenBackbone, Gradual, Partial
from tlx.strategies.strategy import TransferStrategy
from tlx.tasks.classification import Classification


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Tiny(Backbone):
    modality = "image"
    layers = (("stem", r"stem\."), ("block", r"blocks\.(\d+)\."))

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Module()
        self.network.stem = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.3))
        self.network.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)) for _ in range(2))
        self.feature_dim = 6

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        x = self.network.stem(batch["x"])
        for block in self.network.blocks:
            x = block(x.relu())
        return x


def build(freezing: Any = None, seed: int = 0, weights: Path | None = None) -> TransferModule:
    seed_everything(seed)
    backbone = Tiny()
    if weights is not None:
        backbone.load(weights)
    task = Classification(6, ["a", "b"], ["accuracy", "macro_f1"])
    strategy = TransferStrategy() if freezing is None else TransferStrategy(freezing=freezing)
    optimizer = partial(torch.optim.AdamW, fused=True)
    return TransferModule(backbone, task, strategy.plan(backbone, task), 0.05, 0.1, optimizer, linear)


def data(count: int = 32) -> DataLoader:
    x = torch.randn(count, 4, generator=torch.Generator().manual_seed(1))
    items = [{"x": v, "label": (v[0] > 0).long(), "index": torch.tensor(i)} for i, v in enumerate(x)]
    return DataLoader(items, batch_size=8)


def fit(module: TransferModule, *callbacks: L.Callback, **options: Any) -> L.Trainer:
    settings: dict[str, Any] = {"max_epochs": 3} | options
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=[PhaseSchedule(), *callbacks],
        logger=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **settings,
    )
    trainer.fit(module, data(), data(12))
    return trainer


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_gives_the_same_run_bit_for_bit(seed: int) -> None:
    runs = [build(Gradual(), seed), build(Gradual(), seed), build(Gradual(), seed + 1)]
    start = [copy.deepcopy(m.state_dict()) for m in runs]
    for module, s in zip(runs, (seed, seed, seed + 1), strict=True):
        seed_everything(s)
        fit(module)
    for name in start[0]:
        assert torch.equal(start[0][name], start[1][name])
        assert torch.equal(runs[0].state_dict()[name], runs[1].state_dict()[name])
    head = "task.head.1.weight"
    assert not torch.equal(start[0][head], start[2][head])
    assert not torch.equal(runs[0].state_dict()[head], runs[2].state_dict()[head])


def test_pretrained_weights_are_the_files_whatever_the_seed_and_scratch_is_not(tmp_path: Path) -> None:
    seed_everything(9)
    stored = Tiny().network.state_dict()
    save_file(stored, tmp_path / "model.safetensors")
    one, two, scratch = (build(seed=s, weights=w) for s, w in ((0, tmp_path), (1, tmp_path), (0, None)))
    for module in (one, two):
        assert module.backbone.load_report is not None and module.backbone.load_report.share == 1.0
        assert all(torch.equal(stored[n], t) for n, t in module.backbone.network.state_dict().items())
    assert not torch.equal(one.task.head[1].weight, two.task.head[1].weight)
    assert not torch.equal(scratch.backbone.network.stem[0].weight, stored["stem.0.weight"])


def test_weights_stored_in_half_precision_are_trained_in_single(tmp_path: Path) -> None:
    save_file({n: t.half() for n, t in Tiny().network.state_dict().items()}, tmp_path / "model.safetensors")
    module = build(weights=tmp_path)
    fit(module, precision="bf16-mixed")
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert all(p.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped_under_a_fused_optimiser_in_either_precision(precision: str) -> None:
    before, after = [], []

    def norm(module: nn.Module) -> float:
        gradients = [p.grad.norm() for p in module.parameters() if p.grad is not None]
        return float(torch.linalg.vector_norm(torch.stack(gradients)))

    class Norms(L.Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            before.append(norm(pl_module))

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            after.append(norm(pl_module))

    fit(build(), Norms(), precision=precision, gradient_clip_val=1e-3)
    assert min(before) > 1e-2
    assert after == pytest.approx([1e-3] * len(before), rel=1e-2)


def test_too_few_tensors_in_the_file_are_an_error(tmp_path: Path) -> None:
    state = Tiny().network.state_dict()
    save_file({n: t for n, t in state.items() if not n.startswith("blocks.1")}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"only \d+% of the backbone's .* tensors are in"):
        build(weights=tmp_path)


def test_all_layers_are_in_the_optimiser_from_the_first_step_with_names() -> None:
    trainer = fit(build(FrozenBackbone()))
    names = [g["name"] for g in trainer.optimizers[0].param_groups]
    layers = ["stem", "block0", "block1", "head"]
    assert names == [n + suffix for n in layers for suffix in ("", "/no_decay")]
    assert all(g["params"] for g in trainer.optimizers[0].param_groups)
    # Frozen layers cost no optimiser memory.
    assert len(trainer.optimizers[0].state) == 2


def test_the_best_checkpoint_is_selected_and_not_the_last(tmp_path: Path) -> None:
    module = build(Partial(until="block1"))
    seen: list[dict[str, Tensor]] = []

    class Spoil(L.Callback):
        """The second epoch is the best; what comes later is worse."""

        def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            seen.append({n: t.clone() for n, t in module.state_dict().items()})
            pl_module.log("val/chosen", float([0.1, 0.9, 0.5, 0.4][trainer.current_epoch]))

    fit(module, Spoil(), BestWeights(tmp_path / "checkpoints", "val/chosen", "max"), max_epochs=4)
    last = {n: t.clone() for n, t in module.state_dict().items()}
    assert not all(torch.equal(seen[1][n], last[n]) for n in last)
    load_selected({"selection": "last"}, module, tmp_path)
    assert all(torch.equal(last[n], t) for n, t in module.state_dict().items())
    load_selected({"selection": "best"}, module, tmp_path)
    assert all(torch.equal(seen[1][n], t) for n, t in module.state_dict().items())


def test_what_is_never_trained_is_not_in_the_checkpoint_and_loading_leaves_it_alone(tmp_path: Path) -> None:
    last = ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    module = build(Partial(until="block1"))
    fit(module, last)
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert stored["state_dict"].keys() == module.trained_state().keys()
    assert {n.split(".")[2] for n in stored["state_dict"] if n.startswith("backbone")} == {"blocks"}
    assert "backbone.network.blocks.1.1.running_var" in stored["state_dict"]
    assert not any("hyper_parameters" in key for key in stored)


def test_scoring_leaves_modes_statistics_gradients_and_generators_as_they_were() -> None:
    module = build().train()
    module.backbone.network.stem.eval()
    modes = {n: m.training for n, m in module.named_modules()}
    before = {n: t.clone() for n, t in module.state_dict().items()}
    batches, generator = list(data()), torch.get_rng_state()
    first = score(module, module.task, batches, forward=module).compute()
    assert {n: m.training for n, m in module.named_modules()} == modes
    assert all(torch.equal(before[n], t) for n, t in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters()) and torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), generator)
    assert first == score(module, module.task, batches, forward=module).compute()


def test_an_error_while_scoring_leaves_the_modes_too() -> None:
    module = build().train()

    def broken(batch: Any) -> Tensor:
        raise ValueError("out of memory, say")

    with pytest.raises(ValueError, match="out of memory"):
        score(module, module.task, data(), forward=broken)
    assert all(m.training for m in module.modules())


def test_validation_scores_are_over_the_whole_part_and_fresh_in_every_epoch() -> None:
    module, logged = build(), []

    class Note(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            expected = score(module, module.task, data(12), forward=module).compute()
            logged.append(({k: float(v) for k, v in trainer.callback_metrics.items() if "val/" in k}, expected))

    fit(module, Note())
    assert len(logged) == 3
    for found, expected in logged:
        assert found == pytest.approx({f"val/{n}": v for n, v in expected.items()}, rel=1e-6)


def test_phases_that_do_not_fit_are_an_error_before_the_first_step() -> None:
    with pytest.raises(UserError, match="4 phases do not fit into 4 optimiser steps"):
        fit(build(Gradual(share=0.1)), max_epochs=1)
