"""What a table's caption says of how its numbers were made."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tlx.results.best import BEST, GROUP, UNDECIDED
from tlx.results.cells import CHOICES, Cell, look
from tlx.results.control_names import CONTROLS
from tlx.results.naming import amount, comparable, setting
from tlx.results.predictions import Drawn
from tlx.results.selection import SELECTIONS
from tlx.results.statistics.examples import binomial_margin
from tlx.results.statistics.verdict import AFTER, UNJUDGED


def notes(
    cells: Sequence[Cell],
    metrics: Sequence[str],
    directions: Mapping[str, str | None],
    rows: Sequence[Mapping[str, Any]],
    baseline: str | None,
    scores_only: bool,
) -> list[str]:
    """Sentences on the metric, the spread, the tests and the selection, and unless `scores_only` on other columns."""
    direction = directions[metrics[0]]
    same = len({directions[metric] for metric in metrics}) == 1
    better = f", {direction} is better" if direction and same else ""
    scores = [f"{m} ({directions[m]} is better)" if directions[m] and not same else m for m in metrics]
    numbers = sorted({row["n"] for row in rows if row["n"]})
    if not numbers:
        return [f"No completed run has {' or '.join(metrics)} yet."]
    seeds = f"n = {numbers[0]}" if len(numbers) == 1 else f"n = {numbers[0]} to {numbers[-1]}"
    said = [f"{', '.join(scores)} as mean ± standard deviation over seeds (ddof 1), (n) in brackets; {seeds}{better}."]
    shown = {name for row in rows for name, value in row.items() if value is not None}
    if "gain" in shown:
        if not scores_only:
            said.append(
                f"Gain: mean difference to {baseline} over common seeds, positive = better, [{_brackets(rows)}]; "
                f"the baseline is the {baseline} cell equal in everything but the strategy's own settings."
            )
        said += _on_tests(rows, baseline, fraction(rows, direction))
        if any(row["verdict"] == UNJUDGED for row in rows):
            said.append(_on_the_same(cells, metrics[0]))
    if metrics[0] == "test/accuracy":
        said += _on_examples(cells, rows)
    said += selection_note(cells)
    if not scores_only:
        if "forgetting" in shown:
            said.append("Forgetting: source score before minus after.")
        if "seconds" in shown:
            said.append("Seconds: median of a run.")
    return said


def selection_note(cells: Sequence[Cell]) -> list[str]:
    """By what the checkpoints that were tested had been chosen."""
    modes = sorted({str(run.record.get("selection")) for cell in cells for run in cell.completed})
    return [f"Selection: {' and '.join(SELECTIONS.get(mode, mode) for mode in modes)}."] if modes else []


def on_best(cells: Sequence[Cell], standing: Mapping[str, str], keys: Sequence[str]) -> list[str]:
    """Which rows have a lower mean than the best of their kind and cannot be told from it: all of them, by group.

    Args:
        keys: the settings that tell the rows apart; those that all rows share are left out.
    """
    varying = [key for key in keys if len({comparable(cell.value(key)) for cell in cells}) > 1]
    groups: dict[tuple, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.id in standing:
            groups[look(cell, GROUP)].append(cell)
    told = []
    for group in groups.values():
        best, near = ([cell for cell in group if standing[cell.id] == kind] for kind in (BEST, UNDECIDED))
        if best and near:
            where = _name(best[0], [key for key in varying if key in GROUP])
            inside = [key for key in varying if key not in GROUP]
            names = [_name(cell, inside) for cell in near]
            others = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
            told.append(f"{f'{where}: ' if where else ''}{others} from {_name(best[0], inside)}")
    if not told:
        return []
    return [
        "Not distinguishable from the best of the same model, data set and size (multiple comparisons with the best, "
        "paired by seeds: in 95 % of studies no row that is as good as the best is called worse): "
        f"{'; '.join(told)}."
    ]


def _name(cell: Cell, keys: Sequence[str]) -> str:
    return " × ".join(f"{'' if key in CHOICES else f'{key} '}{setting(key, cell.value(key))}" for key in keys)


def on_draws(drawn: Sequence[Drawn], hidden: bool) -> list[str]:
    """What the intervals over test examples are, and why some are missing.

    Args:
        drawn: one a gain.
        hidden: whether the table is a grid, which has no column for them.
    """
    said = []
    held = [one for one in drawn if one.problem is None]
    if not hidden and held:
        numbers = sorted({one.groups for one in held if one.groups is not None})
        whole = ""
        if numbers:
            many = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
            whole = f", in whole groups ({many} of them) where the data set names groups"
        said.append(
            f"Other examples: the gain's 95 % interval when the test examples are drawn anew{whole} (the same for both "
            "sides and all seeds) and the trained models stay."
        )
    missing = [one.problem for one in drawn if one.problem]
    if missing:
        said.append(f"Warning: test examples of {len(missing)} gains could not be resampled; the first: {missing[0]}.")
    return said


def fraction(rows: Sequence[Mapping[str, Any]], direction: str | None) -> bool:
    """Whether the scores are shares, so that their differences may be told in points."""
    return direction == "higher" and all(0 <= row["mean"] <= 1 for row in rows if row["mean"] is not None)


def _brackets(rows: Sequence[Mapping[str, Any]]) -> str:
    family = max((row["gain_family"] or 0 for row in rows), default=0)
    return "95 % paired t interval" if family < 2 else "paired t interval, corrected like the verdict"


def _on_the_same(cells: Sequence[Cell], metric: str) -> str:
    """What is to be said of gains that are the same in all seeds, and how coarse the test set is."""
    said = "Cannot be judged: all seeds gain the same, so that the spread of seeds, which is none, says nothing of it"
    sizes = {cell.count("test_labels") for cell in cells} - {None}
    if metric == "test/accuracy" and len(sizes) == 1:
        (size,) = sizes
        said += f"; one of the {size} test examples is {100 / size:.2g} points" if size else ""
    return f"{said}."


def _on_tests(rows: Sequence[Mapping[str, Any]], baseline: str | None, points: bool) -> list[str]:
    """What the verdict is, by which interval, and which gains it could not have missed."""
    tested = [row for row in rows if row["gain_p"] is not None]
    if not tested:
        return []
    if len(tested) > 1:
        controls = ", controls included" if any(row["strategy"] in CONTROLS for row in tested) else ""
        how = (
            f"the interval leaves out 0, at the level of its step in Holm's correction over the {len(tested)} gains of "
            f"this table{controls} (in 95 % of studies no gain that is 0 is called sure, and each interval by itself "
            "holds its gain in at least as many)"
        )
        if any(row["verdict"] == AFTER for row in tested):
            how += "; inconclusive after correction: only its own 95 % interval, not corrected, leaves out 0"
    else:
        how = "the 95 % paired t interval leaves out 0"
    return [
        f"Verdict (↑ helps, ↓ hurts) against {baseline}: {how}; else no evidence.",
        _on_power(tested, points),
    ]


def _on_power(tested: Sequence[Mapping[str, Any]], points: bool) -> str:
    seen = sorted(row["detectable"] for row in tested if row["detectable"] is not None)
    pairs = sorted({row["gain_n"] for row in tested})
    seeds = f"{pairs[0]}" if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]}"
    beyond = len(tested) - len(seen)
    if not seen:
        return f"Power: with {seeds} seeds such a test finds no gain that there can be in 80 % of studies."
    unit = " points" if points else ""
    line = f"Power: with {seeds} seeds such a test finds gains over {amount(median(seen), points)}{unit}"
    if len(seen) > 1:
        line += f" (median of the rows, which range from {amount(seen[0], points)} to {amount(seen[-1], points)})"
    corrected = ", correction and uncertainty of the spread" if len(tested) > 1 else ", the uncertainty of the spread"
    line += f" in 80 % of studies{corrected} included"
    if beyond:
        line += f"; in {beyond} of the {len(tested)} rows it would take more than there can be"
    return f"{line}."


def _on_examples(cells: Sequence[Cell], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the size of the test set alone leaves open."""
    sizes = {cell.count("test_labels") for cell in cells} - {None}
    if any(len(known) > 1 for cell in cells for known in cell.test_sets):
        return []
    means = [row["mean"] for row in rows if row["mean"] is not None]
    if len(sizes) != 1 or not all(0 <= mean <= 1 for mean in means):
        return []
    (size,) = sizes
    assert size is not None
    margins = sorted(binomial_margin(mean, size) for mean in means)
    ends = [amount(margins[0], True), amount(margins[-1], True)]
    told = ends[0] if ends[0] == ends[1] else " to ".join(ends)
    names = {cell.value("dataset.groups") for cell in cells} - {None}
    grouped = f"; more, as they come in groups by {' or '.join(sorted(map(str, names)))}" if names else ""
    return [f"The {size} test examples, the same for all seeds, alone leave ± {told} points open (95 %{grouped})."]
