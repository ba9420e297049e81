"""Which of several methods can be told from the best one: multiple comparisons with the best, paired by seeds.

Comparing each with the one that has the best mean, as if that had been named before, is wrong more often than it says:
the best mean was picked by the same scores. Here no method is taken for the best; each one is asked whether any other
is better than it, as multiple comparisons with the best do (Hsu, Annals of Statistics 9, 1981, for variances that are
equal; here each pair has its own, and its t test). It is a sequentially rejective procedure (Goeman & Solari, Annals of
Statistics 38, 2010): with probability 1 − error no method that is the best in truth, or as good as the best, is called
worse, whatever the scores' variances and correlations are.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tlx.results.statistics.paired import ROUNDING

if TYPE_CHECKING:
    import numpy as np


class Candidate(NamedTuple):
    """One-sided p of the other one that is better most surely, and the number of others that there are tests with."""

    p: float
    tests: int


def candidates(scores: "np.ndarray", comparable: "np.ndarray", open_: "np.ndarray | None" = None) -> list[Candidate]:
    """For each method the least p of t(n − 1) for "that other one is better", over the others it is compared with.

    Args:
        scores: shape (methods, seeds), larger = better, NaN where a method lacks the seed.
        comparable: shape (methods, methods), whether two of them may be compared at all.
        open_: shape (methods, methods), whether the column's method may show that the row's is worse. A pair that is
            closed counts among the tests, and shows nothing.
    """
    import numpy as np
    from scipy.special import stdtr

    present = ~np.isnan(scores)
    values = np.where(present, scores, 0.0)
    largest = np.abs(values).max(axis=1, initial=0.0)
    whole = bool(present.all())
    found = []
    for place, (mine, allowed) in enumerate(zip(values, comparable, strict=True)):
        gaps = values - mine  # (methods, seeds), positive where the other one is better
        if whole:
            n = np.full(len(values), values.shape[1])
            spread = gaps.max(axis=1) - gaps.min(axis=1)
            mean = gaps.mean(axis=1)
            gaps -= mean[:, None]
        else:
            known = present & present[place]
            n = known.sum(axis=1)
            spread = np.where(known, gaps, -np.inf).max(axis=1) - np.where(known, gaps, np.inf).min(axis=1)
            mean = np.where(known, gaps, 0.0).sum(axis=1) / np.maximum(n, 1)
            gaps = np.where(known, gaps - mean[:, None], 0.0)
        std = np.sqrt(np.einsum("ij,ij->i", gaps, gaps) / np.maximum(n - 1, 1))
        tested = allowed & (n > 1) & (std > 0) & (spread > ROUNDING * np.maximum(largest, largest[place]))
        telling = tested if open_ is None else tested & open_[place]
        t = mean[telling] * np.sqrt(n[telling]) / std[telling]
        pairs = n[telling]
        ps = [float(stdtr(number - 1, -t[pairs == number].max())) for number in np.unique(pairs)]
        found.append(Candidate(min(ps, default=1.0), int(tested.sum())))
    return found


def told_from_best(groups: Sequence[Sequence[Candidate]], error: float = 0.05) -> list[list[bool]]:
    """Which candidates of each group are worse than the best of it, with one error rate over all groups.

    As long as a set S of candidates is left that can be the best of their groups, those with p ≤ error ÷ (tests of all
    in S) leave it; with fewer left the bound is easier to reach, until none leaves. (In truth the best ones are some
    set B. Before any of them leaves, S holds them all, so that the one that leaves first has p ≤ error ÷ (tests of all
    in B): among these tests, none of which has a better one to find, that happens with probability `error` at most.)
    """
    worse = [[False] * len(group) for group in groups]
    while True:
        left = [
            (place, i, candidate)
            for place, group in enumerate(groups)
            for i, candidate in enumerate(group)
            if not worse[place][i]
        ]
        tests = sum(candidate.tests for _, _, candidate in left)
        leaving = [(place, i) for place, i, candidate in left if candidate.tests and candidate.p * tests <= error]
        if not leaving:
            return worse
        for place, i in leaving:
            worse[place][i] = True
