"""Mean and deviation of one cell's scores, one score a seed.

Both are Python's `statistics` module, which is exact: scores that are all the same have deviation 0.0 and not 1e-17.
"""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple


class Spread(NamedTuple):
    """Mean, standard deviation (ddof 1) and number of scores; mean None at n = 0, std None at n < 2."""

    mean: float | None
    std: float | None
    n: int


def mean_std(scores: Sequence[float]) -> Spread:
    """Mean and sample standard deviation, sqrt(Σ(x − mean)² / (n − 1)).

    Args:
        scores: shape (n,), one a seed.
    """
    if not scores:
        return Spread(None, None, 0)
    return Spread(fmean(scores), stdev(scores) if len(scores) > 1 else None, len(scores))
