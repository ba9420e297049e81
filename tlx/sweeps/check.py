"""Checking every run of a sweep before the first one starts: the user's mistakes cost seconds, not a night."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlx.config import instantiate
from tlx.errors import UserError
from tlx.sweeps.study import Planned


def check_runs(runs: Sequence[Planned]) -> None:
    """Read each data set, build each model with each strategy, and fit the phases into the training; trains nothing.

    Each different combination is checked once.

    Raises:
        UserError: the first impossible run; nothing was started.
    """
    seen: set[str] = set()
    for run in runs:
        key = json.dumps(_deciding(run.config), sort_keys=True, default=str)
        if key not in seen:
            seen.add(key)
            check_run(run.config)


def _deciding(config: dict[str, Any]) -> dict[str, Any]:
    """The parts of a config that can be impossible together; the seed only draws, whichever it is."""
    kept = {k: config[k] for k in ("model", "dataset", "optimizer", "scheduler", "trainer", "logger")}
    return kept | {"strategy": {k: v for k, v in config["strategy"].items() if k != "lr"}}


def check_run(config: dict[str, Any]) -> None:
    """One run of `check_runs`."""
    import torch

    from tlx.data.sampling import EpochBatchSampler
    from tlx.train import assemble

    if config["trainer"]["accelerator"] == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer.accelerator=gpu, but torch sees no GPU on this machine: say cpu or auto.")
    dataset = instantiate(config["dataset"], "dataset")
    check = dataset.augmentation
    data, module, _ = assemble(config)
    if check:
        module.backbone.preprocessing.check_augmentation(check)
    options = config["trainer"]
    batches = len(EpochBatchSampler(len(data.train), options["batch_size"], config["seed"]))
    per_epoch = -(-batches // options["accumulate"])
    assert module.plan is not None
    module.plan.boundaries(per_epoch * options["max_epochs"], per_epoch)
    module.make_optimizer(module.plan.optimizer_groups(module, module.lr, module.weight_decay))


def writable(folder: Path) -> None:
    """Make a folder, or say why not.

    Raises:
        UserError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}.") from error
