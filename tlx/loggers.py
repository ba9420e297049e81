"""Loggers of a run: metrics.csv in its folder always, Weights & Biases by choice."""

import importlib.util
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger

from tlx.errors import UserError


def make_loggers(config: dict[str, Any], folder: Path) -> list[Logger]:
    """The loggers that the config asks for.

    wandb: group = cell, name and id from the identity, so that a run taken up again is the same run there.

    Raises:
        UserError: see `check_loggers`.
    """
    check_loggers(config)
    loggers: list[Logger] = [CSVLogger(folder, name="", version="")]
    options = config["logger"]["wandb"]
    if options is None:
        return loggers
    from lightning.pytorch.loggers import WandbLogger

    identity = config["run"]
    logger = WandbLogger(
        name=folder.name,
        id=identity["identity"][:16],
        save_dir=folder,
        offline=options["mode"] == "offline",
        project=options["project"],
        entity=options["entity"],
        group=identity["cell"][:16],
        config=config,
    )
    return [*loggers, logger]


def check_loggers(config: dict[str, Any]) -> None:
    """See that the loggers of a config can be made.

    Raises:
        UserError: wandb is asked for and not installed.
    """
    if config["logger"]["wandb"] is not None and importlib.util.find_spec("wandb") is None:
        raise UserError("logger=wandb needs the package wandb: pip install 'tlx[wandb]'.")


def close_loggers() -> None:
    """End the wandb run of this process, if there is one: several runs in one process must not become one."""
    import sys

    if "wandb" in sys.modules and sys.modules["wandb"].run is not None:
        sys.modules["wandb"].finish()
