"""Holm's procedure on intervals: interval, p and verdict say the same in every table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.results.statistics import holm, holm_intervals, paired_t, verdict
from tlx.results.statistics.verdict import AFTER, HELPS, HURTS, OPEN, UNJUDGED

tables = st.lists(st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=6), min_size=1, max_size=9)
shifted = st.tuples(tables, st.lists(st.floats(-3, 3), min_size=9, max_size=9)).map(
    lambda drawn: [[value + by for value in values] for values, by in zip(*drawn, strict=False)]
)


@given(st.one_of(tables, shifted))
def test_helps_or_hurts_exactly_where_the_interval_leaves_out_zero(samples: list[list[float]]) -> None:
    tests = [paired_t(values) for values in samples]
    adjusted = holm([test.p for test in tests])
    for test, corrected, p in zip(tests, holm_intervals(samples), adjusted, strict=True):
        said = verdict(test, corrected)
        if corrected is None:
            assert test.p is p is None and said in (OPEN, UNJUDGED)
            continue
        assert p is not None and test.mean is not None and test.low is not None and test.high is not None
        assert said == (HELPS if corrected.low > 0 else HURTS if corrected.high < 0 else said)
        assert (said in (HELPS, HURTS)) == (not corrected.low <= 0 <= corrected.high) == corrected.sure
        if abs(p - 0.05) > 1e-6:
            assert corrected.sure == (p < 0.05)
        assert corrected.low <= test.low <= test.mean <= test.high <= corrected.high
        if said == AFTER and abs((test.p or 0) - 0.05) > 1e-6:
            assert test.low > 0 or test.high < 0, "what fails by the correction alone passes without it"
        if said == OPEN and abs((test.p or 0) - 0.05) > 1e-6:
            assert test.low <= 0 <= test.high, "no evidence never stands beside an interval without zero"


def test_the_steps() -> None:
    """Of three the first is taken at 1 − 0.05/3; it is sure, so the second is taken at 1 − 0.05/2 and ends it."""
    sure, unsure, weak = (
        [0.10, 0.11, 0.09, 0.10, 0.12],
        [0.05, 0.02, 0.10, -0.01, 0.06],
        [0.05, -0.03, 0.01, 0.02, -0.04],
    )
    found = holm_intervals([weak, sure, [0.1, 0.1, 0.1], unsure, [0.3]])
    assert [one and round(one.coverage, 6) for one in found] == [0.975, 0.983333, None, 0.975, None]
    assert [one and one.sure for one in found] == [False, True, None, False, None]
    alone = holm_intervals([unsure])[0]
    assert alone is not None and alone[:2] == paired_t(unsure)[1:3] and alone.coverage == 0.95
    assert holm_intervals([]) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [([], None), ([0.3], OPEN), ([0.0, 0.0, 0.0], OPEN), ([0.2, 0.2, 0.2], UNJUDGED), ([-0.2, -0.2], UNJUDGED)],
)
def test_what_no_interval_can_say(values: list[float], said: str | None) -> None:
    assert verdict(paired_t(values), holm_intervals([values])[0]) == said
