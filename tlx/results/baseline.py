"""The baseline of a cell: the scratch cell equal to it in everything outside the strategy's own settings."""

from collections.abc import Iterable, Sequence

from tlx.identity import WITHOUT_EFFECT
from tlx.results.cells import CHOICES, Cell
from tlx.results.naming import comparable, under

# The strategy's own settings: where baseline and cell may differ.
OWN = ("strategy", "optimizer.lr", "scheduler", "objective")


def baselines(cells: Sequence[Cell], strategy: str, ignored: Iterable[str]) -> tuple[dict[str, Cell], list[Cell]]:
    """The baseline of each cell, by the cell's id, and the cells for which several fit and none can be chosen.

    A cell's baseline has that `strategy`, was made of the same data, and equals the cell outside `OWN` and `ignored`
    (what follows the seed, what was tuned). Of several those with the same preprocessing are preferred (networks that
    are alike and come from different files have different tokenizers), then those with the same learning rate and
    scheduler. The baseline's own cells have none.
    """
    skipped = (*WITHOUT_EFFECT, *ignored)
    by_rest: dict[frozenset, list[Cell]] = {}
    for cell in cells:
        if cell.value("strategy") == strategy:
            by_rest.setdefault(_rest(cell, (*skipped, *OWN)), []).append(cell)
    found: dict[str, Cell] = {}
    unclear = []
    for cell in cells:
        if cell.value("strategy") == strategy:
            continue
        fitting = [other for other in by_rest.get(_rest(cell, (*skipped, *OWN)), []) if _same(cell, other, "data")]
        if len(fitting) > 1:
            fitting = [other for other in fitting if _same(cell, other, "preprocessing")] or fitting
        if len(fitting) > 1:
            narrow = (*skipped, "strategy", "objective")  # now the same learning rate and scheduler, too
            same = [other for other in fitting if _rest(other, narrow) == _rest(cell, narrow)]
            if len(same) != 1:
                unclear.append(cell)
            fitting = same
        if len(fitting) == 1:
            found[cell.id] = fitting[0]
    return found, unclear


def _rest(cell: Cell, skipped: tuple[str, ...]) -> frozenset:
    """The cell's settings outside `skipped`; a setting that is None counts like one that is absent."""
    settings = {name: cell.value(name) for name in CHOICES} | cell.settings
    kept = {(name, comparable(value)) for name, value in settings.items() if value is not None}
    return frozenset(pair for pair in kept if not under(pair[0], skipped))


def _same(cell: Cell, other: Cell, part: str) -> bool:
    """Are the fingerprints of that part equal? One that is not known (a planned run has none) contradicts nothing."""
    values = {cell.value(f"fingerprints.{part}"), other.value(f"fingerprints.{part}")} - {None}
    return len(values) < 2
