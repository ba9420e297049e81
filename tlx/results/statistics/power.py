"""Power: which differences so many seeds can show, and how many seeds a smaller one needs.

Everything is for the paired t test, two-sided, at 80 % power: a difference of the stated size is found in four of five
studies. The deviation is estimated from the same few seeds. Taken for the truth, it would promise too much: it is as
often too small as too large, and a test loses more by a spread that was underrated than it gains by one that was
overrated (61 to 74 % instead of 80 at 3 to 10 seeds). So the power is averaged over what the estimate can be (the
assurance of O'Hagan, Stevens & Campbell, Pharmaceutical Statistics 4, 2005): over studies of which each states its
difference by its own spread, a gain of the stated size is found in 80 %.
"""

from functools import lru_cache
from math import floor, inf, isclose, log10, sqrt
from typing import TYPE_CHECKING, NamedTuple

from tlx.results.statistics.paired import t_quantile

if TYPE_CHECKING:
    import numpy as np

POWER = 0.8
MOST = 10_000  # seeds; nobody asks for more
NODES = 200  # places of each integral: the power is right to 1e-3


class Power(NamedTuple):
    """The detectable difference at n pairs, and a finer one.

    `low` and `high`: what would be detectable if the deviation were known to lie at the ends of its 95 % interval. Each
    of the three is None where it is more than there can be.
    `seeds` pairs would show `finer`; both are None where more than 10,000 were needed.
    """

    n: int
    detectable: float | None
    low: float | None
    high: float | None
    finer: float | None
    seeds: int | None


def detectable_difference(std: float, n: int, level: float = 0.05, power: float = POWER) -> float:
    """The true mean difference that a paired t test of n pairs finds with probability `power`, given only an estimate.

    k · std, where P(|k · S + Z/sqrt(n)| > t · W/sqrt(n)) = power over the estimate S it is stated by, and the mean Z
    and deviation W of the study that is to find it: S², W² ~ χ²(n − 1)/(n − 1), Z ~ N(0, 1), t the critical value of
    `level`. As all three are in units of the true deviation, k depends on n and the level alone.

    Args:
        std: standard deviation of the paired differences, as estimated from n of them.
        n: pairs, at least 2.
        level: two-sided level of the test, after correction.
    """
    return _factor(n, n, level, power) * std


def known_difference(std: float, n: int, level: float = 0.05, power: float = POWER) -> float:
    """What is detectable when `std` is the true deviation: δ · std / sqrt(n), P(T(n − 1, δ) > t) = power.

    The other tail, less than 1e-5 at 80 % power, is left out.
    """
    from scipy.special import nctdtrinc

    return float(nctdtrinc(n - 1, 1 - power, t_quantile(1 - level, n - 1))) * std / sqrt(n)


@lru_cache
def _factor(n: int, seen: int, level: float, power: float) -> float:
    """The k at which n pairs find k times the deviation that `seen` pairs show, with probability `power`."""
    low, high = 0.0, 1.0
    while _found(high, n, seen, level) < power:
        low, high = high, 2 * high
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _found(middle, n, seen, level) < power else (low, middle)
    return high


def _found(factor: float, n: int, seen: int, level: float) -> float:
    """How often n pairs find a true difference of `factor` times the deviation that `seen` other pairs showed."""
    from scipy.special import ndtr

    stated = factor * sqrt(n) * _deviations(seen - 1)[:, None]
    needed = t_quantile(1 - level, n - 1) * _deviations(n - 1)[None]
    return float((ndtr(stated - needed) + ndtr(-stated - needed)).mean())


@lru_cache
def _deviations(freedom: int) -> "np.ndarray":
    """Estimated ÷ true deviation at equally probable places, shape (NODES,)."""
    import numpy as np
    from scipy.special import gammaincinv

    return np.sqrt(gammaincinv(freedom / 2, (np.arange(NODES) + 0.5) / NODES) * 2 / freedom)


def std_interval(std: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """The χ² interval of a standard deviation from n values: std · sqrt((n − 1)/χ²), upper and lower quantile.

    At n = 5 that is 0.60 to 2.87 times the estimate.
    """
    from scipy.special import chdtri

    tail = (1 - level) / 2
    return std * sqrt((n - 1) / chdtri(n - 1, tail)), std * sqrt((n - 1) / chdtri(n - 1, 1 - tail))


def seeds_for(std: float, difference: float, seen: int, level: float = 0.05, power: float = POWER) -> int | None:
    """The least number of pairs that shows `difference`, `std` being estimated from `seen`; None above 10,000."""

    def shows(n: int) -> bool:
        return _found(difference / std * (1 + 1e-5), n, seen, level) >= power

    few, many = 1, 2
    while not shows(many):
        few, many = many, 2 * many
        if few > MOST:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if shows(middle) else (middle, many)
    return many


def power_of(std: float | None, n: int, level: float = 0.05, most: float = inf) -> Power | None:
    """What n pairs with this deviation can show; None below two pairs or without spread.

    The finer difference is the largest of 1, 2 or 5 times a power of ten up to two thirds of the detectable one.

    Args:
        most: the largest difference that there can be, 1 for scores that are shares; the finer one is below it.
    """
    if not std or n < 2:
        return None
    detectable = detectable_difference(std, n, level)
    ends = [known_difference(end, n, level) for end in std_interval(std, n)]
    finer = round_below(min(detectable, most) * 2 / 3)
    seeds = seeds_for(std, finer, n, level)
    shown, low, high = (value if value <= most else None for value in (detectable, *ends))
    return Power(n, shown, low, high, finer if seeds else None, seeds)


def round_below(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above `value`."""
    unit = 10.0 ** floor(log10(value))
    steps = [step * unit for step in (0.5, 1, 2, 5, 10)]
    return max(step for step in steps if step < value or isclose(step, value))
