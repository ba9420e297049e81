"""Holm's correction: many comparisons in one table, one error rate over all of them."""

from collections.abc import Sequence


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values of Holm's step-down procedure (Scandinavian Journal of Statistics 6, 1979).

    The k-th smallest of m becomes max over j ≤ k of min(1, (m − j + 1) · p_j). Calling everything with an adjusted
    p ≤ α a difference keeps the probability of a single false one at α, however the comparisons depend on each other
    (those of one table share their baseline).

    Args:
        ps: shape (comparisons,); None where nothing was tested. It stays None and is not counted.
    """
    tested = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, place) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        adjusted[place] = highest
    return adjusted
