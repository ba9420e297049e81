"""Resampled test examples: the metrics are scikit-learn's, the interval is what it must be where it is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from tlx.results.statistics.examples import (
    METRICS,
    Scored,
    binomial_margin,
    example_interval,
    metric_of,
    resampled,
)

THEIRS = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": lambda labels, predicted: sk.recall_score(
        labels, predicted, labels=np.unique(labels), average="macro"
    ),
    "macro_f1": lambda labels, predicted: sk.f1_score(labels, predicted, average="macro", zero_division=0.0),
    "matthews": sk.matthews_corrcoef,
}


def scored(seed: int, runs: int = 3, examples: int = 200, classes: int = 4, skill: float = 0.7) -> Scored:
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(99).integers(classes - 1, size=examples)  # the last class never occurs
    right = rng.random((runs, examples)) < skill
    predicted = np.where(right, labels, rng.integers(classes, size=(runs, examples)))
    return Scored(labels, predicted, rng.exponential(size=(runs, examples)), classes)


@pytest.mark.parametrize("metric", METRICS)
def test_scikit_learn(metric: str) -> None:
    data = scored(0)  # one class never occurs, and is predicted
    ours = metric_of(data, metric)
    assert ours.shape == (1, 3)
    if metric == "loss":
        assert ours[0] == pytest.approx(data.losses.mean(axis=1))
        return
    for run, predicted in enumerate(data.predicted):
        assert ours[0, run] == pytest.approx(THEIRS[metric](data.labels, predicted), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_weights_are_repetitions(metric: str) -> None:
    data = scored(1, examples=50)
    picked = np.random.default_rng(2).integers(50, size=50)
    repeated = Scored(data.labels[picked], data.predicted[:, picked], data.losses[:, picked], data.classes)
    weights = np.bincount(picked, minlength=50)[None].astype(float)
    assert metric_of(data, metric, weights) == pytest.approx(metric_of(repeated, metric))


def test_five_hundred_questions_at_ninety_percent() -> None:
    labels = np.zeros(500, dtype=int)
    predicted = (np.arange(500) < 50).astype(int)[None]
    data = Scored(labels, predicted, np.zeros((1, 500)), 2)
    assert binomial_margin(0.9, 500) == pytest.approx(0.0294, abs=1e-4)
    (draws,) = resampled("accuracy", data, resamples=4000)
    assert 0.9 - np.quantile(draws, 0.025) == pytest.approx(binomial_margin(0.9, 500), rel=0.15)


@given(st.integers(1, 1000), st.data())
def test_a_margin_is_the_larger_side_of_wilsons_interval(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    low, high = stats.binomtest(k, n).proportion_ci(0.95, "wilson")
    assert binomial_margin(k / n, n) == pytest.approx(max(k / n - low, high - k / n), abs=1e-6)
    assert binomial_margin(k / n, n) > 0 and binomial_margin(1.0, n) == pytest.approx(binomial_margin(0.0, n))


@pytest.mark.parametrize("n", [100, 359, 1000])
def test_a_margin_holds_the_truth(n: int) -> None:
    """In 95 % of test sets on average over the truths, and in no less than 94 %; Wald's in almost none of p near 1."""
    hits = np.arange(n + 1)
    margins = np.array([binomial_margin(k / n, n) for k in hits])
    truths = np.linspace(0.001, 0.999, 999)
    held = [stats.binom.pmf(hits, n, p)[np.abs(hits / n - p) <= margins + 1e-12].sum() for p in truths]
    assert min(held) > 0.94 and np.mean(held) > 0.95


def test_sides_are_paired_over_examples() -> None:
    """Two models that fail on the same examples differ by far less than each is uncertain by."""
    data = scored(3, runs=1, examples=400)
    better = data.predicted.copy()
    wrong = np.flatnonzero(better[0] != data.labels)[:8]
    better[0, wrong] = data.labels[wrong]
    low, high = example_interval("accuracy", Scored(data.labels, better, data.losses, 4), data, "higher")
    assert 0 < low < 8 / 400 < high
    assert high - low < binomial_margin(0.7, 400)
    assert (high + low) / 2 == pytest.approx(0.02, abs=0.004)
    swapped = example_interval("accuracy", Scored(data.labels, better, data.losses, 4), data, "lower")
    assert swapped == (pytest.approx(-high), pytest.approx(-low))


def test_coverage_over_draws_of_examples() -> None:
    """Two fixed models, 150 test examples drawn again and again: the interval holds the true difference."""
    rng, hits = np.random.default_rng(5), 0
    for _ in range(100):
        both, only, examples = 0.6, 0.25, 150  # right in both; only in the first; 5 % only in the second
        kind = rng.choice(4, size=examples, p=[both, only, 0.05, 0.1])
        labels = np.zeros(examples, dtype=int)
        first, second = (kind > 1).astype(int)[None], np.isin(kind, (1, 3)).astype(int)[None]
        sides = [Scored(labels, side, np.zeros((1, examples)), 2) for side in (first, second)]
        low, high = example_interval("accuracy", *sides, "higher")
        hits += low <= 0.2 <= high
    assert hits / 100 == pytest.approx(0.95, abs=0.05)
    assert math.isclose(only - 0.05, 0.2)
