"""The launcher that `tlx train -m` uses: Hydra composes, tlx.sweeps carries out."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class TlxLauncher(Launcher):
    """Hands the frozen runs of a study to the backend that its options name (`configs/hydra/launcher/*.yaml`)."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.study: Any = task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        self.study.carry_out(self.options)
        return []
