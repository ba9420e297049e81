"""Gradual unfreezing as finetuning-scheduler and fastai do it, each as it comes, with the phases of tlx's plan."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
import torch
from peers import QUIET, Given, Plain, accuracy
from rows import Found, Laps, Turn, now, took
from torch import Tensor
from warm import ACCELERATOR, LapCounter

Measure = Callable[[Turn], Found]


def finetuning_scheduler(words: Sequence[str], epochs: int, short: Sequence[str], factor: float) -> Measure:
    """Measures `epochs` epochs a phase; scaled: one epoch of what `short` says besides, counted `factor` times.

    Its callback with an explicit schedule, changing phases by epochs. It keeps the best checkpoint and restores it at
    each change, as it does unless told otherwise.
    """

    def measure(turn: Turn) -> Found:
        from finetuning_scheduler import FinetuningScheduler

        given = Given(words if turn.whole else [*words, *short], turn.seed, turn.folder)
        each, laps = epochs if turn.whole else 1, Laps()
        began = now()
        plain = Plain(given.module.train(), given.lr)
        names = _names(given, plain)
        schedule = {
            phase: {"params": new, "max_transition_epoch": each * (phase + 1), "lr": given.lr}
            for phase, new in enumerate(names)
        }
        scheduler = FinetuningScheduler(
            ft_schedule=schedule, epoch_transitions_only=True, base_max_lr=given.lr, logging_level=logging.WARNING
        )
        trainer = L.Trainer(
            accelerator=ACCELERATOR,
            max_epochs=each * len(names),
            default_root_dir=turn.folder / "finetuning_scheduler",
            callbacks=[scheduler, _checkpoint(), LapCounter(laps)],
            **(QUIET | {"enable_checkpointing": True}),
        )
        trainer.fit(plain, given.shuffled(), given.in_order("validation"))
        if scheduler.curr_depth != len(names) - 1:
            raise RuntimeError(f"finetuning-scheduler ended in phase {scheduler.curr_depth} of {len(names)}")
        score = accuracy(given, "test")
        spent = now() - began
        return took(spent, accuracy=score) if turn.whole else took(laps.scaled(spent, factor))

    return measure


def _checkpoint() -> Any:
    from finetuning_scheduler import FTSCheckpoint

    return FTSCheckpoint(monitor="accuracy", mode="max", save_top_k=1)


def _names(given: Given, plain: Plain) -> list[list[str]]:
    """What each phase adds, as names of the plain module's parameters."""
    plan = given.module.plan
    assert plan is not None
    of = {id(p): name for name, p in plain.named_parameters()}
    parameters = dict(given.module.named_parameters())
    groups = {g.name: [of[id(parameters[n])] for n in g.parameters] for g in plan.groups}
    added: list[list[str]] = []
    before: frozenset[str] = frozenset()
    for phase in plan.phases:
        added.append([n for g in plan.groups if g.name in phase.trainable - before for n in groups[g.name]])
        before = phase.trainable
    return added


def fastai_freeze_to(words: Sequence[str], epochs: int, short: Sequence[str], factor: float) -> Measure:
    """Measures `epochs` epochs a phase: `freeze_to`, then `fit_one_cycle`; scaled as for finetuning-scheduler."""

    def measure(turn: Turn) -> Found:
        from fastai.callback.core import Callback
        from fastai.callback.schedule import Learner  # with `fit_one_cycle`
        from fastai.data.core import DataLoaders
        from fastai.metrics import accuracy as rate

        given = Given(words if turn.whole else [*words, *short], turn.seed, turn.folder)
        laps = Laps()

        class Lap(Callback):
            def before_epoch(self) -> None:
                laps.begin()

            def after_epoch(self) -> None:
                laps.end()

        began = now()
        plain = Plain(given.module.train(), given.lr)
        names = _names(given, plain)
        parameters = dict(plain.named_parameters())
        parts = [_pairs(given.shuffled()), _pairs(given.in_order("validation"))]
        learner = Learner(
            DataLoaders(*parts, device="cpu"),
            plain,
            loss_func=torch.nn.CrossEntropyLoss(),
            splitter=lambda _: [[parameters[n] for n in new] for new in reversed(names)],  # the stem first
            metrics=rate,
            path=turn.folder,
            cbs=[Lap()],
        )
        with learner.no_bar(), learner.no_logging():
            for phase in range(len(names)):
                learner.freeze_to(-(phase + 1))
                learner.fit_one_cycle(epochs if turn.whole else 1, given.lr)
        if not all(p.requires_grad for p in plain.parameters()):
            raise RuntimeError("fastai left something frozen in the last phase")
        score = accuracy(given, "test")
        spent = now() - began
        return took(spent, accuracy=score) if turn.whole else took(laps.scaled(spent, factor))

    return measure


def _pairs(loader: torch.utils.data.DataLoader) -> torch.utils.data.DataLoader:
    """The loader with batches of (inputs, labels), as fastai wants them."""
    collate = loader.collate_fn

    def pair(items: list[tuple]) -> tuple[dict[str, Tensor], Tensor]:
        batch = collate(items)
        return batch, batch["label"]

    return torch.utils.data.DataLoader(loader.dataset, batch_sampler=loader.batch_sampler, collate_fn=pair)
