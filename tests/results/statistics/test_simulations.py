"""Scores with a known truth: do the intervals hold it, do the tests keep their errors, is the power line right?"""

import numpy as np
import pytest

from tlx.results.statistics import holm, paired_t
from tlx.results.statistics.exact import can_decide, sign_flip_p, wilcoxon_p
from tlx.results.statistics.power import detectable_difference, known_difference
from tlx.results.statistics.resampling import percentile_interval, widened_interval

TRUTH, SEED_STD, NOISE_STD = 0.02, 0.03, 0.01


def paired_differences(n: int, studies: int, gain: float = TRUTH) -> list[list[float]]:
    """Differences of `studies` cells to their baselines, n seeds each: what a seed does to both sides cancels."""
    rng = np.random.default_rng(n)
    common = rng.normal(0.7, SEED_STD, (studies, n))
    first = common + gain + rng.normal(0, NOISE_STD, (studies, n))
    second = common + rng.normal(0, NOISE_STD, (studies, n))
    return (first - second).tolist()


@pytest.mark.parametrize("n", [3, 5, 10])
def test_t_intervals_cover(n: int) -> None:
    found = [paired_t(values) for values in paired_differences(n, 2000)]
    covered = np.mean([f.low <= TRUTH <= f.high for f in found])
    assert covered == pytest.approx(0.95, abs=0.02)


def test_the_bootstrap_of_five_seeds_does_not_cover_unless_widened() -> None:
    """The numbers that tlx/results/statistics/resampling.py states: percentiles alone hold 83 % instead of 95."""
    rng = np.random.default_rng(0)

    def coverage(n: int, studies: int) -> tuple[float, float]:
        plain, widened = [], []
        for values in np.array(paired_differences(n, studies)):
            draws = values[rng.integers(n, size=(1000, n))].mean(axis=1)
            for hits, (low, high) in (
                (plain, percentile_interval(draws)),
                (widened, widened_interval(draws, values.mean(), n)),
            ):
                hits.append(low <= TRUTH <= high)
        return float(np.mean(plain)), float(np.mean(widened))

    plain, widened = coverage(5, 2000)
    assert 0.80 < plain < 0.86 and 0.92 < widened < 0.97
    plain, widened = coverage(20, 1000)
    assert plain < 0.95 and 0.93 < widened < 0.97


@pytest.mark.parametrize("n", [3, 5])
def test_holm_keeps_the_family_wise_error(n: int) -> None:
    """Tables of 8 strategies that all do nothing, compared with one scratch; some with a few that really help."""
    rng = np.random.default_rng(n)
    studies, cells = 2000, 8
    for helping in (0, 3):
        scratch = rng.normal(0.7, NOISE_STD, (studies, 1, n))
        scores = rng.normal(0.7, NOISE_STD, (studies, cells, n))
        scores[:, :helping] += 0.05
        wrong_plain = wrong = 0
        for table in (scores - scratch).tolist():
            ps = [paired_t(cell).p for cell in table]
            wrong_plain += any(p is not None and p <= 0.05 for p in ps[helping:])
            wrong += any(p is not None and p <= 0.05 for p in holm(ps)[helping:])
        assert wrong / studies < 0.05 + 0.01
        assert wrong_plain / studies > 0.12  # what the correction is for


def test_exact_tests_keep_their_error_at_eight_seeds() -> None:
    rng = np.random.default_rng(0)
    skewed = rng.exponential(size=(1500, 8)) * rng.choice([-1, 1], size=(1500, 8))  # symmetric, far from normal
    for test in (sign_flip_p, wilcoxon_p):
        assert np.mean([test(values) <= 0.05 for values in skewed.tolist()]) < 0.05 + 0.012
    assert all(can_decide(values) for values in skewed.tolist())


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_power_line_is_right(n: int) -> None:
    """Each study states what another of its kind would find, by its own spread: that is found in 80 % of cases."""
    studies = 3000
    rng = np.random.default_rng(n)
    stated = [detectable_difference(np.std(values, ddof=1), n) for values in paired_differences(n, studies)]
    noise = rng.normal(0, NOISE_STD * 2**0.5, (studies, n))
    for factor, low, high in ((1.0, 0.78, 0.82), (0.8, 0.5, 0.78), (1.25, 0.82, 1.0)):
        ps = [paired_t((factor * gain + values).tolist()).p for gain, values in zip(stated, noise, strict=True)]
        assert low <= np.mean([p is not None and p <= 0.05 for p in ps]) <= high
    plain = [known_difference(np.std(values, ddof=1), n) for values in paired_differences(n, studies)]
    ps = [paired_t((gain + values).tolist()).p for gain, values in zip(plain, noise, strict=True)]
    assert np.mean([p is not None and p <= 0.05 for p in ps]) < 0.78, "why the spread's uncertainty is included"
