"""The sweeper of `hydra/sweeper=optuna`: Hydra composes, tlx.sweeps.search asks, runs and tells."""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class TlxSweeper(Sweeper):
    """Hands the overrides to the search, with its options (`configs/hydra/sweeper/optuna.yaml`)."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.search: Any = task_function

    def sweep(self, arguments: list[str]) -> Any:
        return self.search(arguments, self.options)
