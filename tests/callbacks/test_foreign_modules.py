"""The callbacks with what other people's modules and Trainers do: each works there, or says why it cannot."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MethodType
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch import Tensor, nn
from torch.optim import lr_scheduler as schedulers
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from tlx.callbacks.discriminative_lr import DiscriminativeLR
from tlx.callbacks.divergence import StopOnDivergence
from tlx.callbacks.drift import DriftMeter
from tlx.callbacks.forgetting import ForgettingMeter
from tlx.callbacks.mixout import Mixout
from tlx.callbacks.negative_transfer import NegativeTransferWarning
from tlx.callbacks.phases import GradualUnfreezing, PhaseSchedule
from tlx.errors import UserError
from tlx.layer_groups import LayerGroup, group_layers
from tlx.objectives.ewc import EWC
from tlx.objectives.l2_sp import L2SP
from tlx.plan import ParameterPlan, Phase

NAMES = ["stem", "block", "head"]
BATCHES = 6  # of an epoch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


class Foreign(L.LightningModule):
    """Knows nothing of tlx; its layers and optimiser are what most tutorials have."""

    def __init__(self, configure: Callable[[Any], Any] = lambda m: torch.optim.SGD(m.parameters(), lr=0.1)) -> None:
        super().__init__()
        self.configure = configure
        self.build()

    def build(self) -> None:
        self.stem, self.block, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def loss(self, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(self.head(self.block(self.stem(batch[0]).tanh()).tanh()), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def configure_optimizers(self) -> Any:
        return self.configure(self)


def groups(module: nn.Module) -> list[LayerGroup]:
    return group_layers(module, [(name, rf"{name}\.") for name in NAMES])


def dataset(batches: int = BATCHES) -> TensorDataset:
    x = torch.randn(4 * batches, 4, generator=torch.Generator().manual_seed(1))
    return TensorDataset(x, (x[:, 0] > 0).long())


def data(batches: int = BATCHES) -> DataLoader:
    return DataLoader(dataset(batches), batch_size=4)


class Endless(IterableDataset):
    """As many examples as `dataset`, and no length."""

    def __iter__(self) -> Iterator:
        return iter(dataset())


def trainer(*callbacks: L.Callback, **options: Any) -> L.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    settings = {"accelerator": "cpu", "max_epochs": 6, "enable_model_summary": False} | quiet | options
    return L.Trainer(callbacks=list(callbacks), **settings)


class Watch(L.Callback):
    """Which groups moved in each batch, as a string of their first letters, stem first."""

    def __init__(self) -> None:
        self.moved: list[str] = []
        self.last: dict[str, Tensor] = {}

    def now(self, module: nn.Module) -> dict[str, Tensor]:
        return {name: module.get_parameter(f"{name}.weight").detach().clone() for name in NAMES}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.last = self.now(pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        now = self.now(pl_module)
        self.moved.append("".join(name[0] for name in NAMES if not torch.equal(now[name], self.last[name])))
        self.last = now


def fit(
    module: Foreign, phases: PhaseSchedule, loader: Any = None, others: tuple[L.Callback, ...] = (), **options: Any
) -> list[str]:
    """Which groups each batch moved."""
    watch = Watch()
    trainer(phases, watch, *others, **options).fit(module, data() if loader is None else loader)
    return watch.moved


def thirds(batches: int, first: int, second: int) -> list[str]:
    return ["h"] * first + ["bh"] * (second - first) + ["sbh"] * (batches - second)


class ByHand(Foreign):
    """Optimises by hand, with an optimiser for the head and one for the rest, each every so many batches."""

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.every = every

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.manual_backward(self.loss(batch))
        if (batch_idx + 1) % self.every == 0:
            for optimizer in self.optimizers():
                optimizer.step()
                optimizer.zero_grad()

    def configure_optimizers(self) -> Any:
        body = [*self.stem.parameters(), *self.block.parameters()]
        return torch.optim.SGD(body, lr=0.1), torch.optim.SGD(self.head.parameters(), lr=0.1)


@pytest.mark.parametrize("rule", [{"share": 2 / 3}, {"epochs_per_phase": 2}])
def test_several_optimisers_by_hand_do_not_hasten_the_phases(rule: dict) -> None:
    assert fit(ByHand(), GradualUnfreezing(groups, **rule)) == thirds(36, 12, 24)


def test_an_optimiser_with_nothing_to_train_in_a_phase_is_said(caplog: pytest.LogCaptureFixture) -> None:
    trainer(GradualUnfreezing(groups)).fit(ByHand(), data())
    assert caplog.text.count("trains nothing that optimiser") == 1
    assert "phase 1 of 3 trains nothing that optimiser 0 (SGD) holds" in caplog.text


def test_steps_by_hand_every_other_batch_do_not_delay_the_phases() -> None:
    moved = fit(ByHand(2), GradualUnfreezing(groups, epochs_per_phase=2))
    assert moved == [m if i % 2 else "" for i, m in enumerate(thirds(36, 12, 24))]


def test_phases_in_steps_count_the_steps_of_all_optimisers_as_max_steps_does() -> None:
    assert fit(ByHand(), GradualUnfreezing(groups, steps_per_phase=6), max_epochs=2) == thirds(12, 3, 6)
    assert fit(ByHand(), GradualUnfreezing(groups, share=0.5), max_epochs=-1, max_steps=24) == thirds(12, 3, 6)


def test_by_hand_a_share_of_nobody_knows_what_is_refused() -> None:
    with pytest.raises(UserError, match=r"optimises by hand.*which of max_epochs and max_steps ends it"):
        fit(ByHand(), GradualUnfreezing(groups), max_steps=20)
    plan = ParameterPlan.of(ByHand(), groups(ByHand()))
    head, all_ = frozenset({"head"}), frozenset(NAMES)
    plan.phases = [Phase(head, steps=2), Phase(all_, epochs=1), Phase(all_)]
    with pytest.raises(UserError, match="give all phases in steps, or none"):
        fit(ByHand(), PhaseSchedule(plan))


@pytest.mark.parametrize(("rule", "starts"), [({"epochs_per_phase": 2}, [0, 12, 16]), ({"share": 2 / 3}, [0, 7, 13])])
def test_accumulation_that_changes_on_the_way_is_foreseen(rule: dict, starts: list[int]) -> None:
    phases = GradualUnfreezing(groups, **rule)
    moved = fit(Foreign(), phases, others=(GradientAccumulationScheduler({0: 1, 2: 4}),))
    # Epochs of 6, 6, 2, 2, 2 and 2 optimiser steps; with 4 of its 6 batches accumulated, an epoch steps in the
    # fourth and in the last.
    assert phases.starts == starts
    stepping = [*range(12), *(12 + 6 * e + b for e in range(4) for b in (3, 5))]
    expected = [""] * 36
    for step, batch in enumerate(stepping):
        expected[batch] = thirds(20, *phases.starts[1:])[step]
    assert moved == expected


@pytest.mark.parametrize("filtered", [False, True])
def test_a_module_that_froze_its_own_backbone(filtered: bool) -> None:
    def configure(module: Foreign) -> Any:
        return torch.optim.SGD([p for p in module.parameters() if p.requires_grad or not filtered], lr=0.1)

    def frozen() -> Foreign:
        module = Foreign(configure)
        for part in (module.stem, module.block):
            part.requires_grad_(False)
            part.eval()
        return module

    with pytest.raises(UserError, match=r"itself froze the layer groups stem, block .*own_freezing='lift'"):
        fit(frozen(), GradualUnfreezing(groups, share=2 / 3))
    module = frozen()
    assert fit(module, GradualUnfreezing(groups, share=2 / 3, own_freezing="lift")) == thirds(36, 12, 24)
    assert [n for n, p in module.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    assert "configure_optimizers" not in vars(module)
    assert set(fit(frozen(), GradualUnfreezing(groups, own_freezing="keep"))) == {"h"}


def test_a_module_that_freezes_where_this_callback_has_had_its_turn() -> None:
    class Late(Foreign):
        def on_train_start(self) -> None:
            self.head.requires_grad_(False)

    with pytest.raises(UserError, match="the module itself froze layer group head after the training began"):
        fit(Late(), GradualUnfreezing(groups))

    class Thaws(Foreign):
        def on_train_epoch_start(self) -> None:
            self.stem.requires_grad_(self.current_epoch == 1)

    with pytest.raises(UserError, match="the module itself unfroze layer group stem"):
        fit(Thaws(), GradualUnfreezing(groups, share=2 / 3))


def test_an_optimiser_that_lacks_parameters_is_refused() -> None:
    def only_head(module: Foreign) -> Any:
        return torch.optim.SGD(module.head.parameters(), lr=0.1)

    def without_one_bias(module: Foreign) -> Any:
        return torch.optim.SGD([p for n, p in module.named_parameters() if n != "block.bias"], lr=0.1)

    with pytest.raises(UserError, match="optimiser lacks parameters of the layer groups stem, block "):
        fit(Foreign(only_head), GradualUnfreezing(groups))
    with pytest.raises(UserError, match=r"layer groups block \(such as block.bias\)"):
        fit(Foreign(without_one_bias), GradualUnfreezing(groups))
    assert set(fit(Foreign(only_head), GradualUnfreezing(groups, own_freezing="keep"))) == {"h"}
    module = Foreign(without_one_bias)
    kept = module.block.bias.detach().clone()
    moved = fit(module, GradualUnfreezing(groups, share=2 / 3, own_freezing="keep"))
    assert moved == thirds(36, 12, 24) and torch.equal(module.block.bias, kept)
    plan = ParameterPlan.of(Foreign(), groups(Foreign()))
    with pytest.raises(UserError, match="optimiser lacks parameters of the layer groups stem, block"):
        fit(Foreign(only_head), PhaseSchedule(plan))
    plan.phases = [Phase(frozenset({"haed"}))]
    with pytest.raises(UserError, match=r"haed.*head"):
        fit(Foreign(), PhaseSchedule(plan))
    with pytest.raises(UserError, match=r"own_freezing.*lift"):
        GradualUnfreezing(groups, own_freezing="lft")


def test_going_on_for_more_epochs_freezes_nothing_again(tmp_path: Path) -> None:
    module, watch, phases = Foreign(), Watch(), GradualUnfreezing(groups, share=2 / 3)
    first = trainer(phases, watch)
    first.fit(module, data())
    assert watch.moved == thirds(36, 12, 24)
    first.save_checkpoint(tmp_path / "last.ckpt")
    first.fit_loop.max_epochs = 18
    first.fit(module, data())
    assert watch.moved == thirds(108, 12, 24)

    watch = Watch()
    trainer(GradualUnfreezing(groups, share=2 / 3), watch, max_epochs=18).fit(
        Foreign(), data(), ckpt_path=tmp_path / "last.ckpt"
    )
    assert watch.moved == ["sbh"] * 72


def test_gone_on_with_in_the_middle_the_phases_begin_as_planned_at_first(tmp_path: Path) -> None:
    for module in (Foreign, ByHand):
        half = trainer(GradualUnfreezing(groups, share=2 / 3), max_epochs=3)
        half.fit_loop.max_epochs = 6
        half.callbacks.append(StopAfter(3))
        half.fit(module(), data())
        half.save_checkpoint(tmp_path / "half.ckpt")
        watch = Watch()
        trainer(GradualUnfreezing(groups, share=2 / 3), watch, max_epochs=18).fit(
            module(), data(), ckpt_path=tmp_path / "half.ckpt"
        )
        assert watch.moved == ["bh"] * 6 + ["sbh"] * 84


class StopAfter(L.Callback):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.epochs


def test_other_phases_than_those_that_the_training_began_with_count_and_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = trainer(GradualUnfreezing(groups, epochs_per_phase=2))
    first.fit(Foreign(), data())
    first.save_checkpoint(tmp_path / "last.ckpt")
    watch = Watch()
    trainer(GradualUnfreezing(groups, epochs_per_phase=4), watch, max_epochs=12).fit(
        Foreign(), data(), ckpt_path=tmp_path / "last.ckpt"
    )
    assert watch.moved == ["bh"] * 12 + ["sbh"] * 24
    assert "the training began with other phases" in caplog.text


def test_the_same_callback_in_another_training_begins_anew() -> None:
    phases = GradualUnfreezing(groups, share=2 / 3)
    for _ in range(2):
        assert fit(Foreign(), phases) == thirds(36, 12, 24)


def test_a_training_that_ends_before_its_last_phase_says_so(caplog: pytest.LogCaptureFixture) -> None:
    trainer(GradualUnfreezing(groups, share=2 / 3), StopAfter(3)).fit(Foreign(), data())
    assert "the training ended in phase 2 of 3: stem never began to be trained" in caplog.text


@pytest.mark.parametrize(("batches", "moved"), [(1, ["sbh"]), (2, ["bh", "sbh"]), (4, ["h", "h", "bh", "sbh"])])
def test_a_trial_run_tries_the_last_phases(batches: int, moved: list[str]) -> None:
    assert fit(Foreign(), GradualUnfreezing(groups, epochs_per_phase=3), fast_dev_run=batches) == moved
    # Lightning counts the steps of both optimisers.
    by_hand = fit(ByHand(), GradualUnfreezing(groups, epochs_per_phase=3), fast_dev_run=batches)
    assert by_hand == ["sbh"] * -(-batches // 2)


def test_data_without_a_length() -> None:
    loader = DataLoader(Endless(), batch_size=4)
    for rule in ({"share": 2 / 3}, {"epochs_per_phase": 2}, {"steps_per_phase": 12}):
        assert fit(Foreign(), GradualUnfreezing(groups, **rule), loader) == thirds(36, 12, 24)
    assert fit(Foreign(), GradualUnfreezing(groups), loader, max_epochs=-1, max_steps=12) == thirds(12, 3, 6)
    assert fit(Foreign(), GradualUnfreezing(groups, epochs_per_phase=1), loader, max_epochs=-1, max_steps=15) == (
        thirds(15, 6, 12)
    )
    assert fit(ByHand(), GradualUnfreezing(groups, share=2 / 3), loader) == thirds(36, 12, 24)
    with pytest.raises(UserError, match=r"has no known length: a phase of 0\.5 epochs cannot be timed"):
        fit(Foreign(), GradualUnfreezing(groups, epochs_per_phase=0.5), loader)
    with pytest.raises(UserError, match="has no known length, so that phases begin with an epoch; and 3 phases do not"):
        fit(Foreign(), GradualUnfreezing(groups), loader, max_epochs=2)


def test_data_that_are_loaded_anew_and_become_longer() -> None:
    class Grows(L.LightningDataModule):
        def train_dataloader(self) -> DataLoader:
            return data(2 if self.trainer.current_epoch < 2 else 6)

    for rule in ({"share": 2 / 3}, {"epochs_per_phase": 2}):
        watch = Watch()
        run = trainer(GradualUnfreezing(groups, **rule), watch, reload_dataloaders_every_n_epochs=1)
        run.fit(Foreign(), datamodule=Grows())
        assert watch.moved == thirds(28, 4, 16)


def test_a_plan_that_somebody_elses_module_carries() -> None:
    module, effect = Foreign(), InEffect()
    module.plan = ParameterPlan.of(module, groups(module))
    module.plan.phases = [Phase(frozenset({"head"}), epochs=2), Phase(frozenset(NAMES), lr_factor=0.5)]
    training = []

    class Modes(L.Callback):
        def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
            training.append((pl_module.training, pl_module.stem.training))

    trainer(PhaseSchedule(), effect, Modes(), max_epochs=4).fit(module, data())
    assert effect.rates == pytest.approx([0.1] * 12 + [0.05] * 12, rel=1e-3)
    assert training == [(True, False)] * 12 + [(True, True)] * 12


class Configured(Foreign):
    """Builds its layers when the Trainer asks for them."""

    def build(self) -> None:
        pass

    def configure_model(self) -> None:
        if not hasattr(self, "stem"):
            super().build()


def test_layers_built_in_configure_model() -> None:
    rates = DiscriminativeLR(groups, 0.5)
    watch = Watch()
    run = trainer(GradualUnfreezing(groups, share=2 / 3, own_freezing="lift"), rates, Mixout(0.1), watch)
    run.fit(Configured(), data())
    assert watch.moved == thirds(36, 12, 24)
    assert [g["lr"] for g in run.optimizers[0].param_groups] == pytest.approx([0.025, 0.05, 0.1])


def test_an_optimiser_that_the_command_line_gives() -> None:
    """LightningCLI puts the method on the instance; it is there again afterwards."""
    module, watch = Foreign(), Watch()
    method = MethodType(lambda self: torch.optim.SGD(self.parameters(), lr=0.2), module)
    module.configure_optimizers = method
    run = trainer(GradualUnfreezing(groups, share=2 / 3, own_freezing="lift"), DiscriminativeLR(groups, 0.5), watch)
    run.fit(module, data())
    assert [g["lr"] for g in run.optimizers[0].param_groups] == pytest.approx([0.05, 0.1, 0.2])
    assert watch.moved == thirds(36, 12, 24) and vars(module)["configure_optimizers"] is method


class Fails(L.Callback):
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        raise ValueError("before the optimiser was built")


def test_rates_are_scaled_once_whatever_failed_before() -> None:
    module = Foreign()
    for _ in range(2):
        both = [DiscriminativeLR(groups, 0.5), GradualUnfreezing(groups, own_freezing="lift")]
        with pytest.raises(ValueError, match="before the optimiser"):
            trainer(*both, Fails()).fit(module, data())
        assert "configure_optimizers" not in vars(module)
    for options in ({"max_epochs": 1}, {"max_epochs": 2}):
        run = trainer(DiscriminativeLR(groups, 0.5), **options)
        run.fit(module, data())
        assert [g["lr"] for g in run.optimizers[0].param_groups] == pytest.approx([0.025, 0.05, 0.1])
    assert "configure_optimizers" not in vars(module)


def test_an_optimiser_that_the_module_keeps_is_scaled_once() -> None:
    def configure(module: Foreign) -> Any:
        if not hasattr(module, "kept"):
            module.kept = torch.optim.SGD(module.parameters(), lr=0.1)
        return module.kept

    module = Foreign(configure)
    for _ in range(2):
        run = trainer(DiscriminativeLR(groups, 0.5), max_epochs=1)
        run.fit(module, data())
        assert [g["lr"] for g in run.optimizers[0].param_groups] == pytest.approx([0.025, 0.05, 0.1])
    with pytest.raises(UserError, match=r"was built with learning rates × 0\.25 for stem, and .* × 0\.01: go on"):
        trainer(DiscriminativeLR(groups, 0.1), max_epochs=1).fit(module, data())


def built_before(make: Callable[[Any], Any]) -> Foreign:
    """As LightningCLI does: optimiser and scheduler exist before the training, and the method hands them out."""
    module = Foreign()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    scheduler = {"scheduler": make(optimizer), "interval": "step", "monitor": "loss"}
    module.configure = lambda module: {"optimizer": optimizer, "lr_scheduler": scheduler}
    return module


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "lambda": lambda o: schedulers.LambdaLR(o, lambda step: 1 / (step + 2)),
    "cosine": lambda o: schedulers.CosineAnnealingLR(o, 6),
    "sequence": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.5, total_iters=3), schedulers.ExponentialLR(o, 0.9)], [3]
    ),
    "chain": lambda o: schedulers.ChainedScheduler([schedulers.ConstantLR(o, 0.5, 2), schedulers.StepLR(o, 2)]),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_an_optimiser_and_a_scheduler_built_before_are_regrouped_together(name: str) -> None:
    class Rates(L.Callback):
        def __init__(self) -> None:
            self.seen: list[list[float]] = []

        def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
            self.seen.append([group["lr"] for group in optimizer.param_groups])

    plain, scaled = Rates(), Rates()
    trainer(plain, max_epochs=1).fit(built_before(SCHEDULERS[name]), data())
    trainer(DiscriminativeLR(groups, 0.5), scaled, max_epochs=1).fit(built_before(SCHEDULERS[name]), data())
    assert len(plain.seen) == BATCHES and len({lr for (lr,) in plain.seen}) > 1
    for (lr,), rates in zip(plain.seen, scaled.seen, strict=True):
        assert rates == pytest.approx([lr / 4, lr / 2, lr])


def test_a_scheduler_built_before_that_cannot_follow_is_refused() -> None:
    module = built_before(lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=6))
    with pytest.raises(UserError, match="a OneCycleLR was built before DiscriminativeLR could regroup its optimiser"):
        trainer(DiscriminativeLR(groups), max_epochs=1).fit(module, data())


class Around(torch.optim.Optimizer):
    """Sharpness-aware minimisation and its kin build an optimiser from the groups of another."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})
        self.inner = torch.optim.SGD(self.param_groups, lr=lr)
        self.param_groups = self.inner.param_groups

    def step(self, closure: Any = None) -> Any:
        return self.inner.step(closure)


def test_an_optimiser_around_another_is_scaled_once() -> None:
    run = trainer(DiscriminativeLR(groups, 0.5), max_epochs=1)
    run.fit(Foreign(lambda m: Around(m.parameters(), 0.1)), data())
    assert [g["lr"] for g in run.optimizers[0].param_groups] == pytest.approx([0.025, 0.05, 0.1])


def test_a_checkpoint_of_other_rates_is_refused(tmp_path: Path) -> None:
    first = trainer(DiscriminativeLR(groups, 0.5), max_epochs=1)
    first.fit(Foreign(), data())
    first.save_checkpoint(tmp_path / "one.ckpt")
    trainer(DiscriminativeLR(groups, 0.5), max_epochs=2).fit(Foreign(), data(), ckpt_path=tmp_path / "one.ckpt")
    with pytest.raises(UserError, match=r"the checkpoint was made with learning rates × 0\.25 for stem"):
        trainer(DiscriminativeLR(groups, 0.1), max_epochs=2).fit(Foreign(), data(), ckpt_path=tmp_path / "one.ckpt")


class InEffect(L.Callback):
    """The rate at which each step was made, as plain SGD shows it: movement over gradient."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        bias = pl_module.head.bias
        self.before, self.gradient = bias.detach().clone(), bias.grad.clone()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        moved = (self.before - pl_module.head.bias.detach()) / self.gradient
        self.rates.append(float(moved.mean()))


def step_lr(module: Foreign) -> Any:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    scheduler = schedulers.StepLR(optimizer, step_size=6, gamma=0.9)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def one_cycle(module: Foreign) -> Any:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.0)
    scheduler = schedulers.OneCycleLR(optimizer, max_lr=0.1, total_steps=36, cycle_momentum=False)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@pytest.mark.parametrize("configure", [Foreign().configure, step_lr, one_cycle])
def test_the_rate_factor_of_a_phase_holds_under_any_scheduler(configure: Callable) -> None:
    plain, factored = InEffect(), InEffect()
    trainer(plain).fit(Foreign(configure), data())
    module = Foreign(configure)
    plan = ParameterPlan.of(module, groups(module))
    everything = frozenset(NAMES)
    plan.phases = [
        Phase(everything, epochs=2),
        Phase(everything, epochs=2, lr_factor=0.5),
        Phase(everything, lr_factor=3),
    ]
    run = trainer(PhaseSchedule(plan), factored)
    run.fit(module, data())
    expected = [rate * (1 if i < 12 else 0.5 if i < 24 else 3) for i, rate in enumerate(plain.rates)]
    assert factored.rates == pytest.approx(expected, rel=1e-3, abs=1e-7)
    assert run.optimizers[0].param_groups[0]["lr"] <= 0.1  # the module's own again

    effect = InEffect()
    trainer(GradualUnfreezing(groups, share=2 / 3, lr_factor=0.5), effect).fit(Foreign(), data())
    assert effect.rates == pytest.approx([0.1] * 12 + [0.05] * 12 + [0.025] * 12, rel=1e-3)


def test_after_a_step_that_failed_the_rates_are_the_modules_own() -> None:
    class Breaks(Foreign):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            if self.global_step == 30:
                raise ValueError("broken")
            return super().training_step(batch, batch_idx)

    run = trainer(GradualUnfreezing(groups, share=2 / 3, lr_factor=0.5))
    optimizers = []

    def configure(module: Foreign) -> Any:
        optimizers.append(torch.optim.SGD(module.parameters(), lr=0.1))
        return optimizers[0]

    with pytest.raises(ValueError, match="broken"):
        run.fit(Breaks(configure), data())
    assert optimizers[0].param_groups[0]["lr"] == 0.1
    assert not optimizers[0]._optimizer_step_pre_hooks


def test_a_score_that_calls_eval_and_freeze_leaves_training_alone() -> None:
    def score(module: nn.Module) -> dict[str, float]:
        module.freeze()
        return {"accuracy": float(module.head.weight.sum())}

    module = Foreign()
    module.block.eval()
    module.stem.bias.requires_grad_(False)
    modes: list[list[bool]] = []

    class Modes(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
            modes.append([m.training for m in pl_module.modules()])

    meter = ForgettingMeter(score)
    trainer(meter, Modes(), max_epochs=1).fit(module, data())
    assert modes == [[True, True, False, True]] * BATCHES
    assert [n for n, p in module.named_parameters() if not p.requires_grad] == ["stem.bias"]
    assert meter.before != meter.after

    def broken(module: nn.Module) -> dict[str, float]:
        module.eval()
        raise ValueError("no such file")

    with pytest.raises(ValueError, match="no such file"):
        trainer(ForgettingMeter(broken)).fit(module, data())
    assert module.training and not module.block.training


def test_a_fisher_function_that_calls_eval_leaves_training_alone() -> None:
    def fisher(module: nn.Module) -> dict[str, Tensor]:
        module.eval()
        return {"stem.weight": module.stem.weight.detach().square()}

    module, ewc = Foreign(), EWC(1.0, fisher)
    trainer(ewc, max_epochs=1).fit(module, data())
    first = ewc.fisher["stem.weight"]
    assert module.training
    trainer(ewc, max_epochs=1).fit(Foreign(), data())
    assert not torch.equal(ewc.fisher["stem.weight"], first)


def test_what_callbacks_keep_of_a_module_is_taken_anew_of_another() -> None:
    meter = ForgettingMeter(lambda m: {"sum": float(m.head.weight.detach().sum())})
    drift = DriftMeter(groups, dataset().tensors[0][:8], forward=lambda m, x: m.head(m.block(m.stem(x))))
    mixout, penalty = Mixout(0.5), L2SP()
    for _ in range(2):
        module = Foreign()
        start = module.head.weight.detach().clone()
        trainer(meter, drift, mixout, penalty, max_epochs=1).fit(module, data())
        assert meter.before == {"sum": pytest.approx(float(start.sum()))}
        assert torch.equal(mixout.pretrained["head.weight"], start)
        assert torch.equal(penalty.start["head.weight"], start)
        assert drift.similarity["stem"] > 0.9  # of itself, and hardly trained


def test_divergence_by_hand_and_with_any_output(caplog: pytest.LogCaptureFixture) -> None:
    class Gives(ByHand):
        outputs: Any = None

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            super().training_step(batch, batch_idx)
            return self.outputs

    for outputs in (None, {"scores": torch.ones(3)}):
        module = Gives()
        module.outputs = outputs
        trainer(StopOnDivergence(), max_epochs=1).fit(module, data())
        assert caplog.text.count("no loss to watch") == 1
        caplog.clear()
    module.outputs = {"loss": torch.tensor(float("nan"))}
    with pytest.raises(Exception, match="the training loss is nan"):
        trainer(StopOnDivergence(), max_epochs=1).fit(module, data())


def test_a_score_that_nobody_logs_is_said(caplog: pytest.LogCaptureFixture) -> None:
    class Validates(Foreign):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.loss(batch))

    with caplog.at_level(logging.WARNING):
        callback = NegativeTransferWarning("val_acc", untrained=0.5)
        trainer(callback, max_epochs=3).fit(Validates(), data(), data(2))
    assert caplog.text.count("nothing is compared: val_acc is not logged; what is logged: val_loss") == 1


def test_a_factor_of_rates_that_an_optimiser_does_not_have() -> None:
    from transformers import Adafactor

    module = Foreign(lambda m: Adafactor(m.parameters(), lr=None, relative_step=True))
    with pytest.raises(UserError, match=r"Adafactor has no learning rate .* leave lr_factor at 1"):
        trainer(GradualUnfreezing(groups, lr_factor=0.5)).fit(module, data())
    trainer(GradualUnfreezing(groups), max_epochs=3).fit(module, data())
