"""Sign flips and signed ranks against scipy, and that they know when they cannot decide."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tlx.results.statistics.exact import can_decide, sign_flip_p, smallest_p, wilcoxon_p

DIFFERENCES = [0.11, -0.02, 0.05, 0.04, 0.08, 0.01, -0.03, 0.09]


def test_by_hand() -> None:
    assert sign_flip_p([1.0, 2.0, 3.0]) == 2 / 8
    assert sign_flip_p([1.0, 2.0, -3.0]) == 1.0
    assert sign_flip_p([1.0, 1.0, -1.0, 4.0]) == 8 / 16  # 4 with at most one of the ones against it, and back
    assert wilcoxon_p([0.0, 0.0]) == sign_flip_p([0.0, 0.0]) == 1.0


def test_five_seeds_cannot_go_below_a_sixteenth() -> None:
    five = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert sign_flip_p(five) == wilcoxon_p(five) == smallest_p(five) == 0.0625
    assert not can_decide(five, 0.05)
    assert can_decide([*five, 0.6], 0.05) and not can_decide([*five, 0.6], 0.025)
    assert smallest_p([0.1] * 2000) == 0.0 and smallest_p([0.0]) == 1.0
    assert not can_decide([*five, 0.0], 0.05)  # a difference of zero has no sign to flip


def test_scipys_permutation_test() -> None:
    def total(x, axis):
        return np.sum(x, axis=axis)

    theirs = stats.permutation_test(
        (DIFFERENCES,), total, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip_p(DIFFERENCES) == pytest.approx(theirs.pvalue)


def test_scipys_wilcoxon() -> None:
    assert wilcoxon_p(DIFFERENCES) == pytest.approx(stats.wilcoxon(DIFFERENCES, method="exact").pvalue)


def test_wilcoxon_is_exact_with_ties_too() -> None:
    tied = [0.1, 0.1, -0.1, 0.2, 0.3, 0.3]
    method = stats.PermutationMethod(n_resamples=100_000)  # more than 2⁶: all of them
    assert wilcoxon_p(tied) == pytest.approx(stats.wilcoxon(tied, method=method).pvalue)


def test_many_pairs_are_drawn() -> None:
    values = np.random.default_rng(1).normal(0.2, 1, 25)
    assert sign_flip_p(values.tolist()) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.02)
    assert sign_flip_p(values.tolist()) == sign_flip_p(values.tolist())


@given(st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=10))
def test_properties(values: list[float]) -> None:
    p = sign_flip_p(values)
    assert smallest_p(values) <= p + 1e-12 and p <= 1
    assert sign_flip_p([-value for value in values]) == p
    assert wilcoxon_p(values) == wilcoxon_p([-value for value in values])
