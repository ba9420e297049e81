"""Which rows are worse than the best one of their kind, and which only have a lower mean."""

from collections import defaultdict
from collections.abc import Sequence

from tlx.results.baseline import seeds_apart
from tlx.results.cells import Cell, look
from tlx.results.gains import LEVEL, gains
from tlx.results.statistics import mean_std

GROUP = ("model", "dataset", "train_size")  # rows of the same stand for the same question
BEST, WORSE, UNDECIDED = "best", "worse", "not distinguishable"


def against_best(cells: Sequence[Cell], metric: str, direction: str | None) -> dict[str, str]:
    """By the cell's id: "best", or "worse" or "not distinguishable" of the others with the same model, data and size.

    A cell is worse when the paired t test against the best has p ≤ 0.05 after Holm's correction over all such tests of
    the table. The best one was picked by the same scores, which makes "worse" a little too easy and "not
    distinguishable" a safe thing to say. Cells that are alone, or share no seed and split with the best, have no entry.
    """
    if direction is None:
        return {}
    groups: dict[tuple, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.scores(metric):
            groups[look(cell, GROUP)].append(cell)
    sign = 1 if direction == "higher" else -1
    found: dict[str, str] = {}
    pairs = []
    for group in groups.values():
        if len(group) > 1:
            best = max(group, key=lambda cell: sign * (mean_std(list(cell.scores(metric).values())).mean or 0.0))
            found[best.id] = BEST
            pairs += [(best, cell) for cell in group if cell is not best and not seeds_apart(best, cell)]
    for gain in gains(pairs, metric, direction):
        if gain.by_seed:
            sure = gain.p_holm is not None and gain.p_holm <= LEVEL and (gain.t.mean or 0.0) > 0
            found[gain.partner.id] = WORSE if sure else UNDECIDED
    return found
