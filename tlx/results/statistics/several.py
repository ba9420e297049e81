"""Several datasets together: the measures of Agarwal et al., Deep RL at the Edge of the Statistical Precipice (2021).

The definitions are those of their package rliable. Score matrices have shape (runs, datasets), larger = better.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def interquartile_mean(scores: "np.ndarray") -> float:
    """Mean of the middle half of all scores, over runs and datasets: the lowest and highest ⌊n/4⌋ are cut off.

    Args:
        scores: shape (runs, datasets).
    """
    import numpy as np

    ordered = np.sort(np.asarray(scores, dtype=float), axis=None)
    cut = int(0.25 * len(ordered))
    return float(ordered[cut : len(ordered) - cut].mean())


def probability_of_improvement(scores: "np.ndarray", others: "np.ndarray", paired: bool = False) -> float:
    """P(X > Y) + P(X = Y)/2 for a run X of `scores` and a run Y of `others`, averaged over the datasets.

    It is the Mann-Whitney U of each dataset divided by its greatest value; runs are not paired.

    Args:
        scores: shape (runs, datasets).
        others: shape (other runs, datasets).
        paired: row i of both is the same seed. Two runs of one seed have more in common than two others, so that they
            say nothing of independent runs: they are left out, where there is more than one row.
    """
    import numpy as np

    if paired and len(scores) > 1:
        rows = len(scores)
        without = [probability_of_improvement(scores[i : i + 1], np.delete(others, i, axis=0)) for i in range(rows)]
        return float(np.mean(without))
    x, y = np.asarray(scores, dtype=float)[:, None], np.asarray(others, dtype=float)[None]
    return float(((x > y) + (x == y) / 2).mean())


def performance_profile(scores: "np.ndarray", thresholds: Sequence[float]) -> "np.ndarray":
    """The share of all runs with a score above each threshold, shape (thresholds,).

    Args:
        scores: shape (runs, datasets).
        thresholds: the scores at which to look.
    """
    import numpy as np

    return np.array([np.mean(np.asarray(scores) > threshold) for threshold in thresholds])
