"""The statistics of a table: pure functions on small lists of scores, one score a seed.

Which test answers which question:

- `paired`: the primary one, differences of paired seeds with Student's interval and test;
- `exact`: sign flips and Wilcoxon, where the number of seeds lets them decide anything at all;
- `holm`: one error rate over all comparisons of a table; `verdict` puts the outcome in a word;
- `effect`, `power`: how large, and which differences could have been seen;
- `examples`: what another draw of test examples would have changed;
- `bootstrap`, `several`: many seeds, or several datasets together;
- `outliers`: seeds that do not belong to the others.

Importing this package needs nothing but Python; functions import numpy or scipy when they are called.
"""

from tlx.results.statistics.holm import holm, matching_level
from tlx.results.statistics.paired import (
    DIRECTIONS,
    PairedT,
    differences,
    paired_gain,
    paired_t,
    t_p,
    t_quantile,
    transfer_ratio,
)
from tlx.results.statistics.spread import Spread, mean_std
from tlx.results.statistics.verdict import verdict

__all__ = [
    "DIRECTIONS",
    "PairedT",
    "Spread",
    "differences",
    "holm",
    "matching_level",
    "mean_std",
    "paired_gain",
    "paired_t",
    "t_p",
    "t_quantile",
    "transfer_ratio",
    "verdict",
]
