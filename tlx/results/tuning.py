"""Choose hyper-parameters per row on validation, after the fact: the cell with the best mean validation score."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tlx.errors import UserError
from tlx.results.cells import CHOICES, Cell, distinguishing, look, seed_names
from tlx.results.naming import comparable, natural, written
from tlx.results.statistics import mean_std


@dataclass(frozen=True)
class Tuned:
    """The cells that were kept, and what a caption must say of the choice."""

    cells: list[Cell]
    notes: list[str]


def tune(cells: Sequence[Cell], keys: Sequence[str]) -> Tuned:
    """Of the cells that differ only in `keys`, keep the one with the best mean validation score.

    The score is `val/<monitor>`, `dataset.monitor` of the config (accuracy by default), never a test metric; ties go
    to the smaller value. A setting that is the same as a tuned one in every cell (a copy of it) is chosen with it.
    Where no run has completed yet, one row stands for all, with every run that failed or is missing.

    Raises:
        UserError: completed runs without a validation score (nothing to choose by).
    """
    copies = {name for key in keys for name in _copies(cells, key)}
    fixed = distinguishing(cells, seed_names(cells) | set(keys) | copies)
    if fixed[-1:] == ["cell"]:  # only their hash tells the candidates apart, as they differ in what is tuned
        fixed.pop()
    groups: dict[tuple, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[look(cell, [*CHOICES, *fixed])].append(cell)
    kept, notes = [], []
    monitors, unfinished, uneven = set(), 0, 0
    for group in groups.values():
        group = sorted(group, key=lambda cell: [natural(cell.value(key)) for key in keys])
        _check_only_tuned(group, [*CHOICES, *fixed], keys)
        monitors |= {_monitor(cell) for cell in group}
        kept.append(_best(group, tuple(keys)))
        unfinished += sum(cell.failed + cell.missing for cell in group if len(group) > 1)
        uneven += len({len(cell.completed) for cell in group}) > 1
    name = " and ".join(f"val/{monitor}" for monitor in sorted(monitors))
    for key in keys:
        notes.append(f"{key} was chosen for each row by the mean of {name} over its seeds, from {_grids(groups, key)}.")
    if all(len(group) == 1 for group in groups.values()):
        notes.append(f"Warning: there was nothing to choose: no two cells differ in {', '.join(keys)} alone.")
    if unfinished:
        notes.append(f"Warning: the choice may change: {unfinished} runs among the candidates failed or are missing.")
    if uneven:
        notes.append(f"Warning: in {uneven} rows the candidates have different numbers of completed seeds.")
    return Tuned(kept, notes)


def _monitor(cell: Cell) -> str:
    return str(cell.settings.get("dataset.monitor") or "accuracy")


def _copies(cells: Sequence[Cell], key: str) -> set[str]:
    """Settings with the same values as `key` in all cells, when it varies at all."""
    if len({look(cell, [key]) for cell in cells}) < 2:
        return set()
    same: set[str] | None = None
    for cell in cells:
        value = comparable(cell.value(key))
        names = {name for name, other in cell.settings.items() if comparable(other) == value}
        same = names if same is None else same & names
    return same or set()


def _check_only_tuned(group: Sequence[Cell], fixed: Sequence[str], keys: Sequence[str]) -> None:
    looks = [look(cell, keys) for cell in group]
    if len(set(looks)) < len(looks):
        cell = group[0]
        where = ", ".join(f"{name} {written(cell.value(name))}" for name in fixed)
        raise UserError(f"--tune-over: several cells ({where}) have the same {', '.join(keys)} and differ elsewhere.")


def _best(group: Sequence[Cell], keys: tuple[str, ...]) -> Cell:
    if len(group) == 1:
        return group[0]
    scored = []
    for cell in group:
        monitor = _monitor(cell)
        mean = mean_std(list(cell.scores(f"val/{monitor}").values())).mean
        if mean is not None:
            scored.append((mean if _higher(cell, monitor) else -mean, cell))
    if scored:
        return max(scored, key=lambda pair: pair[0])[1]  # the first of equals, in the order of the tuned values
    if any(cell.completed for cell in group):
        example = next(cell for cell in group if cell.completed)
        raise UserError(
            f"--tune-over needs a validation score, but no completed run has val/{_monitor(example)} "
            f"(see {example.completed[0].folder}). Runs with selection=last and no validation part cannot be tuned."
        )
    return replace(group[0], runs=tuple(run for cell in group for run in cell.runs), undecided=keys)


def _higher(cell: Cell, monitor: str) -> bool:
    found = {run.record.get("directions", {}).get(monitor) for run in cell.completed}
    if found <= {"higher", "lower"} and len(found) == 1:
        return found == {"higher"}
    raise UserError(f"--tune-over: the records do not say whether higher or lower val/{monitor} is better.")


def _grids(groups: dict[tuple, list[Cell]], key: str) -> str:
    """The values tried, once when all rows share them, else by the choices of the rows."""
    grids: dict[str, list[str]] = defaultdict(list)
    for group in groups.values():
        values: dict[Any, Any] = {comparable(cell.value(key)): cell.value(key) for cell in group}
        grid = "{" + ", ".join(written(value) for value in sorted(values.values(), key=natural)) + "}"
        names = grids[grid]
        strategy = written(group[0].value("strategy"))
        if strategy not in names:
            names.append(strategy)
    if len(grids) == 1:
        return next(iter(grids))
    return "; ".join(f"{grid} ({', '.join(names)})" for grid, names in grids.items())
