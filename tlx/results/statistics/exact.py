"""Tests that take nothing to be normal: sign flips and Wilcoxon's signed ranks, both exact.

With n pairs there are 2ⁿ ways to give the differences signs, so that no such test can go below p = 2/2ⁿ: 0.0625 at
n = 5. Where that is above the level asked for, the test cannot decide, whatever the scores are.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tlx.streams import stream

if TYPE_CHECKING:
    import numpy as np

EXACT = 20  # pairs up to which all 2ⁿ signs are tried; beyond, as many signs are drawn
DRAWS = 100_000


def smallest_p(values: Sequence[float]) -> float:
    """2/2ᵐ of the m differences that are not zero: the least p that any choice of signs can give."""
    return min(1.0, 0.5 ** (sum(value != 0 for value in values) - 1))


def can_decide(values: Sequence[float], level: float = 0.05) -> bool:
    """Whether an exact test of these differences, shape (n,), can reach `level`."""
    return smallest_p(values) <= level


def sign_flip_p(values: Sequence[float]) -> float:
    """Two-sided p of the paired permutation test: the share of sign choices with |Σ ±d| ≥ |Σ d| (Fisher 1935, § 21).

    Exact up to 20 pairs; beyond, of 100,000 drawn signs and the observed ones, always the same draws.

    Args:
        values: the paired differences, shape (n,), n ≥ 1.
    """
    import numpy as np

    d = np.asarray(values, dtype=float)
    if len(d) <= EXACT:
        sums = np.zeros(1)
        for value in d:
            sums = np.concatenate([sums + value, sums - value])
    else:
        signs = stream(0, "signs").integers(0, 2, (DRAWS, len(d)), dtype=np.int8) * 2 - 1
        sums = np.concatenate([[d.sum()], signs @ d])
    rounding = 1e-9 * np.abs(d).sum()
    return float(np.mean(np.abs(sums) >= abs(d.sum()) - rounding))


def wilcoxon_p(values: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (1945), exact with ties, too; differences of zero are left out.

    It is the sign-flip test of the signed ranks, ties having the mean of their ranks.

    Args:
        values: the paired differences, shape (n,).
    """
    import numpy as np

    d = np.asarray([value for value in values if value != 0], dtype=float)
    if not len(d):
        return 1.0
    return sign_flip_p((np.sign(d) * _ranks(np.abs(d))).tolist())


def _ranks(values: "np.ndarray") -> "np.ndarray":
    """Ranks from 1, equal values (but for rounding) sharing the mean of theirs."""
    import numpy as np

    _, group, counts = np.unique(np.round(values / values.max(), 9), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group]
