"""Which cells may be compared: those equal in everything outside the settings that the comparison is about."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tlx.identity import WITHOUT_EFFECT
from tlx.results.cells import CHOICES, Cell, seed_names
from tlx.results.naming import comparable, under

# The strategy's own settings: where baseline and cell may differ.
BASELINE = "scratch"  # what a table compares with unless asked otherwise
OWN = ("strategy", "optimizer.lr", "scheduler", "objective")


@dataclass
class Partners:
    """`found`: each cell's partner by the cell's id. Cells without one: `unclear` where several fit and none can be
    chosen, `apart` where the only ones that fit were trained or tested on another split.
    """

    found: dict[str, Cell] = field(default_factory=dict)
    unclear: list[Cell] = field(default_factory=list)
    apart: list[Cell] = field(default_factory=list)


def baselines(cells: Sequence[Cell], strategy: str, ignored: Iterable[str]) -> Partners:
    """The baseline of each cell: the cell of that `strategy` that equals it outside `OWN` and `ignored`.

    `ignored` is what follows the seed, and what was tuned. The baseline's own cells have none.
    """
    others = [cell for cell in cells if cell.value("strategy") != strategy]
    candidates = [cell for cell in cells if cell.value("strategy") == strategy]
    return partners(others, candidates, (*ignored, *OWN), (*ignored, "strategy", "objective"))


def partners(
    cells: Sequence[Cell], candidates: Sequence[Cell], skipped: Iterable[str], narrow: Iterable[str]
) -> Partners:
    """For each cell the candidate that was made of the same data and equals it outside the settings `skipped`.

    Of several those with the same preprocessing are preferred (networks that are alike and come from different files
    have different tokenizers), then those that are equal outside `narrow`, too (the same learning rate and scheduler).
    """
    wide = (*WITHOUT_EFFECT, *skipped)
    close = (*WITHOUT_EFFECT, *narrow)
    by_rest: dict[frozenset, list[Cell]] = {}
    for cell in candidates:
        by_rest.setdefault(_rest(cell, wide), []).append(cell)
    result = Partners()
    for cell in cells:
        fitting = [other for other in by_rest.get(_rest(cell, wide), []) if _same(cell, other, "data")]
        alike = [other for other in fitting if not seeds_apart(cell, other)]
        if fitting and not alike:
            result.apart.append(cell)
        fitting = alike
        if len(fitting) > 1:
            fitting = [other for other in fitting if _same(cell, other, "preprocessing")] or fitting
        if len(fitting) > 1:
            same = [other for other in fitting if _rest(other, close) == _rest(cell, close)]
            if len(same) != 1:
                result.unclear.append(cell)
            fitting = same
        if len(fitting) == 1:
            result.found[cell.id] = fitting[0]
    return result


def different(cells: Sequence[Cell]) -> int:
    """How many baselines these cells have, if each has the one that equals it outside the strategy's own settings."""
    return len({_rest(cell, (*WITHOUT_EFFECT, *seed_names(cells), *OWN)) for cell in cells})


def seeds_apart(cell: Cell, other: Cell) -> list:
    """Common seeds for which the two were trained or tested on different examples, as far as the records say.

    A record's `split` is a hash of the ids of its training, validation and test examples.
    """
    mine, theirs = cell.splits, other.splits
    return [seed for seed, split in mine.items() if theirs.get(seed, split) != split]


def _rest(cell: Cell, skipped: tuple[str, ...]) -> frozenset:
    """The cell's settings outside `skipped`; a setting that is None counts like one that is absent."""
    settings = {name: cell.value(name) for name in CHOICES} | cell.settings
    kept = {(name, comparable(value)) for name, value in settings.items() if value is not None}
    return frozenset(pair for pair in kept if not under(pair[0], skipped))


def _same(cell: Cell, other: Cell, part: str) -> bool:
    """Are the fingerprints of that part equal? One that is not known (a planned run has none) contradicts nothing."""
    values = {cell.value(f"fingerprints.{part}"), other.value(f"fingerprints.{part}")} - {None}
    return len(values) < 2
