"""Weights & Biases as a copy of what a run logs: complete, one run there per run here, and never in the run's way."""

import logging
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from tlx.record.masking import masked

INIT_SECONDS, FINISH_SECONDS = 20.0, 60.0  # what a server that does not answer may cost a run at its ends
ASIDE = ".replaced-"

log = logging.getLogger(__name__)


class WandbCopy(Logger):
    """Logs to a wandb run of its own, which a run that is taken up again continues.

    `name`, `group` and `run_id` are the run's there, `kept` is what earlier sittings logged: (step, metrics), the steps
    rising. Offline, a folder of an earlier sitting is replaced by one with the whole history. Online, only steps that
    the server does not know yet are sent.

    Whatever wandb raises is said once, as a warning; nothing more is logged then, and `problem` holds the reason.
    """

    def __init__(
        self,
        folder: Path,
        run_id: str,
        group: str,
        config: dict[str, Any],
        kept: list[tuple[int, dict[str, float]]],
    ) -> None:
        super().__init__()
        self.folder, self.run_id, self.group, self.config = folder, run_id, group, config
        self.options = config["logger"]["wandb"]
        self.offline = self.options["mode"] == "offline"
        self.problem: str | None = None
        self._kept, self._first = deque(kept), 0
        self._run: Any = None

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def version(self) -> str:
        return self.run_id

    @property
    def experiment(self) -> Any:
        """wandb's run, begun when it is first asked for (Lightning asks before training); None without one."""
        self._open()
        return self._run

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the whole config is there from the beginning."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        assert step is not None
        with self._guarded("log"):
            self._replay(step)
            self._log(metrics, step)

    def close(self, results: Mapping[str, float], failed: bool) -> None:
        """End the run there, with `results` in its summary; a later sitting of the run may take it up again."""
        if self._run is None:
            return
        with self._guarded("log"):
            self._replay(None)
            if results and self.problem is None:
                self._run.log({}, commit=True)  # the last row, whose values would else replace results of that name
                self._run.summary.update(dict(results))
        with self._guarded("end its run"):  # in any case: the next run in this process must not find it open
            self._run.finish(exit_code=int(failed))
        self._run = None

    @rank_zero_only
    def _open(self) -> None:
        if self._run is None and self.problem is None:
            with self._guarded("begin a run"):
                self._begin()

    def _begin(self) -> None:
        import wandb

        aside = self._set_aside() if self.offline else []
        try:
            run = wandb.init(
                dir=self.folder,
                id=self.run_id,
                name=self.name,
                group=self.group,
                project=self.options["project"],
                entity=self.options["entity"],
                config=masked(self.config),
                mode=self.options["mode"],
                resume=None if self.offline else "allow",
                reinit="create_new",  # a run of ours never becomes part of another one in the same process
                settings=wandb.Settings(
                    console="off",  # log.txt has it
                    silent=self.offline,
                    init_timeout=INIT_SECONDS,
                    login_timeout=INIT_SECONDS,
                    finish_timeout=FINISH_SECONDS,
                    finish_timeout_raises=True,
                ),
            )
        except BaseException:
            for folder in self._offline_folders() if self.offline else ():  # what was begun of a new one
                shutil.rmtree(folder)
            for folder in aside:
                folder.rename(folder.with_name(folder.name.removeprefix(ASIDE)))
            raise
        self._run, self._first = run, run.starting_step
        for folder in aside:
            shutil.rmtree(folder)

    def _set_aside(self) -> list[Path]:
        """Rename the offline folders of earlier sittings, out of the way of a new one in the same second."""
        for folder in self._offline_folders():
            folder.rename(folder.with_name(ASIDE + folder.name))
        return self._offline_folders(ASIDE)  # also what a sitting that was killed left

    def _offline_folders(self, prefix: str = "") -> list[Path]:
        return list(self.folder.glob(f"wandb/{prefix}offline-run-*-{self.run_id}"))

    def _replay(self, until: int | None) -> None:
        """Log what earlier sittings did, up to and with a step (None: all of it)."""
        while self._kept and (until is None or self._kept[0][0] <= until):
            step, metrics = self._kept.popleft()
            self._log(metrics, step)

    def _log(self, metrics: Mapping[str, float], step: int) -> None:
        # A step that the server has is not sent again: wandb would drop it, with a warning each time.
        if self.problem is None and self.experiment is not None and step >= self._first:
            self._run.log(dict(metrics), step=step)

    @contextmanager
    def _guarded(self, to_do: str) -> Iterator[None]:
        """Let no failure of wandb (a dead server, a full disk, a bug) reach the run."""
        try:
            yield
        except Exception as error:
            reason = " ".join(str(error).split())
            first = self.problem is None
            self.problem = self.problem or f"could not {to_do}: {type(error).__name__}: {reason}"
            if first:
                log.warning("wandb %s. The run goes on without it; metrics.csv has everything.", self.problem)
