"""Loggers of a run: metrics.csv in its folder always, Weights & Biases by choice."""

import csv
import importlib.util
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from tlx.errors import UserError
from tlx.record.atomic import atomic
from tlx.record.record import read_record

if TYPE_CHECKING:
    from tlx.fit.wandb_copy import WandbCopy

_copies: list["WandbCopy"] = []  # open in this process


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

    def history(self) -> list[tuple[int, dict[str, float]]]:
        """What was logged up to now, earlier sittings included: (step, metrics) in the order of the steps."""
        rows = sorted(self.rows.items(), key=lambda row: row[0][0])
        return [(key[0], {n: _number(v) for n, v in row.items() if n != "step"}) for key, row in rows]

    def finalize(self, status: str) -> None:
        if self.rows:
            self.write()


def _number(value: Any) -> float:
    """A cell of the file; whole numbers stay whole, as they were logged."""
    text = str(value)
    return int(text) if text.removeprefix("-").isdecimal() else float(value)


def make_loggers(config: dict[str, Any], folder: Path) -> list[Logger]:
    """The loggers that the config asks for.

    wandb: id from the identity, group = cell, name = folder, so that a run taken up again is the same run there.
    Another attempt at a run (after a failure, or forced) is another run there.

    Raises:
        UserError: see `check_loggers`.
    """
    check_loggers(config)
    metrics = MetricsFile(folder / "metrics.csv")
    loggers: list[Logger] = [metrics]
    if config["logger"]["wandb"] is not None:
        from tlx.fit.wandb_copy import WandbCopy

        record = read_record(folder)
        attempt = record["attempt"] if record else 1
        run_id = config["run"]["identity"][:16] + (f"-{attempt}" if attempt > 1 else "")
        copy = WandbCopy(folder, run_id, config["run"]["cell"][:16], config, metrics.history())
        _copies.append(copy)
        loggers.append(copy)
    return loggers


def check_loggers(config: dict[str, Any]) -> None:
    """See that the loggers of a config can be made.

    Raises:
        UserError: wandb is asked for and not installed.
    """
    if config["logger"]["wandb"] is not None and importlib.util.find_spec("wandb") is None:
        raise UserError("logger=wandb needs the package wandb: pip install 'tlx[wandb]'.")


def close_loggers(results: dict[str, float], failed: bool) -> str | None:
    """End what `make_loggers` began in this process: several runs in one process must not become one.

    `results` are the run's final metrics. Returns why a copy is not complete, or None when nothing went wrong.
    """
    problems = []
    while _copies:
        copy = _copies.pop()
        copy.close(results, failed)
        problems.append(copy.problem)
    return next(filter(None, problems), None)
