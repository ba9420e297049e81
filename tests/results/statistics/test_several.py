"""The measures over several datasets, as rliable defines them; bootstraps, and when there are none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from tlx.results.statistics.resampling import percentile_interval, seed_interval, stratified_interval
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


def test_no_bootstrap_of_few_seeds() -> None:
    assert seed_interval(np.arange(19.0)) is None
    assert stratified_interval(interquartile_mean, X) is None  # 15 runs
    assert stratified_interval(probability_of_improvement, np.tile(X, (2, 1)), Y) is None


def test_bootstrap_of_many_seeds_is_scipys() -> None:
    values = np.random.default_rng(3).normal(0.02, 0.01, 40)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    assert seed_interval(values, resamples=20_000) == pytest.approx(tuple(theirs), abs=1e-4)
    assert seed_interval(values) == seed_interval(values)


def test_runs_are_resampled_within_their_dataset() -> None:
    """With runs that are all the same within a dataset nothing varies, however far the datasets are apart."""
    constant = np.tile([0.1, 0.5, 0.9], (8, 1))
    assert stratified_interval(interquartile_mean, constant, resamples=50) == pytest.approx(
        (interquartile_mean(constant),) * 2
    )
    low, high = stratified_interval(probability_of_improvement, np.tile(X, (2, 1)), np.tile(Y, (2, 1))) or (1, 0)
    assert low < probability_of_improvement(X, Y) < high


def test_percentiles() -> None:
    assert percentile_interval(np.arange(1001.0), 0.9) == pytest.approx((50, 950))
