"""A table as lines of text: which columns are shown, and how each number is written for people."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from tlx.results.best import GROUP, UNDECIDED
from tlx.results.naming import NONE, comparable, setting
from tlx.results.statistics.verdict import HELPS, HURTS
from tlx.results.table import Table

ARROWS = {HELPS: " ↑", HURTS: " ↓"}  # the verdict in a grid, which has no column for it


KEY, SCORE, GAIN, PLAIN = "key", "score", "gain", "plain"  # kinds of columns


@dataclass(frozen=True)
class Block:
    """One rectangle of text: `header`, `kinds` and `lines` of equal length, the first `keys` columns being settings.

    `best` holds the places (line, column) of the best mean among the strategies of one model, data set and size, `near`
    those that are not distinguishable from it.
    """

    title: str
    header: list[str]
    kinds: list[str]
    lines: list[list[str]]
    keys: int
    metric: str
    best: set[tuple[int, int]]
    near: set[tuple[int, int]]


def blocks(table: Table, arrows: bool = False) -> list[Block]:
    """The rectangles that show the table: one, or one a section; for a grid, one a section and metric.

    With `arrows` the verdict stands as ↑ or ↓ behind the score and has no column; in a grid it always does.
    """
    if table.pivot:
        return [_grid(table, metric) for metric in table.metrics]
    columns = _columns(table, arrows)
    winners = {metric: best_rows(table, metric) for metric in table.metrics}
    keys = len(table.keys)
    return [
        Block(
            title,
            [*table.keys, *(name for name, _, _ in columns)],
            [*[KEY] * keys, *(kind for _, kind, _ in columns)],
            [[*_settings(table, row), *(write(row) for _, _, write in columns)] for row in rows],
            keys,
            table.metric,
            {
                (line, keys + column)
                for line, row in enumerate(rows)
                for column, (name, kind, _) in enumerate(columns)
                if kind == SCORE and id(row) in winners[name]
            },
            {
                (line, keys)
                for line, row in enumerate(rows)
                if row["against_best"] == UNDECIDED and id(row) not in winners[table.metric]
            },
        )
        for title, rows in _sections(table)
    ]


def best_note(table: Table, found: Sequence[Block]) -> list[str]:
    """What bold and underlined scores are, for formats that have them."""
    if not any(block.best for block in found):
        return []
    where = f" in {table.metric}" if len(table.metrics) > 1 else ""
    return [f"Bold: the best mean of each model, data set and size; underlined: not distinguishable from it{where}."]


def best_rows(table: Table, metric: str) -> set[int]:
    """The `id`s of the rows with the best mean among those of the same model, data set and size, where several are."""
    direction = table.directions.get(metric)
    name = "mean" if metric == table.metric else f"{metric}.mean"
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in table.rows:
        if row[name] is not None:
            groups.setdefault(tuple(comparable(row[key]) for key in GROUP), []).append(row)
    best = {"higher": max, "lower": min}.get(direction or "")
    if best is None:
        return set()
    tops = ((rows, best(row[name] for row in rows)) for rows in groups.values() if len(rows) > 1)
    return {id(row) for rows, top in tops for row in rows if row[name] == top}


def _sections(table: Table) -> list[tuple[str, list[dict[str, Any]]]]:
    if not table.group_by:
        return [("", table.rows)]
    by = table.group_by
    groups = groupby(table.rows, key=lambda row: tuple(comparable(row[key]) for key in by))
    found = [list(rows) for _, rows in groups]
    return [(", ".join(f"{key} = {setting(key, rows[0][key])}" for key in by), rows) for rows in found]


def _settings(table: Table, row: Mapping[str, Any]) -> list[str]:
    return [setting(key, row[key]) for key in table.keys]


def _columns(table: Table, arrows: bool) -> list[tuple[str, str, Callable[[Mapping[str, Any]], str]]]:
    """(header, kind, row → text) of the columns that hold something; the scores always."""
    first, *others = table.metrics
    columns: list[tuple[str, str, Callable[[Mapping[str, Any]], str]]] = [
        (first, SCORE, partial(_score, names=("mean", "std", "n"), marked=True, arrow=arrows))
    ]
    for name in others:
        fields = (f"{name}.mean", f"{name}.std", f"{name}.n")
        columns.append((name, SCORE, partial(_score, names=fields, marked=False, arrow=False)))
    held = {key for row in table.rows for key, value in row.items() if value is not None}
    if "gain" in held:
        columns.append((gain_header(table), GAIN, gain))
        if "gain_itt" in held:
            columns.append(("failed = guessing", PLAIN, intended))
        if "examples_low" in held:
            columns.append(("other examples", PLAIN, lambda row: bounds(row["examples_low"], row["examples_high"])))
        if not arrows:
            columns.append(("verdict", PLAIN, lambda row: row["verdict"] or NONE))
    if "forgetting" in held:
        columns.append(("forgetting", PLAIN, lambda row: number(row["forgetting"], "+.3f")))
    if "trainable_share" in held:
        columns.append(("trainable", PLAIN, lambda row: share(row["trainable_share"])))
    if "seconds" in held:
        columns.append(("seconds", PLAIN, lambda row: seconds(row["seconds"])))
    for name in ("failed", "missing"):
        if any(row[name] for row in table.rows):
            columns.append((name, PLAIN, partial(_count, name=name)))
    return columns


def _count(row: Mapping[str, Any], name: str) -> str:
    return str(row[name])


def _grid(table: Table, metric: str) -> Block:
    grid = table.pivot
    assert grid is not None
    first = metric == table.metric
    names = ("mean", "std", "n") if first else (f"{metric}.mean", f"{metric}.std", f"{metric}.n")
    across = [
        ", ".join(f"{key} {setting(key, value)}" for key, value in zip(grid.across, values, strict=True))
        for values in grid.across_values
    ]
    lines = [
        [setting(key, value) for key, value in zip(grid.down, values, strict=True)]
        + [NONE if row is None else _score(row, names, first, first, row) for row in line]
        for values, line in zip(grid.down_values, grid.places, strict=True)
    ]
    winners, keys = best_rows(table, metric), len(grid.down)
    best = {
        (i, keys + j) for i, line in enumerate(grid.places) for j, row in enumerate(line) if row and id(row) in winners
    }
    near = {
        (i, keys + j)
        for i, line in enumerate(grid.places)
        for j, row in enumerate(line)
        if row and first and row["against_best"] == UNDECIDED
    }
    kinds = [KEY] * keys + [SCORE] * len(across)
    return Block(metric, [*grid.down, *across], kinds, lines, keys, metric, best, near - best)


def _score(
    row: Mapping[str, Any],
    names: tuple[str, str, str],
    marked: bool,
    arrow: bool,
    counts: Mapping[str, Any] | None = None,
) -> str:
    mean, std, n = (row[name] for name in names)
    return spread(mean, std, n, counts) + marks(row) * marked + (ARROWS.get(row["verdict"], "") if arrow else "")


def marks(row: Mapping[str, Any]) -> str:
    """† for a test split that was not sealed, ‡ for outlier seeds, § for collapsed ones: the caption says more."""
    return "†" * row["unsealed"] + "‡" * bool(row["outliers"]) + "§" * bool(row["collapsed"])


def spread(mean: float | None, std: float | None, n: int, counts: Mapping[str, Any] | None = None) -> str:
    """`0.913 ± 0.012 (5)`; no ± at n = 1; `counts` adds what failed or is missing, where no column says it."""
    text = NONE if mean is None else f"{mean:.3f} ({n})" if std is None else f"{mean:.3f} ± {std:.3f} ({n})"
    lacking = [f"{counts[name]} {name}" for name in ("failed", "missing") if counts[name]] if counts else []
    return f"{text} [{', '.join(lacking)}]" if lacking else text


def gain_header(table: Table) -> str:
    """What the column of gains holds: over what, and which interval its brackets are."""
    family = max((row["gain_family"] or 0 for row in table.rows), default=0)
    brackets = "" if not family else " [95 %]" if family == 1 else " [corrected]"
    return f"gain over {table.baseline}{brackets}"


def gain(row: Mapping[str, Any]) -> str:
    """The row's gain with the interval that belongs to its verdict."""
    return interval(row["gain"], row["gain_low_holm"], row["gain_high_holm"])


def intended(row: Mapping[str, Any]) -> str:
    """The row's gain by intention to treat, where seeds failed."""
    return interval(row["gain_itt"], row["gain_itt_low"], row["gain_itt_high"])


def interval(gain: float | None, low: float | None, high: float | None) -> str:
    """`+0.107 [+0.052, +0.161]`; no brackets where there is no interval."""
    if gain is None or low is None or high is None:
        return number(gain, "+.3f")
    return f"{gain:+.3f} {bounds(low, high)}"


def bounds(low: float | None, high: float | None) -> str:
    """`[+0.052, +0.161]`; more digits where three would make an end 0 that is none, as +0.0002."""
    return NONE if low is None or high is None else f"[{_end(low)}, {_end(high)}]"


def _end(value: float) -> str:
    return next((text for digits in range(3, 9) if float(text := f"{value:+.{digits}f}")), f"{value:+.3f}")


def number(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def share(value: float | None) -> str:
    """A share as percents with three digits: `100 %`, `1.01 %`, `0.0412 %`."""
    return NONE if value is None else f"{100 * value:.3g} %"


def seconds(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"
