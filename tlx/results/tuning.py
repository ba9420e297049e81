"""Choose hyper-parameters per row on validation, after the fact: the cell with the best mean validation score."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from tlx.errors import UserError, unknown
from tlx.results.cells import CHOICES, Cell, distinguishing, look, named, seed_names
from tlx.results.naming import comparable, natural, setting, written
from tlx.results.survivors import failed_seeds, guess_score


@dataclass(frozen=True)
class Tuned:
    """The cells that were kept, and what a caption must say of the choice.

    `chosen_by` are the metrics that chose among the seeds that the cells still have: on them nothing can be judged.
    """

    cells: list[Cell]
    notes: list[str]
    chosen_by: frozenset[str] = frozenset()


def tune(cells: Sequence[Cell], keys: Sequence[str], seeds: Sequence[Any] = ()) -> Tuned:
    """Of the cells that differ only in `keys`, keep the one with the best mean validation score.

    The score is `val/<monitor>`, `dataset.monitor` of the config (accuracy by default), never a test metric; its mean
    goes over the seeds that all candidates have, so that none wins by the seeds that it lacks. Seeds that failed count
    at the score of guessing; where that is not known, only the candidates with the fewest of them can be chosen. Ties
    go to the smaller value. A setting that is the same as a tuned one in every cell (a copy of it) is chosen with it.
    Where no run has completed yet, one row stands for all, with every run that failed or is missing.

    Args:
        seeds: those that choose and do nothing else: no row has them. Without any, the seeds that are shown choose.

    Raises:
        UserError: `seeds` that no run has; completed runs without a validation score (nothing to choose by), or
            candidates without a common seed.
    """
    known = sorted({setting("seed", run.seed) for cell in cells for run in cell.runs}, key=natural)
    for seed in seeds:
        if str(seed) not in known:
            raise unknown("seed for --tune-seeds", seed, known)
    chosen = {str(seed) for seed in seeds}
    copies = {name for key in keys for name in _copies(cells, key)}
    fixed = distinguishing(cells, seed_names(cells) | set(keys) | copies)
    if fixed[-1:] == ["cell"]:  # only their hash tells the candidates apart, as they differ in what is tuned
        fixed.pop()
    groups: dict[tuple, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[look(cell, [*CHOICES, *fixed])].append(cell)
    kept, notes = [], []
    monitors, unfinished, uneven = set(), 0, []
    fewest: list[int] = []
    failed = {True: 0, False: 0}  # by whether the score of guessing is known
    for group in groups.values():
        group = sorted(group, key=lambda cell: [natural(cell.value(key)) for key in keys])
        _check_only_tuned(group, [*CHOICES, *fixed], keys)
        monitors |= {monitor(cell) for cell in group}
        kept.append(_best(group, tuple(keys), chosen))
        unfinished += sum(cell.failed + cell.missing for cell in group if len(group) > 1)
        if len(group) > 1:
            failed[_guess(group) is not None] += sum(len(_failed(cell, chosen)) for cell in group)
            seeds_of = [frozenset({**_choosing(cell, chosen), **_failed(cell, chosen)}) for cell in group]
            if len(set(seeds_of)) > 1:
                uneven.append(group[0])
                fewest.append(len(frozenset.intersection(*(some for some in seeds_of if some))) if any(seeds_of) else 0)
    name = " and ".join(f"val/{name}" for name in sorted(monitors))
    over = f"the seeds {', '.join(map(str, seeds))}, which no row has" if seeds else "its seeds"
    for key in keys:
        notes.append(f"{key} was chosen for each row by the mean of {name} over {over}, from {_grids(groups, key)}.")
    if all(len(group) == 1 for group in groups.values()):
        notes.append(f"Warning: there was nothing to choose: no two cells differ in {', '.join(keys)} alone.")
    elif not seeds:
        notes.append("The seeds that are shown have chosen, too; --tune-seeds keeps those apart that choose.")
    if unfinished:
        notes.append(f"Warning: the choice may change: {unfinished} runs among the candidates failed or are missing.")
    if uneven:
        rows, least = f"{len(uneven)} row{'s' * (len(uneven) > 1)}", min(fewest)
        notes.append(
            f"Warning: in {rows} the candidates have different seeds; the choice goes by those that all of them have, "
            f"{'in one row ' * (len(uneven) > 1)}{least} seed{'s' * (least != 1)}."
        )
    if failed[True]:
        notes.append(
            f"Warning: failed runs count at the score of guessing in the choice: {failed[True]} among the candidates."
        )
    if failed[False]:
        notes.append(
            f"Warning: {failed[False]} of the candidates' runs failed, and the score of guessing is not known: only "
            "settings with the fewest failed seeds could be chosen."
        )
    notes += _on_sizes(groups)
    if seeds:
        left = [replace(cell, runs=tuple(run for run in cell.runs if str(run.seed) not in chosen)) for cell in kept]
        if bare := [cell for cell, rest in zip(kept, left, strict=True) if not rest.runs]:
            notes.append(
                f"Warning: {named(bare)} has no seeds but those that chose, and no row: run the chosen "
                f"{' and '.join(f'{key}={written(bare[0].value(key))}' for key in keys)} with others."
            )
        kept = [cell for cell in left if cell.runs]
    chose = any(len(group) > 1 for group in groups.values()) and not seeds
    return Tuned(kept, notes, frozenset(f"val/{name}" for name in monitors) if chose else frozenset())


def tuned_cells(cells: Sequence[Cell], keys: Sequence[str], seeds: Sequence[Any] = ()) -> Tuned:
    """`tune`, or the cells as they are where there are no `keys`.

    Raises:
        UserError: as for `tune`; `seeds` and nothing to choose.
    """
    if seeds and not keys:
        raise UserError("--tune-seeds names the seeds that choose: say with --tune-over what they choose.")
    return tune(cells, keys, seeds) if keys else Tuned(list(cells), [])


def refuse_choice_as_result(tuned: Tuned, metric: str) -> str | None:
    """Why there is no verdict on this metric; None where there may be one."""
    if metric not in tuned.chosen_by:
        return None
    return (
        f"{metric} chose the settings of these rows with the very seeds that are shown, so that its best values are "
        "too good and there is no verdict on it. Take a test metric, or let other seeds choose (--tune-seeds)."
    )


def _choosing(cell: Cell, chosen: set[str]) -> dict[Any, float]:
    """The validation scores that a cell is chosen by."""
    scores = cell.scores(f"val/{monitor(cell)}")
    return {seed: score for seed, score in scores.items() if not chosen or str(seed) in chosen}


def _failed(cell: Cell, chosen: set[str]) -> dict[Any, str]:
    """The seeds that would choose and failed, with the reason."""
    found = failed_seeds(cell, f"val/{monitor(cell)}")
    return {seed: why for seed, why in found.items() if not chosen or str(seed) in chosen}


def _guess(group: Sequence[Cell]) -> float | None:
    return guess_score(group, f"val/{monitor(group[0])}")


def _with_failures(
    group: Sequence[Cell], scored: Sequence[tuple[Cell, dict[Any, float]]], chosen: set[str]
) -> list[tuple[Cell, dict[Any, float]]]:
    """The candidates with their scores, those of failed seeds that of guessing; else those with the fewest failures."""
    lost = [_failed(cell, chosen) for cell, _ in scored]
    guess = _guess(group)
    if guess is None:
        least = min(map(len, lost), default=0)
        return [pair for pair, bad in zip(scored, lost, strict=True) if len(bad) == least]
    return [(cell, scores | dict.fromkeys(bad, guess)) for (cell, scores), bad in zip(scored, lost, strict=True)]


def _on_sizes(groups: dict[tuple, list[Cell]]) -> list[str]:
    """Whether some strategies had more settings to choose from than others."""
    sizes: dict[int, list[str]] = defaultdict(list)
    for group in groups.values():
        name = written(group[0].value("strategy"))
        if name not in sizes[len(group)]:
            sizes[len(group)].append(name)
    if len(sizes) < 2:
        return []
    told = "; ".join(f"{size} for {', '.join(names)}" for size, names in sorted(sizes.items(), reverse=True))
    return [
        f"Warning: rows were tuned over grids of different size ({told} settings): whoever had more to choose from is "
        "ahead for that alone."
    ]


def monitor(cell: Cell) -> str:
    """The validation metric that chose the cell's checkpoints, without its part."""
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


def _best(group: Sequence[Cell], keys: tuple[str, ...], chosen: set[str]) -> Cell:
    if len(group) == 1:
        return group[0]
    candidates = [(cell, scores) for cell in group if (scores := _choosing(cell, chosen))]
    candidates = _with_failures(group, candidates, chosen)
    if candidates:
        common = set.intersection(*(set(scores) for _, scores in candidates))
        if not common:
            told = "; ".join(
                f"{', '.join(f'{key}={written(cell.value(key))}' for key in keys)}: seeds "
                f"{', '.join(str(seed) for seed in scores)}"
                for cell, scores in candidates
            )
            raise UserError(
                f"--tune-over: the candidates of {named(group[:1])} have no seed in common ({told}), so that their "
                "means are of different luck. Run them with the same seeds."
            )
        means = [(fmean(scores[seed] for seed in common), cell) for cell, scores in candidates]
        signed = [(mean if _higher(cell) else -mean, cell) for mean, cell in means]
        return max(signed, key=lambda pair: pair[0])[1]  # the first of equals, in the order of the tuned values
    if any(cell.completed for cell in group):
        example = next(cell for cell in group if cell.completed)
        if chosen and example.scores(f"val/{monitor(example)}"):
            raise UserError(
                f"--tune-seeds: no completed run of {named(group[:1])} has one of the seeds "
                f"{', '.join(sorted(chosen))}, so that there is nothing to choose by."
            )
        raise UserError(
            f"--tune-over needs a validation score, but no completed run has val/{monitor(example)} "
            f"(see {example.completed[0].folder}). Runs with selection=last and no validation part cannot be tuned."
        )
    return replace(group[0], runs=tuple(run for cell in group for run in cell.runs), undecided=keys)


def _higher(cell: Cell) -> bool:
    found = {run.record.get("directions", {}).get(monitor(cell)) for run in cell.completed}
    if found <= {"higher", "lower"} and len(found) == 1:
        return found == {"higher"}
    raise UserError(f"--tune-over: the records do not say whether higher or lower val/{monitor(cell)} is better.")


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
