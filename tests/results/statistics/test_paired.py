"""Paired differences, their interval and their test, against closed forms and scipy."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tlx.results.statistics import differences, mean_std, paired_gain, paired_t, settled, t_quantile, transfer_ratio

score = st.floats(0, 1, allow_subnormal=False)
scores = st.dictionaries(st.integers(0, 30), score, max_size=12)


def test_by_hand() -> None:
    assert mean_std([0.9, 0.9, 0.9]) == (0.9, 0.0, 3)
    assert mean_std([1.0, 2.0, 3.0, 4.0]) == (2.5, pytest.approx(math.sqrt(5 / 3)), 4)
    assert mean_std([0.5]) == (0.5, None, 1)
    assert mean_std([]) == (None, None, 0)
    assert t_quantile(0.95, 4) == pytest.approx(2.7764451051977987)
    # differences 0.1, 0.2, 0.3: mean 0.2, std 0.1, t(0.975, 2) = 4.30265273, half width 0.24841377
    gain = paired_gain({0: 0.6, 1: 0.8, 2: 0.8, 7: 0.0}, {2: 0.5, 1: 0.6, 0: 0.5, 9: 1.0}, "higher")
    assert gain[:4] == (pytest.approx(0.2), pytest.approx(-0.04841377), pytest.approx(0.44841377), 3)
    assert gain.std == pytest.approx(0.1)
    assert gain.p == pytest.approx(0.0741799)  # t = 0.2 / (0.1 / sqrt(3)) = 3.4641


def test_few_pairs() -> None:
    assert paired_gain({0: 0.75}, {0: 0.5}, "higher") == (0.25, None, None, 1, None, None)
    assert paired_gain({0: 0.75}, {1: 0.5}, "higher") == (None, None, None, 0, None, None)
    assert paired_gain({}, {}, "lower") == (None, None, None, 0, None, None)


def test_a_direction_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="direction"):
        paired_gain({}, {}, "max")


@given(st.lists(st.tuples(score, score), min_size=3, max_size=12))
def test_interval_is_scipys(pairs: list[tuple[float, float]]) -> None:
    _, std, _ = mean_std([a - b for a, b in pairs])
    gain = paired_t([a - b for a, b in pairs])
    if gain.mean is None or gain.low is None or gain.high is None:
        assert std is not None and std < 1e-9
        return
    if std is not None and std > 1e-6:  # below, scipy's sums of squares lose their digits
        test = stats.ttest_rel([a for a, _ in pairs], [b for _, b in pairs])
        theirs = test.confidence_interval(0.95)
        assert gain.p == pytest.approx(test.pvalue, rel=1e-6)
        assert gain.low == pytest.approx(theirs.low, abs=1e-9)
        assert gain.high == pytest.approx(theirs.high, abs=1e-9)
    assert gain.low <= gain.mean <= gain.high


@given(st.lists(st.tuples(score, score), min_size=2, max_size=12), st.floats(0.5, 0.999))
def test_interval_and_test_say_the_same(pairs: list[tuple[float, float]], level: float) -> None:
    found = paired_t([a - b for a, b in pairs], level)
    if found.p is not None and found.low is not None and found.high is not None and abs(found.p - (1 - level)) > 1e-6:
        assert (found.low > 0 or found.high < 0) == (found.p < 1 - level)


def test_differences_without_noise_have_no_p() -> None:
    """Seeds that all differ by the same amount: a t test would say p = 0, and be sure for no reason."""
    for values in ([0.25, 0.25, 0.25], [0.0, 0.0], [0.1 + 0.2 - 0.2, 0.1, 0.1 + 1e-16]):
        found = paired_t(values)
        assert found.p is found.low is found.high is None and found.std == 0.0
    assert paired_t([0.25, 0.25 + 1e-6]).p is not None


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_equal_gains_in_single_precision_are_equal(direction: str) -> None:
    """All seeds gain 2 of 359 examples: as single precision has it, their spread is 1e-8 and p was below 0.0001."""
    base = {seed: float(np.float32(hits / 359)) for seed, hits in enumerate((319, 322, 327))}
    more = {seed: float(np.float32(hits / 359)) for seed, hits in enumerate((321, 324, 329))}
    assert len({more[seed] - base[seed] for seed in base}) > 1
    gain = paired_gain(more, base, direction)
    assert gain.mean == pytest.approx(2 / 359 if direction == "higher" else -2 / 359, abs=1e-7)
    assert gain.p is gain.low is gain.high is None
    assert set(paired_gain(base, dict(base), direction)) == {0.0, None, 3}


def test_a_real_difference_of_one_example_stays() -> None:
    base = {seed: float(np.float32(hits / 100_000)) for seed, hits in enumerate((81_234, 82_345, 83_456))}
    more = {seed: float(np.float32((hits + by) / 100_000)) for seed, (hits, by) in enumerate(
        ((81_234, 1), (82_345, 2), (83_456, 2)))}  # fmt: skip
    found = differences(more, base, "higher")
    assert found == {0: pytest.approx(1e-5, rel=0.02), 1: found[2], 2: pytest.approx(2e-5, rel=0.02)}
    assert paired_t(list(found.values())).p is not None


@given(st.dictionaries(st.integers(0, 9), st.floats(-1, 1), max_size=8), st.floats(0, 0.1))
def test_settled(values: dict[int, float], reach: float) -> None:
    found = settled(values, reach)
    assert list(found) == list(values)
    assert all(abs(found[seed] - value) <= reach * len(values) + 1e-12 for seed, value in values.items())
    mirrored = settled({seed: -value for seed, value in values.items()}, reach)
    assert {seed: -value for seed, value in mirrored.items()} == pytest.approx(found)
    distinct = sorted(set(found.values()))
    assert len(distinct) <= len(set(values.values()))
    if all(b - a > reach for a, b in pairwise(sorted([*set(values.values()), 0.0]))):
        assert found == values


@given(scores, scores)
def test_direction_turns_the_gain_round(first: dict[int, float], second: dict[int, float]) -> None:
    up, down = paired_gain(first, second, "higher"), paired_gain(first, second, "lower")
    swapped = paired_gain(second, first, "higher")
    assert up.n == down.n == len(first.keys() & second.keys())
    if up.mean is not None and down.mean is not None:
        assert down.mean == pytest.approx(-up.mean) == pytest.approx(swapped.mean)
    if up.low is not None and down.high is not None:
        assert down.high == pytest.approx(-up.low)


@given(scores, st.floats(0.01, 1))
def test_a_shift_is_the_gain_and_has_no_interval(first: dict[int, float], by: float) -> None:
    gain = paired_gain({seed: score + by for seed, score in first.items()}, first, "higher")
    assert gain.low is gain.high is gain.p is None
    if gain.mean is not None:
        assert gain.mean == pytest.approx(by)


@given(st.lists(score, min_size=2, max_size=20))
def test_std_is_the_sample_deviation(values: list[float]) -> None:
    mean, std, n = mean_std(values)
    assert mean is not None and n == len(values)
    assert std == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1)), abs=1e-12)


def test_transfer_ratio() -> None:
    assert transfer_ratio([0.8, 1.0], [0.6, 0.6], "higher") == pytest.approx(1.5)
    assert transfer_ratio([0.9], [0.6], "lower") is None
    assert transfer_ratio([0.9], [0.0], "higher") is None
    assert transfer_ratio([0.9], [-0.2], "higher") is None
    assert transfer_ratio([0.9], [0.01], "higher") is None
    assert transfer_ratio([0.9] * 4, [0.3, -0.2, 0.1, 0.0], "higher") is None, "within two standard errors of 0"
    assert transfer_ratio([], [0.6], "higher") is None
    assert transfer_ratio([0.9], [], "higher") is None
