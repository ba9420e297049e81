"""Loggers of a run: metrics.csv in its folder always, Weights & Biases by choice."""

import csv
import importlib.util
import io
import time
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from tlx.atomic import atomic
from tlx.errors import UserError


class MetricsFile(Logger):
    """`metrics.csv`: one row for each step and set of metrics logged at it.

    A file that is there already is gone on with: what a resumed run logs once more takes the place of the old row, so
    that the history has neither gaps nor duplicates. Written whole, every few seconds and when `write` is called.
    """

    EVERY = 10.0  # seconds between two writes

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.rows: dict[tuple[int, frozenset[str]], dict[str, Any]] = {}
        self._written = time.monotonic()
        if file.is_file():
            with file.open(newline="") as lines:
                for row in csv.DictReader(lines):
                    filled = {name: value for name, value in row.items() if value != ""}
                    self.rows[self._key(filled, int(row["step"]))] = filled

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @staticmethod
    def _key(metrics: dict[str, Any], step: int) -> tuple[int, frozenset[str]]:
        return step, frozenset(metrics) - {"step", "epoch"}

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the record holds the config."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.rows[self._key(metrics, step)] = {"step": step, **metrics}

    def save(self) -> None:
        if time.monotonic() - self._written >= self.EVERY:
            self.write()

    @rank_zero_only
    def write(self) -> None:
        """Write the file now."""
        self._written = time.monotonic()
        names = sorted({n for row in self.rows.values() for n in row}, key=lambda n: (n not in ("step", "epoch"), n))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(self.rows.values())
        with atomic(self.file) as file:
            file.write(text.getvalue().encode())

    def finalize(self, status: str) -> None:
        if self.rows:
            self.write()


def make_loggers(config: dict[str, Any], folder: Path) -> list[Logger]:
    """The loggers that the config asks for.

    wandb: group = cell, name and id from the identity, so that a run taken up again is the same run there.

    Raises:
        UserError: see `check_loggers`.
    """
    check_loggers(config)
    loggers: list[Logger] = [MetricsFile(folder / "metrics.csv")]
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
