"""When the phases of a training begin, in any Lightning Trainer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import lightning as L
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from tlx.errors import UserError
from tlx.plan import ParameterPlan, Phase

STEPS, BATCHES, EPOCHS = "optimiser steps", "batches", "epochs"


@dataclass(frozen=True)
class Timetable:
    """Where each phase begins, and the length of the training (infinite where it is not known), both in `unit`."""

    starts: Sequence[float]
    total: float
    unit: str = STEPS


def position(trainer: L.Trainer, unit: str) -> int:
    """How far a training is: optimiser steps made, batches gone through, or the number of its epoch."""
    if unit == STEPS:
        return trainer.global_step
    return trainer.current_epoch if unit == EPOCHS else trainer.fit_loop.epoch_loop.batch_progress.total.completed


def timetable(trainer: L.Trainer, plan: ParameterPlan) -> Timetable:
    """When the phases of `plan` begin in the training that `trainer` is about to do.

    Phases are counted in optimiser steps where those can be foreseen. They cannot where the module optimises by hand:
    shares and epochs are counted in batches then, and phases in steps in those of all its optimisers together, as
    Lightning's `max_steps` does. Where an epoch has no known length, or data are loaded anew on the way, shares and
    epochs are counted in whole epochs.

    With `fast_dev_run`, where the phases do not fit, the last ones take a step each.

    Raises:
        UserError: a training without end, phases that do not fit, or whose times nobody can know beforehand.
    """
    if not trainer.fast_dev_run:  # type: ignore[attr-defined]
        return _timetable(trainer, plan)
    try:
        return _timetable(trainer, plan)
    except UserError:
        # The last phase has everything trainable and needs the most memory: what a trial should try.
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        if not trainer.lightning_module.automatic_optimization:
            steps = 1  # nobody knows how many there will be
        count = len(plan.phases)
        return Timetable([0, *(max(0, steps - count + number) for number in range(1, count))], steps)


def _timetable(trainer: L.Trainer, plan: ParameterPlan) -> Timetable:
    epochs = math.inf if trainer.max_epochs in (None, -1) else max(int(trainer.max_epochs or 0), 1)
    steps = math.inf if trainer.max_steps == -1 else trainer.max_steps
    if math.isinf(epochs) and math.isinf(steps):
        raise UserError("phases need an end of training: give the Trainer max_epochs or max_steps.")
    trainer.fit_loop.setup_data()  # Lightning has not looked at the loader yet
    # Data that are loaded anew on the way may have another length then.
    anew = trainer.reload_dataloaders_every_n_epochs  # type: ignore[attr-defined]
    batches = math.inf if anew else trainer.num_training_batches
    by_hand = not trainer.lightning_module.automatic_optimization
    if not by_hand and not math.isinf(batches):
        per_epoch = _steps_of_epochs(trainer, int(batches), epochs, steps)
        total = min(steps, per_epoch * epochs if isinstance(per_epoch, int) else sum(per_epoch))
        return Timetable(plan.boundaries(total, per_epoch), total)
    return _without_foresight(plan, epochs, steps, batches, by_hand)


def _steps_of_epochs(trainer: L.Trainer, batches: int, epochs: float, steps: float) -> int | list[int]:
    """Optimiser steps of an epoch, or of each epoch where they differ; the last batch of an epoch always makes one."""
    # It changes the Trainer's own number at the start of an epoch, so that there is no use in asking the Trainer.
    schedulers = [c for c in trainer.callbacks if isinstance(c, GradientAccumulationScheduler)]  # type: ignore[attr-defined]
    if not schedulers:
        return math.ceil(batches / trainer.accumulate_grad_batches)
    counts: list[int] = []
    while batches and len(counts) < epochs and sum(counts) < steps:
        counts.append(math.ceil(batches / schedulers[-1].get_accumulate_grad_batches(len(counts))))
    return counts


def _without_foresight(plan: ParameterPlan, epochs: float, steps: float, batches: float, by_hand: bool) -> Timetable:
    why = (
        "the module optimises by hand, so that nobody knows beforehand how many optimiser steps it makes"
        if by_hand
        else "an epoch of this training has no known length"
    )
    units = {_unit(phase) for phase in plan.phases[:-1]}
    if "steps" in units and len(units) > 1:
        raise UserError(f"{why}: give all phases in steps, or none.")
    if units <= {"steps"} or (units == {"share"} and not math.isinf(steps) and (math.isinf(epochs) or not by_hand)):
        return Timetable(plan.boundaries(steps, steps), steps)
    if "share" in units and not math.isinf(steps):
        raise UserError(
            f"{why}, and which of max_epochs and max_steps ends it: give the Trainer one of them, or the phases in "
            "epochs or steps (epochs_per_phase, steps_per_phase)."
        )
    if by_hand and not math.isinf(batches):
        total = epochs * batches
        return Timetable(plan.boundaries(total, int(batches), BATCHES), total, BATCHES)
    broken = [phase.epochs for phase in plan.phases if phase.epochs is not None and phase.epochs != int(phase.epochs)]
    if broken:
        raise UserError(f"{why}: a phase of {broken[0]:g} epochs cannot be timed; give whole epochs, or steps.")
    try:
        return Timetable(plan.boundaries(epochs, 1, EPOCHS), epochs, EPOCHS)
    except UserError as error:
        raise UserError(f"{why}, so that phases begin with an epoch; and {error}") from error


def _unit(phase: Phase) -> str:
    return "share" if phase.share is not None else "epochs" if phase.epochs is not None else "steps"


def as_lists(phases: Sequence[Phase]) -> list[list]:
    """Phases as what a checkpoint may hold and be compared by."""
    return [[sorted(p.trainable), p.share, p.epochs, p.steps, p.lr_factor] for p in phases]
