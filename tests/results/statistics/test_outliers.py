"""A collapsed seed is flagged, a clean cell hardly ever."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.results.statistics.outliers import outliers


def cell(*scores: float) -> dict[int, float]:
    return dict(enumerate(scores))


def test_a_collapsed_seed_among_five() -> None:
    assert outliers(cell(0.95, 0.96, 0.31, 0.94, 0.955)) == {2: "far below"}
    assert outliers(cell(0.1, 0.11, 0.105, 0.9, 0.1), examples=359) == {3: "far above"}


def test_two_collapsed_seeds_do_not_hide_each_other() -> None:
    assert outliers(cell(0.95, 0.95, 0.31, 0.95, 0.3), examples=359) == {2: "far below", 4: "far below"}


def test_chance_level() -> None:
    noisy = cell(0.75, 0.35, 0.11, 0.55, 0.6)
    assert outliers(noisy, examples=359) == {}
    assert outliers(noisy, examples=359, chance=0.1) == {2: "at chance"}
    assert outliers(cell(0.11, 0.1, 0.12, 0.09, 0.13), examples=359, chance=0.1) == {}  # all of them: no outlier
    assert outliers(cell(0.8, 0.7, 0.02), examples=359, chance=0.0) == {2: "at chance"}


def test_close_seeds_accuse_none_for_a_trifle() -> None:
    """Four equal scores have MAD 0; what 359 examples cannot tell apart is no outlier."""
    assert outliers(cell(0.95, 0.95, 0.95, 0.95, 0.94), examples=359) == {}
    assert outliers(cell(2.0, 2.0, 2.0, 2.0, 2.001)) == {}
    assert outliers(cell(2.0, 2.0, 2.0, 2.0, 9.0)) == {4: "far above"}
    assert outliers(cell(0.95, 0.95, 0.95, 0.95, 0.75), examples=359) == {4: "far below"}


def test_few_seeds() -> None:
    assert outliers(cell(0.9, 0.1)) == outliers({}) == {}
    assert outliers(cell(0.8, 0.8, 0.6)) == {}  # two of three are often close by luck


@pytest.mark.parametrize("n", [4, 5, 7, 10, 11, 20, 40])
def test_one_clean_cell_in_a_hundred_is_flagged(n: int) -> None:
    draws = np.random.default_rng(n).normal(0, 1, (3000, n))
    flagged = np.mean([bool(outliers(dict(enumerate(row)))) for row in draws.tolist()])
    assert 0.002 < flagged < 0.02 or (n == 40 and flagged < 0.025)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=12))
def test_never_more_than_half(scores: list[float]) -> None:
    flagged = outliers(cell(*scores), examples=100)
    assert len(flagged) < len(scores) / 2 + 1
    assert all(reason in ("far below", "far above") for reason in flagged.values())
