"""Learning-rate schedules: factors in [0, 1], warm-up and end where they are said to be, equal to the formulas."""

import math
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.schedules import constant, cosine, linear, slanted_triangular

totals = st.integers(1, 2000)
shares = st.floats(0, 1)
ALL = [linear, cosine, constant]


@pytest.mark.parametrize("schedule", [*ALL, lambda s, t, w: slanted_triangular(s, t, cut=w)])
@given(totals, shares)
def test_every_factor_lies_between_0_and_1(schedule: Callable, total: int, warmup: float) -> None:
    values = [schedule(step, total, warmup) for step in {*range(0, total + 1, max(1, total // 50)), total}]
    assert all(0 <= v <= 1 + 1e-12 for v in values)


@pytest.mark.parametrize("schedule", ALL)
@given(totals, shares)
def test_the_first_step_is_never_lost_and_the_warm_up_rises_evenly(
    schedule: Callable, total: int, warmup: float
) -> None:
    steps = round(warmup * total)
    values = [schedule(step, total, warmup) for step in range(min(steps, total))]
    assert schedule(0, total, warmup) > 0
    assert values == pytest.approx([(i + 1) / (steps + 1) for i in range(len(values))])


@given(totals, st.floats(0, 0.9))
def test_linear_and_cosine_equal_their_formulas_after_the_warm_up(total: int, warmup: float) -> None:
    start = round(warmup * total)
    for step in range(start, total):
        progress = (step - start) / (total - start)
        assert linear(step, total, warmup) == pytest.approx(1 - progress)
        assert cosine(step, total, warmup) == pytest.approx((1 + math.cos(math.pi * progress)) / 2, abs=1e-12)
        assert constant(step, total, warmup) == 1
    if start < total:
        assert linear(total, total, warmup) == pytest.approx(0) == cosine(total, total, warmup)


@pytest.mark.parametrize("schedule", [partial(linear, warmup=0.3), partial(cosine, warmup=0.3), slanted_triangular])
def test_there_is_one_peak(schedule: Callable) -> None:
    values = [schedule(step, 200) for step in range(201)]
    top = values.index(max(values))
    assert values[top] == pytest.approx(1)
    assert values[: top + 1] == sorted(values[: top + 1]) and values[top:] == sorted(values[top:], reverse=True)


@given(st.integers(20, 2000), st.floats(0.05, 0.9), st.floats(2, 100))
def test_slanted_triangular_is_equation_3_of_the_paper(total: int, cut: float, ratio: float) -> None:
    top = math.floor(total * cut)
    for step in range(total):
        if step < top:
            p = step / top
        else:
            p = 1 - (step - top) / (total - top)  # = 1 − (t − cut) / (cut · (1/cut_frac − 1)), cut_frac = cut / T
        assert slanted_triangular(step, total, cut, ratio) == pytest.approx((1 + p * (ratio - 1)) / ratio)
    assert slanted_triangular(0, total, cut, ratio) == pytest.approx(1 / ratio)
    assert slanted_triangular(top, total, cut, ratio) == pytest.approx(1)


@pytest.mark.parametrize("schedule", [*ALL, slanted_triangular])
def test_a_training_of_one_step_is_a_training(schedule: Callable) -> None:
    assert schedule(0, 1) > 0


@pytest.mark.parametrize("schedule", [*ALL, slanted_triangular])
def test_a_schedule_has_no_memory(schedule: Callable) -> None:
    forwards = [schedule(step, 40) for step in range(41)]
    backwards = [schedule(step, 40) for step in reversed(range(41))]
    assert forwards == backwards[::-1]
