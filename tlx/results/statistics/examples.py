"""What another draw of test examples would have changed: resampling the stored predictions.

The t interval over seeds knows nothing of it, because all seeds are scored on the same examples: 500 questions at an
accuracy of 0.90 alone mean ± 2.9 points. Here the examples are drawn anew, the trained models stay.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from tlx.results.statistics.paired import DIRECTIONS
from tlx.results.statistics.resampling import RESAMPLES, widened_interval
from tlx.streams import stream

if TYPE_CHECKING:
    import numpy as np

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "matthews", "loss")
UNITS = 5  # groups or examples below which none are resampled
CHUNK = 2_000_000  # numbers held at a time


@dataclass(frozen=True)
class Scored:
    """Predictions of several runs on the same test examples.

    `labels` has shape (examples,), `predicted` (runs, examples), both class numbers; `losses` (runs, examples) holds
    each example's cross-entropy in nats. `groups`, shape (examples,), numbers the speaker or document that an example
    belongs to, from 0; None where each example stands for itself.
    """

    labels: "np.ndarray"
    predicted: "np.ndarray"
    losses: "np.ndarray"
    classes: int
    groups: "np.ndarray | None" = None

    @property
    def units(self) -> int:
        """What is drawn anew: groups, or examples where there are none."""
        return len(self.labels) if self.groups is None else len(set(self.groups.tolist()))


def metric_of(scored: Scored, metric: str, weights: "np.ndarray | None" = None) -> "np.ndarray":
    """The metric of each run, each example counted as often as its weight says: shape (resamples, runs).

    Defined like scikit-learn's: accuracy is the share of hits, balanced_accuracy the mean recall over the classes that
    occur, macro_f1 the mean F1 over those that occur or are predicted, matthews Gorodkin's R_K.

    Args:
        metric: one of METRICS.
        weights: shape (resamples, examples); None counts each example once.
    """
    import numpy as np

    if weights is None:
        weights = np.ones((1, len(scored.labels)))
    total = weights.sum(axis=1)
    if metric == "loss":
        return weights @ scored.losses.T / total[:, None]
    hits = scored.predicted == scored.labels
    if metric == "accuracy":
        return weights @ hits.T.astype(float) / total[:, None]
    found = []
    classes = np.arange(scored.classes)
    is_label = (scored.labels[:, None] == classes).astype(float)  # (examples, classes)
    support = weights @ is_label  # (resamples, classes)
    for run, hit in zip(scored.predicted, hits, strict=True):
        guessed = weights @ (run[:, None] == classes).astype(float)
        right = weights @ (is_label * hit[:, None])
        found.append(_of_counts(metric, right, support, guessed, total))
    return np.stack(found, axis=1)


def _of_counts(
    metric: str, right: "np.ndarray", support: "np.ndarray", guessed: "np.ndarray", total: "np.ndarray"
) -> "np.ndarray":
    """From hits, labels and guesses of each class, shape (resamples, classes), and the examples, shape (resamples,)."""
    import numpy as np

    if metric == "matthews":
        cross = right.sum(axis=1) * total - (support * guessed).sum(axis=1)
        scale = (total**2 - (support**2).sum(axis=1)) * (total**2 - (guessed**2).sum(axis=1))
        return np.divide(cross, np.sqrt(scale), out=np.zeros_like(cross), where=scale > 0)
    bottom = (support + guessed) / 2 if metric == "macro_f1" else support
    occurs = bottom > 0
    each = np.divide(right, bottom, out=np.zeros_like(right), where=bottom > 0)
    return each.sum(axis=1) / occurs.sum(axis=1)


def resampled(metric: str, *sides: Scored, resamples: int = RESAMPLES) -> "list[np.ndarray]":
    """The mean metric over each side's runs in resamples of the examples they share: one array (resamples,) a side.

    The same examples are drawn for all runs of all sides, which is what pairs them. Where they belong to groups, whole
    groups are drawn: examples of one speaker fail together. Always the same draws.
    """
    import numpy as np

    groups = sides[0].groups
    parts = []
    for drawn in _draws(sides[0].units, len(sides[0].labels), resamples):
        weights = drawn if groups is None else drawn[:, groups]
        parts.append([metric_of(side, metric, weights).mean(axis=1) for side in sides])
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _draws(units: int, examples: int, resamples: int) -> "Iterator[np.ndarray]":
    """How often each unit is drawn, in blocks of shape (some resamples, units)."""
    import numpy as np

    rng = stream(0, "example_bootstrap")
    block = max(1, CHUNK // examples)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        yield rng.multinomial(units, np.full(units, 1 / units), size=size).astype(float)


def example_interval(
    metric: str, scored: Scored, others: Scored, direction: str, level: float = 0.95
) -> tuple[float, float] | None:
    """Interval of the mean metric's difference, positive = `scored` better, over draws of test examples or groups.

    The percentile interval, widened for few units (`tlx.results.statistics.resampling`). None below `UNITS` of them,
    and where no draw changes the difference: two sides that agree on every example say nothing of others.

    Args:
        scored: one side; only runs that are paired.
        others: the other one, on the same examples in the same order.
        direction: "higher" or "lower", whichever is better.
    """
    assert direction in DIRECTIONS and len(scored.labels) == len(others.labels)
    if scored.units < UNITS:
        return None
    sign = 1 if direction == "higher" else -1
    mine, theirs = resampled(metric, scored, others)
    draws = sign * (mine - theirs)
    if draws.max() - draws.min() <= 1e-12:
        return None
    center = sign * float(metric_of(scored, metric).mean() - metric_of(others, metric).mean())
    return widened_interval(draws, center, scored.units, level)


def binomial_margin(score: float, examples: int) -> float:
    """What so many examples alone leave open of a score that is a share of them: the larger side of Wilson's interval.

    Wilson's 95 % interval (JASA 22, 1927) is (p + z²/2n ± z sqrt(p(1 − p)/n + z²/4n²)) ÷ (1 + z²/n), z = 1.96. Wald's,
    ± z sqrt(p(1 − p)/n), is nothing at a score of 1, where no example was wrong yet.
    """
    z, n = 1.959964, examples
    middle = (score + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(score * (1 - score) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return half + abs(score - middle)
