"""The measures over several datasets, as rliable defines them; bootstraps, and when there are none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from tlx.results.statistics.over_datasets import improvement_interval, mean_interval
from tlx.results.statistics.resampling import percentile_interval, seed_interval
from tlx.results.statistics.several import interquartile_mean, performance_profile, probability_of_improvement

X = np.array([[0.61, 0.50, 0.93], [0.72, 0.55, 0.91], [0.66, 0.50, 0.95], [0.70, 0.58, 0.90], [0.10, 0.57, 0.92]])
Y = np.array([[0.60, 0.50, 0.90], [0.65, 0.54, 0.91], [0.66, 0.52, 0.89], [0.69, 0.50, 0.90]])
matrices = arrays(float, st.tuples(st.integers(1, 6), st.just(3)), elements=st.integers(0, 10).map(lambda v: v / 10))


def test_interquartile_mean_is_rliables() -> None:
    """aggregate_iqm: scipy.stats.trim_mean(scores, proportiontocut=0.25, axis=None)."""
    assert interquartile_mean(X) == pytest.approx(stats.trim_mean(X, 0.25, axis=None))
    assert interquartile_mean(Y) == pytest.approx(stats.trim_mean(Y, 0.25, axis=None))
    assert interquartile_mean(X) == pytest.approx(0.6888888888888889)  # what rliable 1.2.0 itself gives for X and Y
    assert interquartile_mean(Y) == pytest.approx(0.6716666666666667)
    assert interquartile_mean(np.array([[1.0, 2.0], [3.0, 100.0]])) == 2.5


def test_probability_of_improvement_is_rliables() -> None:
    """probability_of_improvement: Mann-Whitney U of each task ÷ (runs × other runs), averaged over tasks."""
    of_tasks = [stats.mannwhitneyu(X[:, t], Y[:, t], alternative="greater").statistic / 20 for t in range(3)]
    assert probability_of_improvement(X, Y) == pytest.approx(np.mean(of_tasks))
    assert probability_of_improvement(X, Y) == pytest.approx(0.7166666666666667)  # rliable 1.2.0
    assert probability_of_improvement(X, X) == 0.5


def test_performance_profile_is_rliables() -> None:
    """run_score_deviation: np.mean(scores > tau)."""
    assert performance_profile(X, [0.0, 0.6, 0.93, 1.0]).tolist() == [1.0, 9 / 15, 1 / 15, 0.0]


@given(matrices, matrices)
def test_properties(x: np.ndarray, y: np.ndarray) -> None:
    assert probability_of_improvement(x, y) + probability_of_improvement(y, x) == pytest.approx(1)
    assert x.min() - 1e-12 <= interquartile_mean(x) <= x.max() + 1e-12
    profile = performance_profile(x, np.linspace(-0.1, 1.1, 13))
    assert profile[0] == 1 and profile[-1] == 0 and (np.diff(profile) <= 0).all()


def test_runs_of_one_seed_say_nothing_of_independent_runs() -> None:
    shared = np.random.default_rng(0).normal(0, 1, (6, 2))
    assert probability_of_improvement(shared + 0.01, shared, paired=True) == pytest.approx(
        np.mean([shared[i, t] + 0.01 > shared[j, t] for t in range(2) for i in range(6) for j in range(6) if i != j])
    )
    assert probability_of_improvement(shared + 0.01, shared) > 0.58, "each run is better than its own seed's"
    assert probability_of_improvement(shared[:1] + 1, shared[:1], paired=True) == 1.0


def test_no_interval_of_few_seeds() -> None:
    assert seed_interval(np.arange(19.0)) is None
    assert mean_interval(X[:2]) is improvement_interval(X[:2], Y[:2]) is None
    assert mean_interval(X[:1]) is improvement_interval(X[:1], Y[:1]) is None, "one seed had an interval without width"


def test_bootstrap_of_many_seeds_is_scipys() -> None:
    values = np.random.default_rng(3).normal(0.02, 0.01, 40)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    factor = (40 / 39) ** 0.5 * stats.t.ppf(0.975, 39) / stats.norm.ppf(0.975)
    ends = [values.mean() + factor * (end - values.mean()) for end in theirs]
    assert seed_interval(values, resamples=20_000) == pytest.approx(tuple(ends), abs=2e-4)
    assert seed_interval(values) == seed_interval(values)


def test_runs_are_resampled_within_their_dataset() -> None:
    """With runs that are all the same within a dataset nothing varies, however far the datasets are apart."""
    assert mean_interval(np.tile([0.1, 0.5, 0.9], (8, 1))) is None
    rng = np.random.default_rng(0)
    apart, together = (np.array(means) + rng.normal(0, 0.01, (5, 3)) for means in ([0.1, 0.5, 0.9], [0.5, 0.5, 0.5]))
    for scores in (apart, together):
        low, high = mean_interval(scores) or (1, 0)
        assert low < interquartile_mean(scores) < high and high - low < 0.05


def test_the_interval_of_one_dataset_that_is_all_kept_is_students() -> None:
    """Where the middle half has only the runs of one task, which is all of them, it is the t interval of their mean."""
    scores = np.array([[0.1, 0.50, 0.9], [0.1, 0.52, 0.9], [0.1, 0.55, 0.9], [0.1, 0.49, 0.9]])
    scores = np.repeat(scores, [1, 2, 1], axis=1)  # 16 scores; the middle 8 are the two tasks in the middle
    found = mean_interval(scores, resamples=20_000)
    error = scores[:, 1].std(ddof=1) / 4**0.5 / 2**0.5
    half = stats.t.ppf(0.975, 6) * error
    assert found == pytest.approx((scores[:, 1].mean() - half, scores[:, 1].mean() + half), abs=5e-4)


@given(matrices.filter(lambda m: len(m) > 2), st.integers(0, 3))
def test_the_interval_of_the_probability_holds_the_estimate(x: np.ndarray, shift: int) -> None:
    y = np.roll(x, shift, axis=1)
    estimate = probability_of_improvement(x, y, paired=True)
    low, high = improvement_interval(x, y) or (1, 0)
    assert 0 <= low <= estimate <= high <= 1 and high - low > 0.01
    other_low, other_high = improvement_interval(y, x) or (1, 0)
    assert (1 - other_high, 1 - other_low) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))


def test_a_probability_of_one_is_not_certain() -> None:
    rng = np.random.default_rng(0)
    for tasks, least in ((2, 0.6), (10, 0.85)):
        base = rng.normal(0, 0.01, (5, tasks))
        low, high = improvement_interval(base + 1, base) or (0, 0)
        assert least < low < 0.99 and high == 1.0


def test_percentiles() -> None:
    assert percentile_interval(np.arange(1001.0), 0.9) == pytest.approx((50, 950))
