"""Any logger of Lightning's kind as a copy of what a run logs: one history per run, and never in the run's way."""

import inspect
import json
import logging
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from tlx.config.instantiate import instantiate
from tlx.config.names import resolve
from tlx.errors import UserError, one_line
from tlx.record.atomic import atomic
from tlx.record.masking import masked

BEGUN = "loggers.json"  # in the run's folder: by logger, what its history is called where it is kept
ASIDE = ".replaced-"
AGAIN = ("run_id", "experiment_key", "id", "version")  # arguments that say which history is gone on with

log = logging.getLogger(__name__)


class LoggerCopy(Logger):
    """Passes what a run logs on to the logger that the config's node `logger.KEY` describes.

    `kept` is what earlier sittings logged: (step, metrics), the steps rising. A logger that takes the name of a history
    (AGAIN) goes on with its own; one that writes into the run's folder writes all of it anew; to any other the whole
    history is sent, once.

    Whatever the logger raises is said once, as a warning; nothing more is logged then, and `problem` holds the reason.
    """

    def __init__(
        self, key: str, folder: Path, config: dict[str, Any], kept: list[tuple[int, dict[str, float]]]
    ) -> None:
        super().__init__()
        self.key, self.folder, self.config = key, folder, config
        self.node = config["logger"][key]
        self.problem: str | None = None
        self._kept, self._last = kept, 0
        self._sent: set[tuple[int, frozenset[str]]] = set()
        self._inner: Logger | None = None

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def version(self) -> int | str | None:
        return self._inner.version if self._inner else None

    @property
    def experiment(self) -> Any:
        """The logger's own, begun when it is first asked for (Lightning asks before training); None without one."""
        self._open()
        return getattr(self._inner, "experiment", None)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the whole config is there from the beginning."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        assert step is not None
        self._open()
        with self._guarded("log"):
            self._send(step, metrics)

    def save(self) -> None:
        if self._inner is not None:
            with self._guarded("save"):
                self._inner.save()

    def close(self, results: Mapping[str, float], failed: bool) -> None:
        """End the history with the run's final metrics; a later sitting of the run may take it up again."""
        inner, self._inner = self._inner, None
        if inner is None:
            return
        with self._guarded("log"):
            known = {name for _, names in self._sent for name in names}
            rest = {name: value for name, value in results.items() if value is not None and name not in known}
            if rest and self.problem is None:
                taken = inspect.signature(inner.log_hyperparams).parameters
                if "metrics" in taken:  # shown beside the config; logged, too
                    step = {"step": self._last} if "step" in taken else {}
                    inner.log_hyperparams(self._about(), rest, **step)
                else:
                    inner.log_metrics(rest, self._last)
        with self._guarded("end its history"):  # in any case: what is open in this process must not stay so
            inner.save()
            inner.finalize("failed" if failed else "success")

    def _send(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log what was not logged before: a sitting that goes on from a checkpoint comes by some steps twice."""
        key = step, frozenset(metrics) - {"epoch"}
        if self.problem is None and self._inner is not None and key not in self._sent:
            self._sent.add(key)
            self._inner.log_metrics(dict(metrics), step)
            self._last = max(step, self._last)

    @rank_zero_only
    def _open(self) -> None:
        if self._inner is None and self.problem is None:
            with self._guarded("begin"):
                self._begin()

    def _begin(self) -> None:
        known = self._begun()
        extra = given(self.node, self.key, self.folder, self.config, known.get(self.key))
        inner: Logger = instantiate(self.node, f"logger.{self.key}", **extra)
        place = Path(inner.log_dir) if isinstance(inner, TensorBoardLogger | CSVLogger) and inner.log_dir else None
        there = place is not None and place.is_dir() and any(place.iterdir())
        within = place is not None and self.folder.resolve() in place.resolve().parents
        aside = place.with_name(ASIDE + place.name) if place and within else None
        if place and there and aside:
            shutil.rmtree(aside, ignore_errors=True)  # what a sitting that was killed left
            place.rename(aside)
        try:
            _ = getattr(inner, "experiment", None)
            if self.key not in known:  # to some, a setting that is another one now (workers, paths) is an error
                inner.log_hyperparams(self._about())
        except BaseException:
            if place and there and aside:
                shutil.rmtree(place, ignore_errors=True)
                aside.rename(place)
            raise
        self._inner = inner
        goes_on = self.key in known or (there and aside is None and not isinstance(inner, CSVLogger))
        for step, metrics in self._kept:
            if goes_on:
                self._sent.add((step, frozenset(metrics) - {"epoch"}))
            else:
                self._send(step, metrics)
        self._last = max([self._last, *(step for step, _ in self._kept)])
        if aside:
            shutil.rmtree(aside, ignore_errors=True)
        if inner.version not in (None, "") and place is None:
            with atomic(self.folder / BEGUN) as file:
                file.write(json.dumps(known | {self.key: inner.version}).encode())

    def _begun(self) -> dict[str, Any]:
        """The histories of this attempt at the run that were begun before; a damaged file names none."""
        try:
            read = json.loads((self.folder / BEGUN).read_text())
        except (OSError, ValueError):
            return {}
        return read if isinstance(read, dict) else {}

    def _about(self) -> dict[str, Any]:
        """The config as the record has it: no secrets, and the loggers aside, which change nothing."""
        return masked({key: value for key, value in self.config.items() if key not in ("run", "logger")})

    @contextmanager
    def _guarded(self, to_do: str) -> Iterator[None]:
        """Let no failure of a logger reach the run, nor what it draws from the generators."""
        state, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002
        try:
            with torch.random.fork_rng(devices=[]):
                yield
        except Exception as error:
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            first = self.problem is None
            self.problem = self.problem or f"could not {to_do}: {kind}{masked(one_line(error))}"
            if first:
                log.warning("logger.%s %s. The run goes on; metrics.csv has everything.", self.key, self.problem)
        finally:
            random.setstate(state)
            np.random.set_state(numbers)  # noqa: NPY002


def given(
    node: Mapping[str, Any], key: str, folder: Path, config: Mapping[str, Any], history: int | str | None = None
) -> dict[str, Any]:
    """Arguments of a logger that its yaml leaves out, by their names: the run's name, its study, a place in its folder.

    `history` is what was begun before and is gone on with.
    """
    target = resolve(node["_target_"], f"logger.{key}._target_")
    study = folder.parent.name
    words: dict[str, Any] = {
        "save_dir": str(folder / key),
        "root_dir": str(folder / key),
        "name": folder.name,
        "run_name": folder.name,
        "experiment_name": study,
        "project": study,
        "group": config["run"]["cell"][:16],
    }
    if isinstance(target, type) and issubclass(target, TensorBoardLogger | CSVLogger):
        # Folders within folders: save_dir/name/version.
        words |= {"name": folder.name if "save_dir" in node else "", "default_hp_metric": False}
        words["version"] = folder.name if "name" in node else ""
    taken = inspect.signature(target).parameters
    words |= {name: history for name in [n for n in AGAIN if n in taken][:1] if history is not None}
    return {name: value for name, value in words.items() if name in taken and name not in node}
