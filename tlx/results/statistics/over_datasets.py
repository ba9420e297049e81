"""Intervals of the measures over several data sets, for as few seeds as there are.

The stratified percentile bootstrap of Agarwal et al. (2021) has no width with one run a task, and covers 0.77 to 0.91
instead of 0.95 with 2 to 5: resampled runs vary by (n − 1)/n of the variance, quantiles of a normal distribution are
taken where the spread is an estimate, and a probability of 1 is taken to be exact (benchmarks/intervals.py).
"""

from math import sqrt
from typing import TYPE_CHECKING

from tlx.results.statistics.paired import t_quantile
from tlx.results.statistics.resampling import RESAMPLES
from tlx.results.statistics.several import interquartile_mean, probability_of_improvement
from tlx.streams import stream

if TYPE_CHECKING:
    import numpy as np

SEEDS = 3  # runs a task below which there is no interval: two say too little of a spread
PLACES = 601  # at which the interval of a probability is looked for


def mean_interval(scores: "np.ndarray", level: float = 0.95, resamples: int = RESAMPLES) -> tuple[float, float] | None:
    """Interval of the interquartile mean that as many runs a task have on average: mean ± t(level, df) · s.

    s is the bootstrap's standard error of runs resampled within their tasks, their distances from the task's mean
    multiplied by sqrt(n/(n − 1)). The degrees of freedom are Satterthwaite's of the tasks' variances, each weighted by
    the share of its runs that lie in the middle half. Always the same resamples.

    Args:
        scores: shape (runs, tasks); the tasks are never resampled: the interval is for these and no others.

    Returns:
        None below `SEEDS` runs a task, and where no run of the middle half varies.
    """
    import numpy as np

    n, tasks = scores.shape
    if n < SEEDS:
        return None
    means = scores.mean(axis=0)
    spread = (scores - means) * sqrt(n / (n - 1))
    picked = stream(0, "run_bootstrap").integers(n, size=(resamples, n, tasks))
    drawn = means + np.take_along_axis(np.broadcast_to(spread, picked.shape), picked, axis=1)
    flat = np.sort(drawn.reshape(resamples, -1), axis=1)
    cut = int(0.25 * flat.shape[1])
    error = float(flat[:, cut : flat.shape[1] - cut].mean(axis=1).std(ddof=1))
    order = np.argsort(scores, axis=None)
    kept = np.zeros(scores.size)
    kept[order[cut : scores.size - cut]] = 1
    variances = (kept.reshape(n, tasks).mean(axis=0) * scores.std(axis=0, ddof=1)) ** 2
    if error <= 1e-12 * np.abs(scores).max() or not variances.sum():
        return None
    freedom = (n - 1) * variances.sum() ** 2 / (variances**2).sum()
    half = t_quantile(level, int(freedom)) * error
    middle = interquartile_mean(scores)
    return middle - half, middle + half


def improvement_interval(scores: "np.ndarray", others: "np.ndarray", level: float = 0.95) -> tuple[float, float] | None:
    """Interval of the probability that a run of `scores` is better than an independent one of `others`.

    It holds the probabilities P that the estimate is not farther from than t(level, tasks · (n − 1)) · sqrt(r · V(P)).
    V is the variance of Mann and Whitney's statistic at P (Hanley & McNeil, Radiology 143, 1982; evaluated at P and not
    at the estimate, as by Newcombe, Statistics in Medicine 25, 2006, so that an estimate of 1 is not certain),
    r how many times as large the jackknife over seeds finds it as independent runs would have it: less than once where
    both sides share what their seeds do. To go along P, the tasks' log odds, shrunk towards each other as far as they
    differ by chance, are moved together.

    Args:
        scores, others: shape (runs, tasks) each, larger = better; one row is one seed on both sides.

    Returns:
        None below `SEEDS` runs a task.
    """
    import numpy as np
    from scipy.special import expit, logit

    n, tasks = scores.shape
    if n < SEEDS:
        return None
    x, y = np.asarray(scores, dtype=float)[:, None], np.asarray(others, dtype=float)[None]
    wins = ((x > y) + (x == y) / 2) * ~np.eye(n, dtype=bool)[:, :, None]  # (runs, other runs, tasks)
    total, pairs, freedom = wins.sum(axis=(0, 1)), n * (n - 1), tasks * (n - 1)
    each = total / pairs
    estimate = probability_of_improvement(scores, others, paired=True)
    without = (total - wins.sum(axis=0) - wins.sum(axis=1)) / ((n - 1) * (n - 2))  # one seed left out: (runs, tasks)
    jackknife = float(((without - without.mean(axis=0)) ** 2).sum()) * (n - 1) / n
    independent = float(((n - 1) * (_variance(each, n - 1) - _variance(each, n))).sum())
    # One degree of freedom more says that runs are independent, so that few seeds cannot find no variance at all.
    ratio = (jackknife * freedom + independent) / (independent * (freedom + 1)) if independent else 1.0
    chance = float(_variance(np.array([estimate]), n)[0])
    between = max(0.0, float(each.var(ddof=1) - _variance(each, n).mean())) if tasks > 1 else 0.0
    share = between / (between + chance) if between + chance else 0.0
    shrunk = estimate + share * (each - estimate)
    odds = logit((shrunk * pairs + 0.5) / (pairs + 1))
    moved = expit(odds[:, None] + np.linspace(-12, 12, PLACES))  # (tasks, places)
    deviation = np.sqrt(ratio * _variance(moved, n).sum(axis=0)) / tasks
    held = moved.mean(axis=0)[np.abs(moved.mean(axis=0) - estimate) <= t_quantile(level, freedom) * deviation]
    return min(float(held.min(initial=estimate)), estimate), max(float(held.max(initial=estimate)), estimate)


def _variance(p: "np.ndarray", n: int) -> "np.ndarray":
    """Variance of the share of wins among the n(n − 1) pairs of unequal seeds, when runs are independent."""
    shared = (1 - p) / (2 - p) + p / (1 + p)
    return p * (1 - p) / (n * (n - 1)) * (1 + (n - 2) * shared)
