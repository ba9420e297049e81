"""The percentile bootstrap, and when a bootstrap over seeds may be believed.

The percentile bootstrap of five seeds is not an interval of 95 %: its real coverage is about 83 % (simulated in
benchmarks/intervals.py), since five values hold too few different resamples, their spread is that of a sample with ddof
0, and it is taken for known. So it is used from 20 seeds on, and widened by what is left of the last two.
"""

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING

from tlx.results.statistics.paired import t_quantile
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


def widened_interval(draws: "np.ndarray", center: float, units: int, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval, its ends moved away from `center` for what so few resampled units leave out of it.

    By sqrt(n/(n − 1)), as resampled units vary by (n − 1)/n of the variance, and by t(n − 1) ÷ z, as their spread is an
    estimate (Hesterberg, American Statistician 69, 2015, section 3.2). At 100 units that is 2 %, at 20 it is 10 %.

    Args:
        draws: shape (resamples,); `center`: the statistic of the sample itself.
        units: what was resampled: seeds, examples, or groups of examples; at least 2.
    """
    low, high = percentile_interval(draws, level)
    factor = sqrt(units / (units - 1)) * t_quantile(level, units - 1) / t_quantile(level, 10**9)
    return center - factor * (center - low), center + factor * (high - center)


def seed_interval(
    differences: Sequence[float], level: float = 0.95, resamples: int = RESAMPLES, enough: int = ENOUGH
) -> tuple[float, float] | None:
    """Bootstrap interval (widened) of the mean over seeds; None below `enough` seeds. Always the same resamples.

    Args:
        differences: the paired differences, shape (n,).
    """
    import numpy as np

    values = np.asarray(differences, dtype=float)
    if len(values) < enough:
        return None
    picked = stream(0, "seed_bootstrap").integers(len(values), size=(resamples, len(values)))
    return widened_interval(values[picked].mean(axis=1), float(values.mean()), len(values), level)
