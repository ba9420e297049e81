"""The statistics of a table: pure functions on small lists of scores, one score a seed.

Which test answers which question:

- `paired`: the primary one, differences of paired seeds with Student's interval and test;
- `exact`: sign flips and Wilcoxon, where the number of seeds lets them decide anything at all;
- `holm`, `family`: one error rate over all comparisons of a table, p-values and intervals; `verdict`: in a word;
- `best`: which of several can be told from the best one;
- `effect`, `power`: how large, and which differences could have been seen;
- `examples`: what another draw of test examples would have changed;
- `bootstrap`, `several`: many seeds, or several datasets together;
- `outliers`: seeds that do not belong to the others.

Importing this package needs nothing but Python; functions import numpy or scipy when they are called.
"""

from tlx.results.statistics.family import Corrected, holm_intervals
from tlx.results.statistics.holm import holm
from tlx.results.statistics.paired import (
    DIRECTIONS,
    PairedT,
    differences,
    paired_gain,
    paired_t,
    settled,
    t_p,
    t_quantile,
    transfer_ratio,
)
from tlx.results.statistics.spread import Spread, mean_std
from tlx.results.statistics.verdict import verdict

__all__ = [
    "DIRECTIONS",
    "Corrected",
    "PairedT",
    "Spread",
    "differences",
    "holm",
    "holm_intervals",
    "mean_std",
    "paired_gain",
    "paired_t",
    "settled",
    "t_p",
    "t_quantile",
    "transfer_ratio",
    "verdict",
]
