"""The statistics of a table: pure functions on small lists of scores, one score a seed.

Means and deviations are Python's `statistics` module, which is exact: scores that are all the same have deviation 0.0
and not 1e-17. Only the t quantile needs scipy, and only `scipy.special` (a quarter of the import time of
`scipy.stats`).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import sqrt
from statistics import fmean, stdev
from typing import Any, NamedTuple

DIRECTIONS = ("higher", "lower")


class Spread(NamedTuple):
    """Mean, standard deviation (ddof 1) and number of scores; mean None at n = 0, std None at n < 2."""

    mean: float | None
    std: float | None
    n: int


class Gain(NamedTuple):
    """A mean paired difference, positive = better, with its interval and number of pairs."""

    gain: float | None
    low: float | None
    high: float | None
    n: int


def mean_std(scores: Sequence[float]) -> Spread:
    """Mean and sample standard deviation, sqrt(Σ(x − mean)² / (n − 1)).

    Args:
        scores: shape (n,), one a seed.
    """
    if not scores:
        return Spread(None, None, 0)
    return Spread(fmean(scores), stdev(scores) if len(scores) > 1 else None, len(scores))


def paired_gain(
    scores: Mapping[Any, float], baseline: Mapping[Any, float], direction: str, level: float = 0.95
) -> Gain:
    """Mean over common seeds of score − baseline (baseline − score where lower is better), with a paired t interval.

    The interval is mean ± t(level, n − 1) · std / sqrt(n) of the n differences; None below two pairs.

    Args:
        scores: seed → score, shape (m,).
        baseline: seed → score of the baseline, shape (k,); seeds that only one side has are left out.
        direction: "higher" or "lower", whichever is better.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is 'higher' or 'lower', not {direction!r}")
    sign = 1.0 if direction == "higher" else -1.0
    differences = [sign * (scores[seed] - baseline[seed]) for seed in scores if seed in baseline]
    mean, std, n = mean_std(differences)
    if mean is None or std is None:
        return Gain(mean, None, None, n)
    half = t_quantile(level, n - 1) * std / sqrt(n)
    return Gain(mean, mean - half, mean + half, n)


@lru_cache
def t_quantile(level: float, freedom: int) -> float:
    """The t with P(|T| < t) = level for Student's distribution with `freedom` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def transfer_ratio(score: float | None, scratch: float | None, direction: str) -> float | None:
    """Score with transfer ÷ score from scratch; None where that means nothing: lower is better, or scratch ≤ 0."""
    if score is None or scratch is None or direction != "higher" or scratch <= 0:
        return None
    return score / scratch
