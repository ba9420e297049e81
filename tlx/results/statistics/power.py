"""Power: which differences so many seeds can show, and how many seeds a smaller one needs.

Everything is for the paired t test, two-sided, at 80 % power: a difference of the stated size is found in four of five
studies. The deviation is estimated from the same few seeds, so that what it implies is as uncertain as it is.
"""

from functools import lru_cache
from math import floor, isclose, log10, sqrt
from typing import NamedTuple

from tlx.results.statistics.paired import t_quantile

POWER = 0.8
MOST = 10_000  # seeds; nobody asks for more


class Power(NamedTuple):
    """The detectable difference at n pairs, the 95 % interval that the uncertain deviation gives it, and a finer one.

    `seeds` pairs would show `finer`; both are None where more than 10,000 were needed.
    """

    n: int
    detectable: float
    low: float
    high: float
    finer: float | None
    seeds: int | None


def detectable_difference(std: float, n: int, level: float = 0.05, power: float = POWER) -> float:
    """The true mean difference that a paired t test finds with probability `power`: δ · std / sqrt(n).

    δ is the non-centrality with P(T(n − 1, δ) > t) = power at the critical t of `level`. The other tail, less than 1e-5
    at 80 % power, is left out.

    Args:
        std: standard deviation of the paired differences.
        n: pairs, at least 2.
        level: two-sided level of the test, after correction.
    """
    return _noncentrality(n, level, power) * std / sqrt(n)


@lru_cache
def _noncentrality(n: int, level: float, power: float) -> float:
    from scipy.special import nctdtrinc

    return float(nctdtrinc(n - 1, 1 - power, t_quantile(1 - level, n - 1)))


def std_interval(std: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """The χ² interval of a standard deviation from n values: std · sqrt((n − 1)/χ²), upper and lower quantile.

    At n = 5 that is 0.60 to 2.87 times the estimate.
    """
    from scipy.special import chdtri

    tail = (1 - level) / 2
    return std * sqrt((n - 1) / chdtri(n - 1, tail)), std * sqrt((n - 1) / chdtri(n - 1, 1 - tail))


def seeds_for(std: float, difference: float, level: float = 0.05, power: float = POWER) -> int | None:
    """The least number of pairs that shows `difference`; None when it is above 10,000."""

    def shows(n: int) -> bool:
        return detectable_difference(std, n, level, power) <= difference * (1 + 1e-9)

    few, many = 1, 2
    while not shows(many):
        few, many = many, 2 * many
        if few > MOST:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if shows(middle) else (middle, many)
    return many


def power_of(std: float | None, n: int, level: float = 0.05) -> Power | None:
    """What n pairs with this deviation can show; None below two pairs or without spread.

    The finer difference is the largest of 1, 2 or 5 times a power of ten up to two thirds of the detectable one.
    """
    if not std or n < 2:
        return None
    detectable = detectable_difference(std, n, level)
    low, high = (detectable * bound / std for bound in std_interval(std, n))
    finer = round_below(detectable * 2 / 3)
    seeds = seeds_for(std, finer, level)
    return Power(n, detectable, low, high, finer if seeds else None, seeds)


def round_below(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above `value`."""
    unit = 10.0 ** floor(log10(value))
    steps = [step * unit for step in (0.5, 1, 2, 5, 10)]
    return max(step for step in steps if step < value or isclose(step, value))
