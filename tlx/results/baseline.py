"""The baseline of a cell: the scratch cell equal to it in everything outside the strategy's own settings."""

from collections.abc import Iterable, Sequence

from tlx.results.cells import CHOICES, OUTSIDE_IDENTITY, Cell
from tlx.results.naming import comparable, under

# The strategy's own settings: where baseline and cell may differ.
OWN = ("strategy", "optimizer.lr", "scheduler", "objective")
# Which weights a strategy starts from is its own too; the fingerprints of data and tokenizer must be equal.
OWN_FINGERPRINTS = ("fingerprints.weights", "fingerprints.source", "fingerprints.init")


def baselines(cells: Sequence[Cell], strategy: str, ignored: Iterable[str]) -> tuple[dict[str, Cell], list[Cell]]:
    """The baseline of each cell, by the cell's id, and the cells for which several fit and none can be chosen.

    A cell's baseline has that `strategy` and equals the cell outside `OWN` and `ignored` (what follows the seed, what
    was tuned). Of several the one with the same learning rate and scheduler is taken. The baseline's own cells have
    none.
    """
    skipped = (*OUTSIDE_IDENTITY, *ignored)
    by_rest: dict[frozenset, list[Cell]] = {}
    for cell in cells:
        if cell.value("strategy") == strategy:
            by_rest.setdefault(_rest(cell, (*skipped, *OWN)), []).append(cell)
    found: dict[str, Cell] = {}
    unclear = []
    for cell in cells:
        if cell.value("strategy") == strategy:
            continue
        fitting = by_rest.get(_rest(cell, (*skipped, *OWN)), [])
        if len(fitting) > 1:
            narrow = (*skipped, "strategy", "objective")  # now the same learning rate and scheduler, too
            fitting = [other for other in fitting if _rest(other, narrow) == _rest(cell, narrow)]
            if len(fitting) != 1:
                unclear.append(cell)
        if len(fitting) == 1:
            found[cell.id] = fitting[0]
    return found, unclear


def _rest(cell: Cell, skipped: tuple[str, ...]) -> frozenset:
    """The cell's settings outside `skipped`; a setting that is None counts like one that is absent."""
    settings = {name: cell.value(name) for name in CHOICES} | cell.settings
    kept = {(name, comparable(value)) for name, value in settings.items() if value is not None}
    prints = {(name, comparable(value)) for name, value in cell.fingerprints.items()}
    return frozenset(
        {pair for pair in kept if not under(pair[0], skipped)}
        | {pair for pair in prints if not under(pair[0], OWN_FINGERPRINTS)}
    )
