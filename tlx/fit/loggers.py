"""Loggers of a run: metrics.csv in its folder always, Weights & Biases and any other of Lightning's kind by choice."""

import csv
import importlib.util
import inspect
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from tlx.config.names import check_arguments, resolve
from tlx.errors import UserError
from tlx.fit.logger_copy import LoggerCopy, given
from tlx.record.atomic import atomic
from tlx.record.masking import NAMES, masked
from tlx.record.record import read_record

if TYPE_CHECKING:
    from tlx.fit.wandb_copy import WandbCopy

WANDB = "wandb"  # tlx's own copy, which has no `_target_`
# What loggers of Lightning need beside it: modules, any of which will do, and how to get one.
NEEDS = {
    "TensorBoardLogger": (("tensorboard", "tensorboardX"), "'tlx[tensorboard]'"),
    "MLFlowLogger": (("mlflow",), "mlflow"),
    "CometLogger": (("comet_ml",), "comet-ml"),
    "WandbLogger": (("wandb",), "'tlx[wandb]'"),
    "LitLogger": (("litlogger",), "litlogger"),
}
HERE = ("TensorBoardLogger", "CSVLogger")  # they write files, and nothing else

_copies: list["WandbCopy | LoggerCopy"] = []  # open in this process


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
    from tlx.fit.wandb_copy import WandbCopy

    check_loggers(config)
    metrics = MetricsFile(folder / "metrics.csv")
    loggers: list[Logger] = [metrics]
    for key, node in config["logger"].items():
        if node is None:
            continue
        if key == WANDB:
            record = read_record(folder)
            attempt = record["attempt"] if record else 1
            run_id = config["run"]["identity"][:16] + (f"-{attempt}" if attempt > 1 else "")
            copy: WandbCopy | LoggerCopy = WandbCopy(
                folder, run_id, config["run"]["cell"][:16], config, metrics.history()
            )
        else:
            copy = LoggerCopy(key, folder, config, metrics.history())
        _copies.append(copy)
        loggers.append(copy)
    return loggers


def check_loggers(config: dict[str, Any]) -> None:
    """See that the loggers of a config can be made.

    Raises:
        UserError: what one is called is not there or no logger, it lacks an argument or takes one that it may not, or
            the package that it needs is not installed.
    """
    for key, node in config["logger"].items():
        if node is None:
            continue
        if key == WANDB:
            if importlib.util.find_spec("wandb") is None:
                raise UserError("logger=wandb needs the package wandb: pip install 'tlx[wandb]'.")
            continue
        _check_logger(f"logger.{key}", node, config)


def _check_logger(key: str, node: dict[str, Any], config: dict[str, Any]) -> None:
    top = str(node["_target_"]).partition(".")[0]
    if importlib.util.find_spec(top) is None:
        raise UserError(
            f"{key}._target_={node['_target_']} needs the package {top}, which is not installed: pip install {top}, "
            "or, where it is code of your own, put its folder on PYTHONPATH."
        )
    target = resolve(node["_target_"], f"{key}._target_")
    if not (inspect.isclass(target) and issubclass(target, Logger)):
        raise UserError(
            f"{key}._target_={node['_target_']} is no logger: name a class that inherits from "
            "lightning.pytorch.loggers.Logger."
        )
    modules, package = NEEDS.get(target.__name__, ((), "")) if target.__module__.startswith("lightning.") else ((), "")
    if modules and not any(importlib.util.find_spec(module) for module in modules):
        raise UserError(f"{key} ({target.__name__}) needs the package {modules[0]}: pip install {package}.")
    check_arguments(target, node, key)
    run = config.get("run") or {"cell": ""}
    filled = given(node, key.partition(".")[2], Path("study/run"), {"run": run})
    lacking = [
        name
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and name not in node
        and name not in filled
    ]
    if lacking:
        raise UserError(f"{key}.{lacking[0]} is missing: {target.__name__} needs it.")
    for name, value in node.items():
        if masked(value) != value and not NAMES.match(name):
            raise UserError(
                f"{key}.{name} holds the value of a secret environment variable, which would be shown or sent: only "
                "arguments that are called …key, …token or …password may."
            )


def stays_here(key: str, node: dict[str, Any]) -> bool:
    """Whether the logger `logger.KEY` writes files on this machine, and nothing else."""
    if key == WANDB:
        return node["mode"] == "offline"
    target = resolve(node["_target_"], f"logger.{key}._target_")
    return target.__module__.startswith("lightning.") and target.__name__ in HERE


def close_loggers(results: dict[str, float], failed: bool, folder: Path) -> dict[str, str]:
    """End what `make_loggers` began for the run in `folder`: several runs in one process must not become one.

    `results` are the run's final metrics. Returns why a copy is not complete, by logger.
    """
    problems = {}
    for copy in [copy for copy in _copies if copy.folder == folder]:
        _copies.remove(copy)
        copy.close(results, failed)
        if copy.problem:
            problems[copy.key if isinstance(copy, LoggerCopy) else WANDB] = copy.problem
    return problems
