"""Seeds that lie far from the others of their cell: flagged for the reader, never dropped.

One collapsed run moves a mean by a fifth of its fall and blows up the deviation. Dropping it would be choosing results
by their outcome; not saying it would hide what happened.
"""

from bisect import bisect_right
from collections.abc import Mapping
from math import sqrt
from statistics import median
from typing import Any

# The modified z-score that a cell of n normal scores exceeds anywhere in 1 % of cases (10⁶ simulated cells each). The
# usual 3.5 (Iglewicz & Hoaglin 1993) is for large n: at n = 5 it would accuse one clean cell in five.
CUTOFFS = {
    3: 112.8,
    4: 16.0,
    5: 18.6,
    6: 10.1,
    7: 10.8,
    8: 8.0,
    9: 8.3,
    10: 6.9,
    12: 6.3,
    14: 5.9,
    16: 5.6,
    18: 5.4,
    20: 5.2,
    25: 5.0,
    30: 4.8,
}
NORMAL = 0.6745  # median absolute deviation of the standard normal distribution


def outliers(scores: Mapping[Any, float], examples: int | None = None, chance: float | None = None) -> dict[Any, str]:
    """Seed → "far below", "far above" or "at chance", for those scores that do not belong to the others.

    Far: the modified z-score 0.6745 · |x − median| / MAD is above the cut-off for n, at which 1 % of clean cells are
    flagged. MAD has a floor, so that seeds that agree closely accuse none for a trifle: what the test examples alone
    contribute, 0.6745 · sqrt(p(1 − p)/examples) at the median p, or a thousandth of the median where that is not known.
    At chance: within two standard errors of guessing, 2 sqrt(c(1 − c)/examples), while the median is beyond four.

    Args:
        scores: seed → score, shape (n,); below three seeds nothing is far from the others.
        examples: number of test examples, for scores that are fractions of them.
        chance: the score of guessing; None where it is not known.
    """
    if len(scores) < 3:
        return {}
    middle = median(scores.values())
    spread = median(abs(score - middle) for score in scores.values())
    floor = abs(middle) / 1000
    if examples and 0 <= middle <= 1:
        floor = max(floor, NORMAL * sqrt(middle * (1 - middle) / examples))
    cutoff = CUTOFFS[list(CUTOFFS)[bisect_right(list(CUTOFFS), len(scores)) - 1]]
    reach = cutoff * max(spread, floor) / NORMAL
    found = {
        seed: "far below" if score < middle else "far above"
        for seed, score in scores.items()
        if abs(score - middle) > reach
    }
    if chance is not None and examples:
        margin = 2 * sqrt((chance * (1 - chance) or 1) / examples)  # guessing at Matthews' 0 has deviation 1/sqrt(n)
        if middle > chance + 2 * margin:
            found |= {seed: "at chance" for seed, score in scores.items() if score <= chance + margin}
    return found
