"""Pairs of cells compared seed by seed: each gain with its test, corrected for all the others of the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlx.results.cells import Cell
from tlx.results.statistics import (
    Corrected,
    PairedT,
    differences,
    holm,
    holm_intervals,
    paired_t,
    transfer_ratio,
    verdict,
)

LEVEL = 0.05  # of the whole table


@dataclass(frozen=True)
class Gain:
    """What a cell gains over another one.

    `by_seed` are the paired differences, positive = better, and `t` their 95 % interval and test, not corrected.
    `corrected` is the interval that belongs to the verdict, at the level of its step in Holm's correction over the
    `family` of comparisons, and `p_holm` the p that goes with it. `level` is that of Holm's strictest step, 0.05 ÷
    family: what a gain must reach whatever the others say. `verdict` is one of `tlx.results.statistics.verdict`; None
    without a common seed.
    """

    cell: Cell
    partner: Cell
    by_seed: dict[Any, float]
    t: PairedT
    p_holm: float | None
    corrected: Corrected | None
    family: int
    level: float
    verdict: str | None
    transfer_ratio: float | None


def gains(pairs: Sequence[tuple[Cell, Cell]], metric: str, direction: str) -> list[Gain]:
    """The gain of each first cell over the second one, in the order given; Holm's correction goes over all of them."""
    by_seed = [differences(cell.scores(metric), partner.scores(metric), direction) for cell, partner in pairs]
    tests = [paired_t(list(values.values())) for values in by_seed]
    ps = [t.p for t in tests]
    family = sum(p is not None for p in ps)
    intervals = holm_intervals([list(values.values()) for values in by_seed], LEVEL)
    found = []
    for pair, values, t, p_holm, corrected in zip(pairs, by_seed, tests, holm(ps), intervals, strict=True):
        ratio = _ratio(*pair, list(values), metric, direction) if values else None
        said = verdict(t, corrected, LEVEL)
        found.append(Gain(*pair, values, t, p_holm, corrected, family, LEVEL / max(1, family), said, ratio))
    return found


def _ratio(cell: Cell, partner: Cell, seeds: Sequence[Any], metric: str, direction: str) -> float | None:
    mine, theirs = ([one.scores(metric)[seed] for seed in seeds] for one in (cell, partner))
    return transfer_ratio(mine, theirs, direction)
