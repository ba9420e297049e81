"""The frozen runs of one command line, and whoever carries them out: our launcher's engine, or one of Hydra's own."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tlx.config.composer import Composer
from tlx.sweeps.bars import StudyProgress
from tlx.sweeps.engine import Backend, Rules, carry_out, reason, settle
from tlx.sweeps.estimate import Estimate
from tlx.sweeps.jobs import as_jobs
from tlx.sweeps.launchers import make_backend
from tlx.sweeps.study import Planned, unfinished
from tlx.sweeps.worker import NO_WORD, do


@dataclass
class Sweep:
    """The frozen runs of one command line: what a launcher carries out.

    Hydra's own launchers call it once a job, in this process or in one of theirs, with the job's config, which is not
    looked at: what runs is what was checked and written down, whatever became of the yamls since.
    """

    runs: list[Planned]
    backend: Backend | None = None
    interrupted: str | None = None  # the name of the signal that ended the sweep
    todo: list[Planned] = field(default_factory=list)  # what one of Hydra's own launchers does: job N is the Nth

    def carry_out(self, options: dict[str, Any]) -> None:
        """Do all runs that are not finished, as the options of our launcher say."""
        todo = unfinished(self.runs)
        if todo:
            backend = self.backend or make_backend(options, [job.config for job in as_jobs(todo)])
            rules = Rules(options["on_error"], options["retries"])
            names, estimate = {run.folder for run in todo}, None
            if sys.stderr.isatty():  # else nobody sees it, and it reads every record
                estimate = Estimate(todo, [run for run in self.runs if run.folder not in names])
            with StudyProgress(len(self.runs), len(self.runs) - len(todo), estimate) as progress:
                self.interrupted = carry_out(todo, backend, rules, progress)

    def __call__(self, config: Any) -> None:
        from hydra.core.hydra_config import HydraConfig

        do(self.todo[HydraConfig.get().job.num])

    @property
    def summary(self) -> str:
        """What to print at the end, and the command that shows more."""
        done = len(self.runs) - len(self.left)
        return f"{done} of {len(self.runs)} runs done: tlx table {self.runs[0].folder.parent}"

    @property
    def complaint(self) -> str | None:
        """What failed or was not done; None when all is well."""
        left, place = self.left, self.runs[0].folder.parent
        return f"{len(left)} of {len(self.runs)} runs failed or were not done: tlx runs {place}" if left else None

    @property
    def left(self) -> list[Planned]:
        """The runs that have no result: failed, interrupted or not begun."""
        return [run for run in self.runs if not run.finished]


def launch(compose: Composer, overrides: Sequence[str], study: Sweep) -> None:
    """Let one of Hydra's own launchers do what is not finished; then say what failed, as our launcher does.

    Raises:
        RunFailed: the launcher gave up, as joblib's does when one of its processes dies.
    """
    study.todo = unfinished(study.runs)
    if not study.todo:
        return
    try:
        compose.launch(overrides, [run.overrides for run in study.todo], study)
    finally:
        for run in study.todo:
            if settle(run, NO_WORD) not in ("completed", "elsewhere"):
                print(f"failed: {run.folder.name}: {reason(run)}", file=sys.stderr)
