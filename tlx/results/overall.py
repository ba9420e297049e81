"""Two sides over several data sets together (Agarwal et al. 2021; see `tlx.results.statistics.several`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlx.results.cells import Cell
from tlx.results.statistics.over_datasets import improvement_interval, mean_interval
from tlx.results.statistics.several import interquartile_mean, performance_profile, probability_of_improvement

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Overall:
    """What the pairs say together, a pair of cells being a task.

    `first` and `second` hold the scores, shape (runs, tasks), of the seeds that the two cells of each task share: of as
    many as the task with the fewest has. No measure here pairs runs of different tasks, so that their seeds may differ.
    Intervals are 95 % ones for these tasks and any other seeds; None below 3 seeds a task.
    """

    datasets: list[Any]
    direction: str
    first: "np.ndarray"
    second: "np.ndarray"
    first_mean: float  # interquartile means
    second_mean: float
    first_interval: tuple[float, float] | None
    second_interval: tuple[float, float] | None
    improvement: float  # probability that a run of the first side is better than one of the second
    improvement_interval: tuple[float, float] | None

    def profiles(self, thresholds: Sequence[float]) -> "tuple[np.ndarray, np.ndarray]":
        """The share of each side's runs with a score above each threshold, shape (thresholds,) each."""
        return performance_profile(self.first, thresholds), performance_profile(self.second, thresholds)


def over_datasets(pairs: Sequence[tuple[Any, Cell, Cell]], metric: str, direction: str) -> Overall | None:
    """The pairs together; None where they are all of one data set, or a pair shares no seed.

    Args:
        pairs: (data set, first cell, second cell).
    """
    import numpy as np

    datasets = list(dict.fromkeys(dataset for dataset, _, _ in pairs))
    scores = [[cell.scores(metric) for cell in pair[1:]] for pair in pairs]
    shared = [[seed for seed in mine if seed in theirs] for mine, theirs in scores]
    runs = min(map(len, shared))
    if len(datasets) < 2 or not runs:
        return None
    first, second = (
        np.array([[pair[side][seed] for seed in seeds[:runs]] for pair, seeds in zip(scores, shared, strict=True)]).T
        for side in (0, 1)
    )
    sign = 1 if direction == "higher" else -1

    return Overall(
        datasets=datasets,
        direction=direction,
        first=first,
        second=second,
        first_mean=interquartile_mean(first),
        second_mean=interquartile_mean(second),
        first_interval=mean_interval(first),
        second_interval=mean_interval(second),
        improvement=probability_of_improvement(sign * first, sign * second, paired=True),
        improvement_interval=improvement_interval(sign * first, sign * second),
    )
