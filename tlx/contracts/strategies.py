"""What every strategy must do: a plan that covers everything, phases that end with the training, and what it says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import nn

from tlx.assembly import assemble, make_loaders
from tlx.callbacks.phases import PhaseSchedule
from tlx.contracts.contract import hold, some
from tlx.contracts.samples import features_of
from tlx.contracts.training import Watch, each_once, frozen_outputs
from tlx.contracts.workshop import PER_EPOCH
from tlx.fit.recording import Recording
from tlx.fit.seeding import seed_everything
from tlx.fit.trainer import make_trainer
from tlx.models.build import build_network
from tlx.module import TransferModule
from tlx.plan import apply_phase


class Watching(L.Callback):
    """Lets a Watch see the phases that the Trainer goes through, and keeps the losses."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.losses: list[float] = []
        self.phases: list[tuple[int, int]] = []
        self.starts: Sequence[float] = ()

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        schedule = next(c for c in trainer.callbacks if isinstance(c, PhaseSchedule))  # type: ignore[attr-defined]
        if schedule.phase != self.watch.phase:
            self.watch.enter(schedule.phase)
            self.phases.append((trainer.global_step, schedule.phase))
        self.starts = schedule.starts

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *args: Any) -> None:
        self.watch.stepped()
        self.losses.append(float(outputs["loss"]))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.watch.leave()


def fit(config: dict[str, Any], folder: Path) -> tuple[TransferModule, Watching, L.Trainer]:
    """Train as a run does; the module, what was seen of its phases, and the trainer."""
    seed_everything(config["seed"])
    data, module = assemble(config)
    loaders = make_loaders(config, data, module)
    watching = Watching(Watch(module, module.plan))
    trainer = make_trainer(config, folder, [watching])
    trainer.fit(module, loaders["train"], loaders["validation"])
    return module, watching, trainer


def steps_of(config: dict[str, Any]) -> int:
    """Optimiser steps of a training on the workshop's data, which the phases are to end with."""
    return int(config["trainer"]["max_epochs"]) * PER_EPOCH


def phases_end_with_the_training(config: dict[str, Any]) -> str:
    """The plan names each parameter once, and its phases lie within the training, each after the one before."""
    seed_everything(config["seed"])
    _, module = assemble(config)
    plan = module.plan
    listed = [name for group in plan.groups for name in group.parameters]
    there = [name for name, _ in module.named_parameters()]
    hold(sorted(listed) == sorted(there), "the plan does not name each parameter exactly once")
    total = steps_of(config)
    starts = plan.boundaries(total, PER_EPOCH)  # an error of its own where they do not fit
    rising = all(a < b for a, b in zip(starts, [*starts[1:], total], strict=True))
    hold(rising and starts[0] == 0, f"the phases begin at steps {some(starts, 20)} of {total}")
    share = sum(p.numel() for n, p in module.named_parameters() if n in plan.trained)
    whole = sum(p.numel() for p in module.parameters())
    return f"{len(starts)} phase{'s' * (len(starts) > 1)}, {share / whole:.0%} of the weights trained"


def trains_what_it_says_and_repeats(config: dict[str, Any], folder: Path) -> None:
    """A training in which every phase begins when it is due, trains all of its groups and no other; twice the same."""
    module, watching, trainer = fit(config, folder / "a")
    plan = module.plan
    each_once(module, trainer.optimizers[0])
    due = plan.boundaries(steps_of(config), PER_EPOCH)
    hold(watching.starts == due, f"the phases begin at steps {watching.starts} where they are due at {due}")
    seen = list(zip(due, range(len(plan.phases)), strict=True))
    hold(watching.phases == seen, f"phases (step, number) were {watching.phases} where {seen} are due")
    hold(not watching.watch.unmoved, f"trained, but never with a gradient: {some(watching.watch.unmoved)}")
    steps = steps_of(config) * (config["strategy"].get("longer") or 1)
    hold(len(watching.losses) == steps, f"{len(watching.losses)} steps where {steps} are due")
    hold(np.isfinite(watching.losses).all(), "the loss became no number: is the learning rate too high?")
    again, repeated, _ = fit(config, folder / "b")
    hold(repeated.losses == watching.losses, "the same training twice has other losses")
    for name, tensor in again.state_dict().items():
        hold(torch.equal(tensor, module.state_dict()[name]), f"the same training twice ends with another {name}")


def starts_and_counts(config: dict[str, Any], folder: Path, weights: Path) -> None:
    """A strategy starts from the weights that it names, counts what it trains, and what it freezes is not random."""
    seed_everything(0)
    data, module = assemble(config)
    loaders = make_loaders(config, data, module)
    batch = next(iter(loaders["validation"]))
    base = build_network(config["model"], weights, list)
    base.load(weights)
    features = features_of(base, batch)
    same = torch.allclose(features_of(module.backbone, batch), features, atol=1e-6)
    init = config["strategy"]["init"]
    wanted = init not in ("scratch", "shuffled")
    hold(
        same == wanted,
        f"strategy.init={init}, and before the first step the features are {'not ' * wanted}those of the weights",
    )
    hold((module.backbone.load_report is None) == (init == "scratch"), f"strategy.init={init} and the weights loaded")

    trained: set[str] = set()
    for phase in range(len(module.plan.phases)):
        apply_phase(module, module.plan, phase)
        trained |= {n for n, p in module.named_parameters() if p.requires_grad}
    _counted(config, module, data, trained, folder)
    for phase in {0, len(module.plan.phases) // 2}:
        first, second = (frozen_outputs(module, phase, batch) for _ in range(2))
        random = [layer for layer in first if not torch.equal(first[layer], second[layer])]
        hold(not random, f"frozen in phase {phase} and random: {some(random)}")


def _counted(config: dict[str, Any], module: nn.Module, data: Any, trained: set[str], folder: Path) -> None:
    record = Recording(config | {"run": {"identity": "none"}}, folder)
    record.describe(module, data, frozen="")  # type: ignore[arg-type]
    sizes = {n: p.numel() for n, p in module.named_parameters()}
    most, whole = sum(sizes[n] for n in trained), sum(sizes.values())
    hold(record.counts["trainable"] == most, f"the record counts {record.counts['trainable']} trained of {most}")
    hold(record.counts["parameters"] == whole, f"the record counts {record.counts['parameters']} weights of {whole}")
    share = record.counts["trainable_share"]
    hold(abs(share - most / whole) <= 1e-6 * most / whole, f"the record's trainable share is {share}")
