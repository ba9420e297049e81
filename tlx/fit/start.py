"""How a process of a run begins: before anything random is made, and before anything is measured or trained."""

from typing import Any

import torch

from tlx.fit.evaluation import device_of, moved
from tlx.fit.quiet import quiet_lightning
from tlx.fit.seeding import seed_everything
from tlx.module import TransferModule
from tlx.network.calibration import calibrate


def start(config: dict[str, Any]) -> None:
    """Silence Lightning's banner, fix torch's CPU threads and seed everything.

    The number of threads is recorded, because it changes the last bits of sums.
    """
    quiet_lightning()
    if threads := config["trainer"]["threads"]:
        torch.set_num_threads(threads)
    seed_everything(config["seed"])


def calibrate_as_asked(config: dict[str, Any], module: TransferModule, loaders: dict[str, Any]) -> None:
    """Calibrate the module's batch normalisation by the training examples, where the strategy says so."""
    if config["strategy"].get("calibrate"):
        with moved(module, device_of(config)):
            calibrate(module.backbone, loaders["train"].dataset)
