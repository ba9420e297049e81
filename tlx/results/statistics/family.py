"""Many paired comparisons in one table: Holm's procedure carried out on intervals, so that both say the same."""

from collections.abc import Sequence
from typing import NamedTuple

from tlx.results.statistics.paired import paired_t


class Corrected(NamedTuple):
    """A comparison's interval at the level of its step in Holm's procedure; `sure` when that leaves out 0."""

    low: float
    high: float
    coverage: float
    sure: bool


def holm_intervals(samples: Sequence[Sequence[float]], error: float = 0.05) -> list[Corrected | None]:
    """Holm's step-down procedure (1979) with t intervals instead of p-values.

    The comparisons are taken by their p, the smallest first. The k-th of m gets the interval of coverage
    1 − error/(m − k + 1), and is sure when that leaves out 0. The first one that does not ends the procedure, and all
    that are left get the interval of that step. So the interval leaves out 0 exactly when Holm's adjusted p is at most
    `error`.

    What holds, however the comparisons depend on each other: with probability 1 − error none is called sure that is 0
    in truth; and each interval by itself holds its truth with probability 1 − error at least. All of them together may
    do so less often: of two that are sure the second is taken at 1 − error.

    Args:
        samples: paired differences, shape (comparisons, pairs of that comparison).
        error: of the whole family.

    Returns:
        None where nothing can be tested: fewer than two pairs, or differences that are all the same.
    """
    tests = [paired_t(values) for values in samples]
    order = sorted((test.p, place) for place, test in enumerate(tests) if test.p is not None)
    found: list[Corrected | None] = [None] * len(samples)
    remaining, going = len(order), True
    for _, place in order:
        coverage = 1 - error / remaining
        t = paired_t(samples[place], coverage)
        assert t.low is not None and t.high is not None
        going = going and not t.low <= 0 <= t.high
        found[place] = Corrected(t.low, t.high, coverage, going)
        remaining -= going
    return found
