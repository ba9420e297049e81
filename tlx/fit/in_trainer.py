"""Training in a Lightning Trainer: by the process that has the run, and by the others that train along."""

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L

from tlx.callbacks.phases import PhaseSchedule
from tlx.fit.checkpoints import BestWeights, ResumePoint
from tlx.fit.compact import CompactTable
from tlx.fit.trainer import make_trainer
from tlx.fit.training import Fitted, Training
from tlx.module import TransferModule
from tlx.network.compiled import compiled
from tlx.processes.interruption import Interruption
from tlx.processes.ranks import Followers
from tlx.processes.sharding import bring_together, is_sharded


def fit(run: Training, callbacks: Sequence[L.Callback], interruption: Interruption, followers: Followers) -> Fitted:
    """Train from the start or from the run's checkpoint.

    Raises:
        Interrupted: a signal asked the run to leave; a checkpoint was written.
        Diverged: the loss became no number.
    """
    config, module, record = run.config, run.module, run.record
    point = ResumePoint(run.folder / "checkpoints", config["trainer"]["checkpoint_seconds"], interruption, run.profile)
    trainer = make_trainer(config, run.folder, [*callbacks, run.watch, point], work=run.work, profile=run.profile)
    trained = copy.deepcopy(module) if is_sharded(config) else module
    try:
        compile = config["trainer"]["compile"]
        with (
            followers.training(run.earlier),
            run.compact or nullcontext(),
            compiled(trained.backbone, compile) as code,
        ):
            train, selection = run.loaders["train"], run.loaders["selection"]
            trainer.fit(trained, train, selection, ckpt_path=run.earlier, weights_only=True)
            bring_together(trained, module)
        record.details["compiled"] = code or None
    finally:
        record.seconds["train"] = point.seconds
        if trained.objectives:
            record.seconds["objectives"] = sum(objective.seconds for objective in trained.objectives)
        if run.profile:
            record.seconds["profile"] = run.profile.seconds()
    record.trained(trainer.global_step, trainer.current_epoch)
    (kept,) = (c for c in trainer.checkpoint_callbacks if isinstance(c, BestWeights))
    (phases,) = (c for c in trainer.callbacks if isinstance(c, PhaseSchedule))  # type: ignore[attr-defined]
    last = config["selection"] == "last"
    step = trainer.global_step if last else kept.step
    if said := record.reached(module, phases.starts, phases.ended_in(trainer), step):
        run.watch.messages.append(said)
    return Fitted(scores=kept.last_scores if last else kept.scores)


def fit_along(
    config: dict[str, Any],
    folder: Path,
    rank: int,
    module: TransferModule,
    loaders: dict[str, Any],
    compact: CompactTable | None,
    earlier: Path | None,
    interruption: Interruption,
) -> None:
    """What process `rank` of a run does of `fit`: it trains on its shares of each batch, and writes nothing."""
    point = ResumePoint(folder / "checkpoints", config["trainer"]["checkpoint_seconds"], interruption)
    trainer = make_trainer(config, folder, [point], rank)
    with compact or nullcontext(), compiled(module.backbone, config["trainer"]["compile"]):
        trainer.fit(module, loaders["train"], loaders["selection"], ckpt_path=earlier, weights_only=True)
    bring_together(module, None)
