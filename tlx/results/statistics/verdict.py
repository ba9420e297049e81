"""The verdict on a cell: does it help, does it hurt, is there no evidence, or is there nothing to judge by?"""

from tlx.results.statistics.family import Corrected
from tlx.results.statistics.paired import PairedT

HELPS, HURTS, OPEN = "helps", "hurts", "no evidence"
AFTER = "inconclusive after correction"
UNJUDGED = "cannot be judged"


def verdict(t: PairedT, corrected: Corrected | None, level: float = 0.05) -> str | None:
    """What a gain says; None without any pair.

    - "helps" or "hurts", by the gain's sign, when the corrected interval leaves out 0;
    - "inconclusive after correction" when p ≤ level, but the corrected interval holds 0: alone the comparison would
      have passed;
    - "cannot be judged" when two pairs or more all gain the same, and not 0: there is no spread to judge by;
    - "no evidence" else. One pair is no evidence.

    "hurts" is negative transfer: a gain below zero, beyond the noise of the seeds.

    Args:
        t: the paired differences' t test, positive = better.
        corrected: its interval, corrected for the other comparisons of the table; None where nothing can be tested.
        level: that of the uncorrected test.
    """
    if t.mean is None:
        return None
    if t.p is None or corrected is None:
        return UNJUDGED if t.n > 1 and t.mean else OPEN
    if corrected.sure:
        return HELPS if t.mean > 0 else HURTS
    return AFTER if t.p <= level else OPEN
