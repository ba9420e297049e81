"""The Lightning Trainer of a run, with the callbacks that every run has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L

from tlx.cache.frozen_work import FrozenWork
from tlx.callbacks.divergence import StopOnDivergence
from tlx.callbacks.patience import Patience
from tlx.callbacks.phases import PhaseSchedule
from tlx.config import budget
from tlx.fit.checkpoints import BestWeights, SafeCheckpointIO
from tlx.fit.follow_phases import FollowPhases
from tlx.fit.loggers import make_loggers
from tlx.fit.seeding import RandomState
from tlx.fit.time_profile import TimeProfile
from tlx.processes.distributed import Averaged, Ranked
from tlx.processes.sharding import Sharded, is_sharded
from tlx.tasks.metrics import direction


def make_trainer(
    config: dict[str, Any],
    folder: Path,
    callbacks: Sequence[L.Callback],
    rank: int = 0,
    work: FrozenWork | None = None,
    profile: TimeProfile | None = None,
) -> L.Trainer:
    """A Lightning Trainer for this process of a run; `callbacks` come after its own. Only rank 0 logs."""
    options = config["trainer"]
    several = options["devices"] > 1
    strategy: Any = (Sharded if is_sharded(config) else Averaged)() if several else "auto"
    monitor = f"val/{config['dataset']['monitor']}"
    mode = "max" if direction(config["dataset"]["monitor"]) == "higher" else "min"
    schedule = PhaseSchedule()
    parts: list[L.Callback] = [
        schedule,
        *([FollowPhases(work, schedule)] if work else []),
        RandomState(),
        StopOnDivergence(),
        BestWeights(folder / "checkpoints", monitor, mode),
    ]
    if patience := config["trainer"]["patience"]:
        parts.append(Patience(schedule, monitor, mode, patience))
    return L.Trainer(
        accelerator=options["accelerator"],
        devices=options["devices"],
        max_epochs=budget.epochs(config),
        precision=options["precision"],
        accumulate_grad_batches=options["accumulate"],
        gradient_clip_val=options["gradient_clip"],
        detect_anomaly=options["detect_anomaly"],
        deterministic=config["deterministic"],
        logger=make_loggers(config, folder) if rank == 0 else False,
        callbacks=[*parts, *callbacks],
        strategy=strategy,
        plugins=[SafeCheckpointIO(), *([Ranked(rank, options["devices"])] if several else [])],
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        profiler=profile,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
