"""Where a learning curve reaches a goal: the number of labels, interpolated, with an interval."""

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any, NamedTuple

from tlx.results.statistics.paired import paired_t

STEPS = 200  # places looked at between two sizes: finer than any interval


class Crossing(NamedTuple):
    """The labels at which a curve reaches its goal, with an interval; None: not within the sizes that were measured.

    `at_most`: the smallest size had reached it already, so that `labels` is an upper bound.
    """

    labels: float | None
    low: float | None
    high: float | None
    at_most: bool
    n: int


def crossing(distances: Mapping[float, Mapping[Any, float]], level: float = 0.95) -> Crossing:
    """Find the first size at which the mean distance to the goal is not negative any more.

    Between two sizes the distance of each seed is taken to be linear in the logarithm of the labels. The interval holds
    the sizes up to which the paired t interval of the distances is not wholly below zero (`low`) and from which it is
    not partly below zero (`high`): the labels at which a test would not tell the curve from its goal. There is none
    where the seeds' distances to the goal are the same everywhere: curves without noise say nothing of its size.

    Args:
        distances: labels → seed → score − goal, positive = better; seeds that some size lacks are left out.
        level: the interval's coverage.
    """
    sizes = sorted(distances)
    seeds = sorted(set.intersection(*(set(distances[size]) for size in sizes)), key=str) if sizes else []
    if not seeds:
        return Crossing(None, None, None, False, 0)
    noisy = False
    reached: list[float | None] = [None, None, None]  # by the mean, the upper bound, the lower bound
    for labels, values in _along(sizes, [[distances[size][seed] for seed in seeds] for size in sizes]):
        t = paired_t(values, level)
        noisy = noisy or t.p is not None
        still = len(seeds) > 1 and t.p is None
        for i, bound in enumerate((t.mean, t.mean if still else t.high, t.mean if still else t.low)):
            if reached[i] is None and bound is not None and bound >= 0:
                reached[i] = labels
    labels_, low, high = reached if noisy else (reached[0], None, None)
    return Crossing(labels_, low, high, labels_ == sizes[0], len(seeds))


def _along(sizes: Sequence[float], values: Sequence[Sequence[float]]) -> list[tuple[float, list[float]]]:
    """Labels and the seeds' values there, from the smallest size to the largest."""
    points = [(sizes[0], list(values[0]))]
    for (a, left), (b, right) in zip(
        zip(sizes, values, strict=True), zip(sizes[1:], values[1:], strict=False), strict=False
    ):
        for step in range(1, STEPS + 1):
            w = step / STEPS
            labels = b if step == STEPS else exp((1 - w) * log(a) + w * log(b))
            points.append((labels, [(1 - w) * x + w * y for x, y in zip(left, right, strict=True)]))
    return points
