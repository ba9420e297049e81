"""The percentile bootstrap, and when a bootstrap over seeds may be believed.

The percentile bootstrap of five seeds is not an interval of 95 %: its real coverage is about 83 % (simulated in
tests/results/statistics/test_simulations.py), since five values hold too few different resamples and their spread is
that of a sample with ddof 0. So it is used from 20 seeds on, or over several datasets pooled to as many runs.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tlx.streams import stream

if TYPE_CHECKING:
    import numpy as np

ENOUGH = 20  # values to resample
RESAMPLES = 2000


def percentile_interval(draws: "np.ndarray", level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of the draws, shape (resamples,) (Efron & Tibshirani 1993, chapter 13)."""
    import numpy as np

    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def seed_interval(
    differences: Sequence[float], level: float = 0.95, resamples: int = RESAMPLES, enough: int = ENOUGH
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean over seeds; None below `enough` seeds. Always the same resamples.

    Args:
        differences: the paired differences, shape (n,).
    """
    import numpy as np

    values = np.asarray(differences, dtype=float)
    if len(values) < enough:
        return None
    picked = stream(0, "seed_bootstrap").integers(len(values), size=(resamples, len(values)))
    return percentile_interval(values[picked].mean(axis=1), level)


def stratified_interval(
    statistic: Callable[..., float],
    *scores: "np.ndarray",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    enough: int = ENOUGH,
) -> tuple[float, float] | None:
    """Interval of a statistic of whole score matrices: runs are resampled within each dataset (Agarwal et al. 2021).

    Args:
        statistic: takes the matrices, gives a number.
        scores: one or more matrices, shape (runs, datasets) each; the datasets are never resampled, so that the
            interval is for these datasets and no others.

    Returns:
        None where a matrix has fewer than `enough` runs over all its datasets.
    """
    import numpy as np

    if any(matrix.size < enough for matrix in scores):
        return None
    rng = stream(0, "run_bootstrap")
    draws = []
    for _ in range(resamples):
        picked = [rng.integers(matrix.shape[0], size=matrix.shape) for matrix in scores]
        draws.append(statistic(*(np.take_along_axis(m, p, axis=0) for m, p in zip(scores, picked, strict=True))))
    return percentile_interval(np.array(draws), level)
