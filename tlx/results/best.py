"""Which rows are worse than the best one of their kind, and which only have a lower mean."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tlx.results.baseline import seeds_apart
from tlx.results.cells import Cell, look
from tlx.results.gains import LEVEL, Gain, gains
from tlx.results.statistics import mean_std
from tlx.results.statistics.verdict import HELPS, HURTS

GROUP = ("model", "dataset", "train_size")  # rows of the same stand for the same question
BEST, WORSE, UNDECIDED = "best", "worse", "not distinguishable"


def against_best(
    cells: Sequence[Cell], metric: str, direction: str | None, over_baseline: Mapping[str, Gain] | None = None
) -> dict[str, str]:
    """By the cell's id: "best", or "worse" or "not distinguishable" of the others with the same model, data and size.

    A cell is worse when the paired t test against the best has p ≤ 0.05 after Holm's correction over all such tests of
    the table. The best one was picked by the same scores, which makes "worse" a little too easy and "not
    distinguishable" a safe thing to say. Cells that are alone, or share no seed and split with the best, have no entry.

    Args:
        over_baseline: the table's gains by the cell's id. What they say of the best and its baseline is not tested a
            second time, with another correction, so that one table does not say "helps" and "not distinguishable".
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
            for cell in group:
                said = _said(best, cell, over_baseline or {})
                if said:
                    found[cell.id] = said
                elif cell is not best and not seeds_apart(best, cell):
                    pairs.append((best, cell))
    for gain in gains(pairs, metric, direction):
        if gain.by_seed:
            sure = gain.p_holm is not None and gain.p_holm <= LEVEL and (gain.t.mean or 0.0) > 0
            found[gain.partner.id] = WORSE if sure else UNDECIDED
    return found


def _said(best: Cell, cell: Cell, over_baseline: Mapping[str, Gain]) -> str | None:
    """What the gain over the baseline says of the two, one of them being the baseline of the other."""
    for one, other, word in ((best, cell, HELPS), (cell, best, HURTS)):
        gain = over_baseline.get(one.id)
        if gain is not None and gain.partner.id == other.id and gain.by_seed:
            return WORSE if gain.verdict == word else UNDECIDED
    return None
