"""Seeds that lie far from the others of their cell: flagged for the reader, never dropped.

One collapsed run moves a mean by a fifth of its fall and blows up the deviation. Dropping it would be choosing results
by their outcome; not saying it would hide what happened.
"""

from collections.abc import Mapping
from math import sqrt
from statistics import median
from typing import Any

# The modified z-score that a cell of n normal scores exceeds anywhere in 1 % of cases (10⁶ simulated cells each). The
# usual 3.5 (Iglewicz & Hoaglin 1993) is for large n: at n = 5 it would accuse one clean cell in five. Of three scores
# two are often close by luck, and the cut-off would be 113.
CUTOFFS = {
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
    flagged, and the distance is more than a trifle where the seeds agree closely: five standard errors of the test
    examples, 5 sqrt(p(1 − p)/examples) at the median p, or 5 % of the median where their number is not known.
    At chance: within two standard errors of guessing, 2 sqrt(c(1 − c)/examples), while the median is beyond four.

    Args:
        scores: seed → score, shape (n,). Below three seeds none is flagged, below four none as far.
        examples: number of test examples, for scores that are fractions of them.
        chance: the score of guessing; None where it is not known.
    """
    if len(scores) < 3:
        return {}
    middle = median(scores.values())
    found = {}
    if len(scores) >= min(CUTOFFS):
        cutoff = CUTOFFS[max(n for n in CUTOFFS if n <= len(scores))]
        trifle = abs(middle) / 20
        if examples and 0 <= middle <= 1:
            trifle = 5 * sqrt(middle * (1 - middle) / examples)
        reach = max(cutoff * median(abs(score - middle) for score in scores.values()) / NORMAL, trifle)
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


def chance_score(metric: str, classes: int) -> float | None:
    """What guessing scores: 1/classes in accuracy, its balanced kind and at most in macro F1, 0 in Matthews; else None.

    A set with a large class is guessed better than that; the z-score has to find the collapsed runs there.
    """
    if metric == "matthews":
        return 0.0
    return 1 / classes if classes and metric in ("accuracy", "balanced_accuracy", "macro_f1") else None
