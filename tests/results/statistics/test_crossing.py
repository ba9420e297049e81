"""Where a curve reaches its goal: exact on straight lines, silent about what was not measured, with an interval."""

from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlx.results.statistics.crossing import crossing


def line(slope: float, offset: float, noise: float = 0.0) -> dict[float, dict[int, float]]:
    """Distances of three seeds that rise by `slope` with each doubling of the labels; on average 0 at 2^offset."""
    return {
        size: {seed: slope * (log2(size) - offset) + noise * (seed - 1) for seed in range(3)}
        for size in (8.0, 32.0, 128.0)
    }


@settings(deadline=None)
@given(st.floats(0.05, 1), st.floats(3.2, 6.8))
def test_a_straight_line_is_crossed_where_it_is_zero(slope: float, offset: float) -> None:
    found = crossing(line(slope, offset))
    assert found.labels == pytest.approx(2**offset, rel=0.01)
    assert found.low is found.high is None and not found.at_most and found.n == 3


def test_noise_makes_an_interval() -> None:
    exact, noisy = crossing(line(0.1, 5)), crossing(line(0.1, 5, 0.02))
    assert noisy.labels == exact.labels == pytest.approx(32)
    assert noisy.low < 32 < noisy.high
    # t(0.975, 2) · 0.02 / √3, in doublings of 0.1
    assert log2(noisy.high / 32) == pytest.approx(4.303 * 0.02 / 3**0.5 / 0.1, abs=0.02)
    assert log2(32 / noisy.low) == pytest.approx(4.303 * 0.02 / 3**0.5 / 0.1, abs=0.02)


def test_what_was_not_measured_is_not_claimed() -> None:
    assert crossing(line(0.1, 9))[:3] == (None, None, None)
    early = crossing(line(0.1, 2))
    assert early.labels == 8 and early.at_most
    unsure = crossing(line(0.02, 6.9, 0.05))
    assert unsure.labels == pytest.approx(2**6.9, rel=0.01) and unsure.high is None and unsure.low == 8
    assert crossing({}).n == 0
    assert crossing({8.0: {0: 1.0}, 32.0: {1: 1.0}}).n == 0
    one = crossing({8.0: {0: -1.0}, 32.0: {0: 1.0, 1: 5.0}})
    assert one.labels == pytest.approx(16) and one.low is one.high is None and one.n == 1


@pytest.mark.slow
def test_the_interval_covers_at_the_nominal_rate() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(1000):
        curve = {
            float(size): {seed: 0.1 * (log2(size) - 6) + rng.normal(0, 0.04) for seed in range(5)}
            for size in (8, 32, 128, 512)
        }
        found = crossing(curve)
        inside += (found.low or 0) <= 64 <= (found.high or np.inf)
    assert 0.93 <= inside / 1000 <= 0.99  # between two sizes noise is averaged: a little wide
