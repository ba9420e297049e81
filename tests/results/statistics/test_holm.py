"""Holm's correction against statsmodels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from tlx.results.statistics import holm

ps = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == [pytest.approx(0.03), pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([None, 0.02, None]) == [None, 0.02, None]
    assert holm([]) == []


@pytest.mark.parametrize(
    "values", [[0.03], [0.01, 0.04, 0.03], [0.5, 0.001, 0.001, 0.012, 0.9], [0.0, 1.0, 0.025, 0.02]]
)
def test_statsmodels(values: list[float]) -> None:
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1].tolist())


@given(ps)
def test_properties(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(p is not None and value <= p <= 1 for value, p in zip(values, adjusted, strict=True))
    order = sorted(range(len(values)), key=lambda i: values[i])
    in_order = [adjusted[i] for i in order]
    assert in_order == sorted(in_order)
