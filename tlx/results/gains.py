"""Pairs of cells compared seed by seed: each gain with its test, corrected for all the others of the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tlx.results.cells import Cell
from tlx.results.statistics import (
    PairedT,
    differences,
    holm,
    matching_level,
    paired_t,
    transfer_ratio,
    verdict,
)

LEVEL = 0.05  # of the whole table


@dataclass(frozen=True)
class Gain:
    """What a cell gains over another one.

    `by_seed` are the paired differences, positive = better. `p_holm` is corrected for the comparisons of the table, and
    `low_holm` and `high_holm` are the interval that leaves out 0 when `p_holm` is at most 0.05. `level` is that of
    Holm's strictest step, 0.05 ÷ comparisons: what a gain must reach whatever the others say. `verdict` is "helps",
    "hurts" or "no evidence"; None without a common seed.
    """

    cell: Cell
    partner: Cell
    by_seed: dict[Any, float]
    t: PairedT
    p_holm: float | None
    low_holm: float | None
    high_holm: float | None
    level: float
    verdict: str | None
    transfer_ratio: float | None


def gains(pairs: Sequence[tuple[Cell, Cell]], metric: str, direction: str) -> list[Gain]:
    """The gain of each first cell over the second one, in the order given; Holm's correction goes over all of them."""
    by_seed = [differences(cell.scores(metric), partner.scores(metric), direction) for cell, partner in pairs]
    tests = [paired_t(list(values.values())) for values in by_seed]
    ps = [t.p for t in tests]
    level = LEVEL / max(1, sum(p is not None for p in ps))
    found = []
    for pair, values, t, p_holm in zip(pairs, by_seed, tests, holm(ps), strict=True):
        corrected = PairedT(None, None, None, 0, None, None)
        if t.p is not None and p_holm is not None:
            corrected = paired_t(list(values.values()), matching_level(t.p, p_holm, 1 - LEVEL))
        ratio = _ratio(*pair, list(values), metric, direction) if values else None
        said = verdict(t.mean, p_holm, LEVEL)
        found.append(Gain(*pair, values, t, p_holm, corrected.low, corrected.high, level, said, ratio))
    return found


def _ratio(cell: Cell, partner: Cell, seeds: Sequence[Any], metric: str, direction: str) -> float | None:
    mine, theirs = cell.scores(metric), partner.scores(metric)
    return transfer_ratio(fmean(mine[seed] for seed in seeds), fmean(theirs[seed] for seed in seeds), direction)
