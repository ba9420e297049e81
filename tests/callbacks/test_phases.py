"""Gradual unfreezing in somebody else's LightningModule: frozen means frozen, in every phase, whatever happens."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tlx.callbacks.phases import GradualUnfreezing, PhaseSchedule
from tlx.errors import UserError
from tlx.layer_groups import LayerGroup, group_layers
from tlx.plan import ParameterPlan, Phase

LAYERS = (("stem", r"stem\."), ("block", r"blocks\.(\d+)\."), ("head", r"head\."))
NAMES = ["stem", "block0", "block1", "head"]
BATCHES = 8  # of an epoch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def block(width: int) -> nn.Sequential:
    # Both layers of norms start at the same values, as in every fresh network.
    return nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.LayerNorm(width), nn.Dropout(0.5))


class Foreign(L.LightningModule):
    """Knows nothing of tlx: batch norm, dropout, an optimiser with momentum and decay over all its parameters."""

    def __init__(self, optimizer: Callable[[Any], torch.optim.Optimizer] | None = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.blocks = nn.ModuleList([block(8), block(8)])
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(8, 3))
        self.make = optimizer or (lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1))

    def features(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        for part in self.blocks:
            x = part(x).relu()
        return x

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self.head(self.features(x)), y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", nn.functional.cross_entropy(self.head(self.features(x)), y))

    def configure_optimizers(self) -> Any:
        return self.make(self.parameters())


def groups(module: nn.Module) -> list[LayerGroup]:
    return group_layers(module, LAYERS)


def data(batches: int = BATCHES) -> DataLoader:
    x = torch.randn(4 * batches, 6, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long() + (x[:, 0] > 1).long()), batch_size=4)


def trainer(*callbacks: L.Callback, **options: Any) -> L.Trainer:
    settings = {"max_epochs": 8, "limit_val_batches": 2} | options
    return L.Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


class Watch(L.Callback):
    """Notes after every optimiser step: the phase's place, and each group's tensors, gradients and modes."""

    def __init__(
        self, interfere: Callable[[L.LightningModule], None] = lambda module: None, containers: bool = True
    ) -> None:
        self.states: list[dict[str, dict[str, Tensor]]] = []
        self.trainable: list[set[str]] = []
        self.same_twice: list[bool] = []
        self.interfere, self.containers = interfere, containers

    def note(self, module: L.LightningModule) -> None:
        tensors = dict(module.named_parameters()) | dict(module.named_buffers())
        self.states.append(
            {g.name: {n: tensors[n].detach().clone() for n in (*g.parameters, *g.buffers)} for g in groups(module)}
        )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.note(pl_module)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.interfere(pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if trainer.global_step < len(self.states):
            return  # gradients are being accumulated: no step was made
        parameters = dict(pl_module.named_parameters())
        on = {g.name for g in groups(pl_module) if all(parameters[n].requires_grad for n in g.parameters)}
        off = {g.name for g in groups(pl_module) if not any(parameters[n].requires_grad for n in g.parameters)}
        assert on | off == set(NAMES)
        self.trainable.append(on)
        frozen = [g for g in groups(pl_module) if g.name in off]
        assert all(parameters[n].grad is None for g in frozen for n in g.parameters)
        for part in pl_module.modules():
            wanted = [p.requires_grad for p in part.parameters()]
            if wanted and not any(wanted) and (self.containers or not list(part.children())):
                assert not part.training
            assert part.training or not any(wanted)
        if "stem" in off:
            with torch.no_grad():
                outputs = [pl_module.stem(torch.ones(4, 6)) for _ in range(2)]
            self.same_twice.append(torch.equal(*outputs))
        self.note(pl_module)

    def moved(self, step: int) -> dict[str, set[str]]:
        """Names of the tensors of each group that the given step changed."""
        before, after = self.states[step], self.states[step + 1]
        return {g: {n for n in before[g] if not torch.equal(before[g][n], after[g][n])} for g in before}


def check(watch: Watch, starts: list[int], phases: list[set[str]]) -> None:
    """In every step of every phase, what is trainable moves whole, and the rest stays bit for bit."""
    for step, on in enumerate(watch.trainable):
        assert on == phases[sum(s <= step for s in starts) - 1], f"step {step}"
        moved = watch.moved(step)
        for name in NAMES:
            assert bool(moved[name]) == (name in on), f"{name} in step {step}"
    assert all(watch.same_twice)


def from_the_top(count: int) -> list[set[str]]:
    return [set(NAMES[-n:]) for n in range(1, count + 1)]


def test_four_phases_in_a_plain_trainer() -> None:
    watch, phases = Watch(), GradualUnfreezing(groups, share=0.75)
    trainer(phases, watch).fit(Foreign(), data(), data(2))
    assert phases.starts == [0, 16, 32, 48] and len(watch.trainable) == 64
    check(watch, phases.starts, from_the_top(4))
    # Every parameter and batch norm statistic of what is trained moves.
    assert all(watch.moved(60)[g.name] == {*g.parameters, *g.buffers} for g in groups(Foreign()))


@pytest.mark.parametrize("accumulate", [2, 3])
def test_phases_are_exact_with_gradient_accumulation(accumulate: int) -> None:
    watch, phases = Watch(), GradualUnfreezing(groups, epochs_per_phase=1)
    trainer(phases, watch, max_epochs=5, accumulate_grad_batches=accumulate).fit(Foreign(), data())
    steps = -(-BATCHES // accumulate)
    assert phases.starts == [0, steps, 2 * steps, 3 * steps] and len(watch.trainable) == 5 * steps
    check(watch, phases.starts, from_the_top(4))


def test_phases_change_in_the_middle_of_an_epoch() -> None:
    watch, phases = Watch(), GradualUnfreezing(groups, steps_per_phase=3)
    trainer(phases, watch, max_epochs=2).fit(Foreign(), data())
    assert phases.starts == [0, 3, 6, 9]
    check(watch, phases.starts, from_the_top(4))


def test_epochs_are_counted_in_batches_whatever_ends_the_training() -> None:
    for options in ({"max_epochs": 100, "max_steps": 40}, {"max_epochs": -1, "max_steps": 40}):
        phases = GradualUnfreezing(groups, epochs_per_phase=1)
        trainer(phases, **options).fit(Foreign(), data())
        assert phases.starts == [0, 8, 16, 24]


def test_a_shortened_epoch_is_an_epoch() -> None:
    phases = GradualUnfreezing(groups, epochs_per_phase=1)
    trainer(phases, max_epochs=5, limit_train_batches=3).fit(Foreign(), data())
    assert phases.starts == [0, 3, 6, 9]


def call_train(module: L.LightningModule) -> None:
    module.train()


def call_train_on_parts(module: L.LightningModule) -> None:
    for part in module.modules():
        part.train()


@pytest.mark.parametrize("interfere", [call_train, call_train_on_parts])
def test_frozen_layers_stay_in_eval_mode_when_somebody_calls_train(interfere: Callable) -> None:
    watch, phases = Watch(interfere), GradualUnfreezing(groups, share=0.75)
    trainer(phases, watch).fit(Foreign(), data(), data(2))
    check(watch, phases.starts, from_the_top(4))


@pytest.mark.parametrize("hook", ["on_train_batch_start", "training_step"])
def test_frozen_layers_stay_frozen_when_the_module_itself_calls_train_in_every_step(hook: str) -> None:
    class Eager(Foreign):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            if hook == "on_train_batch_start":
                self.train()

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            if hook == "training_step":
                self.train()
            assert hook == "training_step" or self.head.training
            return super().training_step(batch, batch_idx)

    watch, phases = Watch(containers=False), GradualUnfreezing(groups, share=0.75)
    trainer(phases, watch).fit(Eager(), data(), data(2))
    check(watch, phases.starts, from_the_top(4))


def test_frozen_over_fit_validate_fit() -> None:
    module = Foreign()
    callbacks = [PhaseSchedule(probe(module)), Watch()]
    before = {n: t.clone() for n, t in module.state_dict().items() if not n.startswith("head")}
    run = trainer(*callbacks, max_epochs=2)
    run.fit(module, data(), data(2))
    run.validate(module, data(2), verbose=False)
    run.fit_loop.max_epochs = 4
    run.fit(module, data(), data(2))
    again = trainer(PhaseSchedule(probe(module)), Watch(), max_epochs=2)
    again.fit(module, data(), data(2))
    assert all(torch.equal(before[n], module.state_dict()[n]) for n in before)


def probe(module: nn.Module) -> ParameterPlan:
    plan = ParameterPlan.of(module, groups(module))
    plan.phases = [Phase(frozenset({"head"}))]
    return plan


def test_afterwards_gradients_and_modes_are_as_before() -> None:
    module = Foreign()
    module.blocks[0][1].eval()
    module.stem[0].bias.requires_grad_(False)
    trainer(PhaseSchedule(probe(module)), max_epochs=1).fit(module, data(), data(2))
    assert [n for n, m in module.named_modules() if not m.training] == ["blocks.0.1"]
    assert [n for n, p in module.named_parameters() if not p.requires_grad] == ["stem.0.bias"]
    assert not any(m._forward_pre_hooks for m in module.modules())


def test_a_frozen_block_in_train_mode_gives_the_output_of_eval_mode() -> None:
    module, x = Foreign(), torch.randn(5, 6)
    with torch.no_grad():
        for _ in range(3):
            module.stem(torch.randn(40, 6) * 3 + 1)  # statistics unlike those of any batch below
    expected = module.eval().features(x)
    module.train()
    outputs = []

    class Look(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
            outputs.append(module.features(x))

    trainer(PhaseSchedule(probe(module)), Look(), max_epochs=2).fit(module, data(), data(2))
    assert len(outputs) == 16 and all(torch.equal(o, expected) for o in outputs)


def optimizers() -> list[Any]:
    return [
        pytest.param(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1), id="sgd_momentum"),
        pytest.param(lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1), id="adamw"),
        pytest.param(lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1, fused=True), id="adamw_fused"),
    ]


@pytest.mark.parametrize("optimizer", optimizers())
def test_momentum_and_decay_do_not_move_what_is_frozen_again(optimizer: Callable) -> None:
    module = Foreign(optimizer)
    plan = ParameterPlan.of(module, groups(module))
    sets = [set(NAMES), {"head"}, {"block0", "head"}, set(NAMES)]
    plan.phases = [Phase(frozenset(s), steps=None if i == 3 else 5) for i, s in enumerate(sets)]
    watch, phases = Watch(), PhaseSchedule(plan)
    trainer(phases, watch, max_epochs=3, gradient_clip_val=1.0).fit(module, data(), data(2))
    assert phases.starts == [0, 5, 10, 15]
    check(watch, phases.starts, sets)


def test_every_trainable_parameter_is_in_exactly_one_optimiser_group_in_every_phase() -> None:
    class Count(L.Callback):
        seen = 0

        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
            listed = [id(p) for g in trainer.optimizers[0].param_groups for p in g["params"]]
            trained = {id(p) for p in pl_module.parameters() if p.requires_grad}
            assert len(listed) == len(set(listed)) == len(list(pl_module.parameters()))
            assert trained <= set(listed)
            # Fresh norms all look alike; each must be there nevertheless.
            assert all(
                id(m.weight) in listed and id(m.bias) in listed
                for m in pl_module.modules()
                if isinstance(m, nn.LayerNorm | nn.BatchNorm1d)
            )
            self.seen += 1

    count = Count()
    trainer(GradualUnfreezing(groups, share=0.75), count).fit(Foreign(), data())
    assert count.seen == 64


def test_training_can_be_broken_off_in_an_early_phase_and_begun_anew() -> None:
    class Stop(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
            if trainer.global_step == 3:
                raise ValueError("somebody stopped it")

    module = Foreign()
    with pytest.raises(ValueError, match="somebody stopped it"):
        trainer(GradualUnfreezing(groups, share=0.75), Stop()).fit(module, data())
    watch, phases = Watch(), GradualUnfreezing(groups, share=0.75)
    trainer(phases, watch).fit(module, data())
    check(watch, phases.starts, from_the_top(4))

    assert all(p.requires_grad for p in module.parameters())
    early = trainer(GradualUnfreezing(groups, share=0.75), max_epochs=8)
    early.callbacks.append(Ending())
    early.fit(module, data())
    assert early.global_step == 3
    watch, phases = Watch(), GradualUnfreezing(groups, share=0.75)
    trainer(phases, watch).fit(module, data())
    check(watch, phases.starts, from_the_top(4))


class Ending(L.Callback):
    """Ends the training after three steps, as early stopping does."""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        trainer.should_stop = trainer.global_step == 3


def test_what_the_module_itself_never_trains_stays_frozen_in_every_phase() -> None:
    module = Foreign()
    module.stem[0].bias.requires_grad_(False)
    kept = module.stem[0].bias.detach().clone()
    trainer(GradualUnfreezing(groups, share=0.75)).fit(module, data())
    assert torch.equal(module.stem[0].bias, kept) and not module.stem[0].bias.requires_grad


def test_resumed_in_a_later_phase_everything_of_that_phase_is_trained(tmp_path: Path) -> None:
    class Stop(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            trainer.should_stop = trainer.current_epoch == 4

    first = trainer(GradualUnfreezing(groups, share=0.75), Stop())
    first.fit(Foreign(), data())
    first.save_checkpoint(tmp_path / "half.ckpt")

    class Continued(Watch):
        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            self.states = [{}] * trainer.global_step
            self.note(pl_module)

    watch, phases = Continued(), GradualUnfreezing(groups, share=0.75)
    run = trainer(phases, watch, max_epochs=8)
    run.fit(Foreign(), data(), ckpt_path=tmp_path / "half.ckpt")
    assert run.global_step == 64 and watch.trainable == [set(NAMES[1:])] * 8 + [set(NAMES)] * 16
    assert all(watch.moved(step)["block0"] and not watch.moved(step)["stem"] for step in range(40, 48))
    assert all(watch.moved(step)["stem"] for step in range(48, 64))


def test_groups_may_be_a_list_and_several_groups_a_phase() -> None:
    module = Foreign()
    watch, phases = Watch(), GradualUnfreezing(groups(module), groups_per_phase=2, share=0.5)
    trainer(phases, watch).fit(module, data())
    assert phases.starts == [0, 16, 32]
    check(watch, phases.starts, [set(NAMES[-1:]), set(NAMES[1:]), set(NAMES)])


def test_a_training_without_end_or_too_short_for_its_phases_is_refused() -> None:
    with pytest.raises(UserError, match="phases need an end of training"):
        trainer(GradualUnfreezing(groups), max_epochs=-1).fit(Foreign(), data())
    with pytest.raises(UserError, match="4 phases do not fit into 2 optimiser steps"):
        trainer(GradualUnfreezing(groups), max_epochs=1).fit(Foreign(), data(2))
    with pytest.raises(UserError, match="needs a ParameterPlan"):
        trainer(PhaseSchedule()).fit(Foreign(), data())
    with pytest.raises(UserError, match=r"no layer group takes the parameters blocks\.0"):
        trainer(GradualUnfreezing(lambda m: group_layers(m, [("stem", "stem"), ("head", "head")]))).fit(
            Foreign(), data()
        )


def test_phases_begin_with_nothing_trained_that_was_not_announced() -> None:
    """Consecutive phases of gradual unfreezing only ever add groups."""
    plan = GradualUnfreezing(groups).make_plan(Foreign())
    assert all(a.trainable < b.trainable for a, b in pairwise(plan.phases))
    assert plan.ever_trainable == set(NAMES)
