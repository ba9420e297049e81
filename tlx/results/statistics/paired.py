"""Two cells compared seed by seed: the differences, their t interval and t test.

Only Student's distribution needs scipy, and only `scipy.special` (a quarter of the import time of `scipy.stats`).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import sqrt
from statistics import fmean, median
from typing import Any, NamedTuple

from tlx.results.statistics.spread import mean_std

DIRECTIONS = ("higher", "lower")
ROUNDING = 1e-6  # of the largest score: what the single precision of older records can have added to a difference


class PairedT(NamedTuple):
    """A mean paired difference, positive = better, with its t interval, number of pairs, deviation and two-sided p.

    mean is None without a pair, std below two pairs; low, high and p there and where the differences do not vary.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    std: float | None
    p: float | None


def differences(scores: Mapping[Any, float], baseline: Mapping[Any, float], direction: str) -> dict[Any, float]:
    """Seed → score − baseline (baseline − score where lower is better) over the seeds that both sides have.

    Differences that are equal up to rounding are made equal (see `settled`).

    Args:
        scores: seed → score, shape (m,).
        baseline: seed → score of the baseline, shape (k,).
        direction: "higher" or "lower", whichever is better.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is 'higher' or 'lower', not {direction!r}")
    sign = 1.0 if direction == "higher" else -1.0
    found = {seed: sign * (score - baseline[seed]) for seed, score in scores.items() if seed in baseline}
    largest = max((max(abs(scores[seed]), abs(baseline[seed])) for seed in found), default=0.0)
    return settled(found, ROUNDING * largest)


def settled(values: Mapping[Any, float], reach: float) -> dict[Any, float]:
    """The values, those that lie within `reach` of each other made equal to their median, and to 0 when that is near.

    Scores that are counts over counts differ by multiples of 1/examples; what single precision leaves of three equal
    differences is a spread of 1e-8, against which a t test would find any gain sure.
    """
    groups: list[list[Any]] = []
    for seed in sorted(values, key=lambda seed: values[seed]):
        if groups and values[seed] - values[groups[-1][-1]] <= reach:
            groups[-1].append(seed)
        else:
            groups.append([seed])
    same: dict[Any, float] = {}
    for group in groups:
        near = any(abs(values[seed]) <= reach for seed in group)
        value = 0.0 if near else median(values[seed] for seed in group)
        same |= dict.fromkeys(group, value)
    return {seed: same[seed] for seed in values}


def paired_t(values: Sequence[float], level: float = 0.95) -> PairedT:
    """Interval mean ± t(level, n − 1) · std / sqrt(n) and p = P(|T| ≥ |mean| · sqrt(n) / std), T ~ t(n − 1).

    This is Student's paired test; it takes the differences to be normal, which at n = 5 nothing can check. Differences
    that are all the same have no noise to compare their mean with: p is None, not 0, and an interval without width,
    which would claim to know the gain exactly, is none.

    Args:
        values: the paired differences, shape (n,).
        level: the interval's coverage.
    """
    mean, std, n = mean_std(values)
    if mean is None or std is None:
        return PairedT(mean, None, None, n, None, None)
    if still(values):
        return PairedT(mean, None, None, n, 0.0, None)
    half = t_quantile(level, n - 1) * std / sqrt(n)
    return PairedT(mean, mean - half, mean + half, n, std, t_p(mean * sqrt(n) / std, n - 1))


def paired_gain(
    scores: Mapping[Any, float], baseline: Mapping[Any, float], direction: str, level: float = 0.95
) -> PairedT:
    """`paired_t` of the `differences` of two cells."""
    return paired_t(list(differences(scores, baseline, direction).values()), level)


def still(values: Sequence[float]) -> bool:
    """Whether the values are all the same but for rounding."""
    return max(values) - min(values) <= 1e-9 * max(abs(value) for value in values)


@lru_cache
def t_quantile(level: float, freedom: int) -> float:
    """The t with P(|T| < t) = level for Student's distribution with `freedom` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def t_p(t: float, freedom: int) -> float:
    """P(|T| ≥ |t|) for Student's distribution with `freedom` degrees of freedom."""
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))


def transfer_ratio(scores: Sequence[float], scratch: Sequence[float], direction: str) -> float | None:
    """Mean score with transfer ÷ mean score from scratch, over the same seeds.

    None where that means nothing: lower is better, or the mean from scratch is near 0: at most 0.01, or within two
    standard errors over its seeds.

    Args:
        scores: with transfer, one a seed, shape (n,).
        scratch: from scratch, of the same seeds, shape (n,).
        direction: "higher" or "lower", whichever is better.
    """
    if not scores or not scratch or direction != "higher":
        return None
    mean, std, n = mean_std(scratch)
    if mean is None or mean <= max(0.01, 2 * (std or 0.0) / sqrt(n)):
        return None
    return fmean(scores) / mean
