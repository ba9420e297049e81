"""The verdict on a cell: does it help, does it hurt, or is there no evidence?"""

HELPS, HURTS, OPEN = "helps", "hurts", "no evidence"


def verdict(mean: float | None, p: float | None, level: float = 0.05) -> str | None:
    """What a gain says: "helps" or "hurts" by its sign when p ≤ level, else "no evidence"; None without any pair.

    "hurts" is negative transfer: a gain below zero, beyond the noise of the seeds. One pair, or pairs that all differ
    by the same, have no p and are no evidence.

    Args:
        mean: mean paired gain, positive = better.
        p: two-sided p of the gain, corrected for the other comparisons of the table.
    """
    if mean is None:
        return None
    if p is None or p > level:
        return OPEN
    return HELPS if mean > 0 else HURTS
