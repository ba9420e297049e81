"""Which rows are worse than the best one of their kind, and which only have a lower mean."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tlx.results.cells import Cell, look
from tlx.results.gains import LEVEL, Gain
from tlx.results.statistics import mean_std
from tlx.results.statistics.against_best import candidates, told_from_best
from tlx.results.statistics.paired import paired_gain
from tlx.results.statistics.verdict import HELPS, HURTS, UNJUDGED, verdict
from tlx.results.survivors import failed_seeds

if TYPE_CHECKING:
    import numpy as np

GROUP = ("model", "dataset", "train_size")  # rows of the same stand for the same question
BEST, WORSE, UNDECIDED = "best", "worse", "not distinguishable"


def against_best(
    cells: Sequence[Cell], metric: str, direction: str | None, over_baseline: Mapping[str, Gain] | None = None
) -> dict[str, str]:
    """By the cell's id: "best" for the best mean of each model, data set and size; for the others "worse" where another
    row is better than it for sure, else "not distinguishable".

    That is decided by multiple comparisons with the best (`tlx.results.statistics.against_best`): paired by seeds, with
    one error rate of 5 % over all groups. Nothing is worse than the seeds that survived: a cell that has failed seeds
    shows nothing of one that has none in these. Cells that are alone, or share no seed or not the split with the best
    mean, have no entry; nor do those whose seeds are all the same amount below it, so that nothing can be tested.

    Args:
        over_baseline: the table's gains by the cell's id. Two corrections in one table must not contradict each other:
            what the gains leave open between a cell and its baseline shows nothing here, and a baseline that a gain
            calls beaten (or a cell that hurts) is not said to be indistinguishable; unless it is worse here, too, it
            has no entry.
    """
    if direction is None:
        return {}
    groups: dict[tuple, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.scores(metric):
            groups[look(cell, GROUP)].append(cell)
    sign = 1 if direction == "higher" else -1
    several = [group for group in groups.values() if len(group) > 1]
    gains = over_baseline or {}
    asked = []
    related = []
    for group in several:
        scores, comparable = _scores(group, metric, sign), _comparable(group)
        related.append(comparable)
        open_ = _left_open(group, gains) | _survived(group, metric)
        asked.append(candidates(scores, comparable, ~open_))
    found: dict[str, str] = {}
    for group, together, worse in zip(several, related, told_from_best(asked, LEVEL), strict=True):
        best = max(group, key=lambda cell: sign * (mean_std(list(cell.scores(metric).values())).mean or 0.0))
        top = group.index(best)
        seeds = [cell.scores(metric).keys() for cell in group]
        lost = _lost(group, gains)
        for place, (cell, sure) in enumerate(zip(group, worse, strict=True)):
            if not (together[place, top] and seeds[place] & seeds[top]):
                continue
            if sure:
                found[cell.id] = WORSE
            elif cell.id not in lost and not _cannot_be_judged(best, cell, metric, direction):
                found[cell.id] = UNDECIDED
        found[best.id] = BEST
    return found


def _cannot_be_judged(best: Cell, cell: Cell, metric: str, direction: str) -> bool:
    t = paired_gain(best.scores(metric), cell.scores(metric), direction)
    return t.p is None and verdict(t, None) == UNJUDGED


def _scores(group: Sequence[Cell], metric: str, sign: int) -> "np.ndarray":
    """Shape (cells, seeds), larger = better, NaN where a cell lacks the seed."""
    import numpy as np

    seeds = {seed: place for place, seed in enumerate(dict.fromkeys(s for cell in group for s in cell.scores(metric)))}
    found = np.full((len(group), len(seeds)), np.nan)
    for row, cell in zip(found, group, strict=True):
        for seed, score in cell.scores(metric).items():
            row[seeds[seed]] = sign * score
    return found


def _comparable(group: Sequence[Cell]) -> "np.ndarray":
    """Shape (cells, cells): whether two saw the same examples in each common seed, as far as the records say."""
    import numpy as np

    seeds = {seed: place for place, seed in enumerate(dict.fromkeys(s for cell in group for s in cell.splits))}
    names = {name: code for code, name in enumerate(dict.fromkeys(n for cell in group for n in cell.splits.values()))}
    codes = np.full((len(group), len(seeds)), -1)
    for row, cell in zip(codes, group, strict=True):
        for seed, name in cell.splits.items():
            row[seeds[seed]] = names[name]
    known = codes >= 0
    return np.stack([~((codes != mine) & known & (mine >= 0)).any(axis=1) for mine in codes])


def _left_open(group: Sequence[Cell], gains: Mapping[str, Gain]) -> "np.ndarray":
    """Shape (cells, cells): whether the table has a gain between the two that does not call the row's cell worse."""
    import numpy as np

    places = {cell.id: place for place, cell in enumerate(group)}
    found = np.zeros((len(group), len(group)), dtype=bool)
    for cell in group:
        gain = gains.get(cell.id)
        if gain is not None and gain.by_seed and gain.partner.id in places:
            mine, theirs = places[cell.id], places[gain.partner.id]
            found[mine, theirs], found[theirs, mine] = gain.verdict != HURTS, gain.verdict != HELPS
    return found


def _survived(group: Sequence[Cell], metric: str) -> "np.ndarray":
    """Shape (cells, cells): whether seeds of the column's cell failed that did not fail in the row's, too."""
    import numpy as np

    lost = [failed_seeds(cell, metric).keys() for cell in group]
    return np.array([[bool(theirs - mine) for theirs in lost] for mine in lost])


def _lost(group: Sequence[Cell], gains: Mapping[str, Gain]) -> set[str]:
    """The cells that the table's gains call worse than another one of the group."""
    members = {cell.id for cell in group}
    own = [gain for cell in group if (gain := gains.get(cell.id)) is not None and gain.partner.id in members]
    return {
        gain.partner.id if gain.verdict == HELPS else gain.cell.id for gain in own if gain.verdict in (HELPS, HURTS)
    }
