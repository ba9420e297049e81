"""Power against statsmodels, and effect sizes by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower

from tlx.results.statistics.effect import cohens_dz, hedges_gz
from tlx.results.statistics.power import (
    detectable_difference,
    known_difference,
    power_of,
    round_below,
    seeds_for,
    std_interval,
)


@pytest.mark.parametrize("n", [2, 3, 5, 12, 40])
@pytest.mark.parametrize("level", [0.05, 0.05 / 8])
def test_statsmodels(n: int, level: float) -> None:
    theirs = TTestPower().solve_power(nobs=n, alpha=level, power=0.8)
    assert known_difference(0.02, n, level) == pytest.approx(0.02 * theirs, rel=3e-3)  # as far as their solver goes


def test_seeds_needed() -> None:
    theirs = TTestPower().solve_power(effect_size=0.9, alpha=0.05, power=0.8)
    assert seeds_for(1.0, 0.9, seen=100_000) == math.ceil(theirs), "a spread that is as good as known"
    assert [seeds_for(1.0, 0.9, seen) for seen in (3, 5, 10)] == [27, 18, 14], (
        "the less is known of it the more it takes"
    )
    assert seeds_for(1.0, 1e-6, 5) is None


def test_the_spread_is_uncertain() -> None:
    low, high = std_interval(1.0, 5)
    assert (low, high) == (pytest.approx(2 / math.sqrt(11.1433)), pytest.approx(2 / math.sqrt(0.484419)))
    rng = np.random.default_rng(0)
    bounds = [std_interval(float(rng.normal(0, 2, 5).std(ddof=1)), 5) for _ in range(4000)]
    assert np.mean([low <= 2 <= high for low, high in bounds]) == pytest.approx(0.95, abs=0.01)


def test_what_five_seeds_can_show() -> None:
    found = power_of(0.0107, 5)
    assert found is not None
    assert found.detectable == pytest.approx(0.0224, abs=1e-4)
    assert known_difference(0.0107, 5) == pytest.approx(0.018, abs=1e-4)
    assert (found.low, found.high) == (pytest.approx(0.0108, abs=1e-4), pytest.approx(0.0517, abs=1e-4))
    assert (found.finer, found.seeds) == (0.01, 16)
    assert found.detectable == pytest.approx(detectable_difference(1.0, 5) * 0.0107)
    assert power_of(0.01, 1) is power_of(0.0, 5) is power_of(None, 5) is None


@given(st.floats(1e-4, 10), st.integers(3, 30))
def test_more_seeds_see_more(std: float, n: int) -> None:
    assert detectable_difference(std, n + 1) < detectable_difference(std, n)
    assert seeds_for(std, detectable_difference(std, n), seen=n) == n
    assert detectable_difference(std, n) > known_difference(std, n)


def test_nothing_above_the_most_there_can_be() -> None:
    """Two seeds with a spread of 5 points, among 21 gains: the formula says 2,900 points."""
    found = power_of(0.05, 2, 0.05 / 21, most=1.0)
    assert found is not None and found.detectable is found.low is found.high is None
    assert found.finer == 0.5 and found.seeds is not None and found.seeds > 2
    some = power_of(0.05, 3, 0.05, most=1.0)
    assert some is not None and some.detectable == pytest.approx(0.253, abs=1e-3) and some.high is None


@given(st.floats(1e-6, 1e6))
def test_round_numbers(value: float) -> None:
    found = round_below(value)
    assert found <= value * (1 + 1e-9) and value < 2.5 * found * (1 + 1e-9)


def test_effect_sizes() -> None:
    assert cohens_dz(0.02, 0.01) == 2.0
    assert cohens_dz(0.02, 0.0) is cohens_dz(0.02, None) is None
    factor = math.gamma(2) / (math.sqrt(2) * math.gamma(1.5))
    assert hedges_gz(0.02, 0.01, 5) == pytest.approx(2 * factor)
    assert factor == pytest.approx(1 - 3 / (4 * 4 - 1), abs=0.01)  # the approximation that textbooks give
    assert hedges_gz(0.02, 0.01, 2) is None


def test_hedges_takes_the_bias_away() -> None:
    draws = np.random.default_rng(0).normal(0.5, 1, (20_000, 5))
    means, stds = draws.mean(axis=1), draws.std(axis=1, ddof=1)
    plain = np.mean([cohens_dz(m, s) for m, s in zip(means, stds, strict=True)])
    corrected = np.mean([hedges_gz(m, s, 5) for m, s in zip(means, stds, strict=True)])
    assert plain == pytest.approx(0.627, abs=0.02)
    assert corrected == pytest.approx(0.5, abs=0.02)
