"""A table as lines of text: which columns are shown, and how each number is written for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tlx.results.naming import NONE, comparable, setting
from tlx.results.statistics.verdict import HELPS, HURTS
from tlx.results.table import Table

ARROWS = {HELPS: " ↑", HURTS: " ↓"}  # the verdict in a grid, which has no column for it


@dataclass(frozen=True)
class Block:
    """One rectangle of text: `header` and `lines` of equal length, the first `keys` columns being settings."""

    title: str
    header: list[str]
    lines: list[list[str]]
    keys: int
    metric: str


def blocks(table: Table) -> list[Block]:
    """The rectangles that show the table: one, or one a section; for a grid, one a section and metric."""
    if table.pivot:
        return [_grid(table, metric) for metric in table.metrics]
    columns = _columns(table)
    return [
        Block(title, [*table.keys, *(name for name, _ in columns)], lines, len(table.keys), table.metric)
        for title, rows in _sections(table)
        for lines in [[[*_settings(table, row), *(write(row) for _, write in columns)] for row in rows]]
    ]


def _sections(table: Table) -> list[tuple[str, list[dict[str, Any]]]]:
    if not table.group_by:
        return [("", table.rows)]
    by = table.group_by
    groups = groupby(table.rows, key=lambda row: tuple(comparable(row[key]) for key in by))
    found = [list(rows) for _, rows in groups]
    return [(", ".join(f"{key} = {setting(key, rows[0][key])}" for key in by), rows) for rows in found]


def _settings(table: Table, row: Mapping[str, Any]) -> list[str]:
    return [setting(key, row[key]) for key in table.keys]


def _columns(table: Table) -> list[tuple[str, Any]]:
    """(header, row → text) of the columns that hold something; the scores always."""
    first, *others = table.metrics
    columns: list[tuple[str, Any]] = [(first, lambda row: spread(row["mean"], row["std"], row["n"]) + marks(row))]
    for name in others:
        columns.append((name, lambda row, m=name: spread(row[f"{m}.mean"], row[f"{m}.std"], row[f"{m}.n"])))
    held = {key for row in table.rows for key, value in row.items() if value is not None}
    if "gain" in held:
        columns.append(
            (f"gain over {table.baseline}", lambda row: interval(row["gain"], row["gain_low"], row["gain_high"]))
        )
        columns.append(("verdict", lambda row: row["verdict"] or NONE))
    if "forgetting" in held:
        columns.append(("forgetting", lambda row: number(row["forgetting"], "+.3f")))
    if "trainable_share" in held:
        columns.append(("trainable", lambda row: share(row["trainable_share"])))
    if "seconds" in held:
        columns.append(("seconds", lambda row: seconds(row["seconds"])))
    for name in ("failed", "missing"):
        if any(row[name] for row in table.rows):
            columns.append((name, lambda row, n=name: str(row[n])))
    return columns


def _grid(table: Table, metric: str) -> Block:
    grid = table.pivot
    assert grid is not None
    names = ("mean", "std", "n") if metric == table.metric else (f"{metric}.mean", f"{metric}.std", f"{metric}.n")
    across = [
        ", ".join(f"{key} {setting(key, value)}" for key, value in zip(grid.across, values, strict=True))
        for values in grid.across_values
    ]
    lines = [
        [setting(key, value) for key, value in zip(grid.down, values, strict=True)]
        + [NONE if row is None else _place(row, names, arrow=metric == table.metric) for row in line]
        for values, line in zip(grid.down_values, grid.places, strict=True)
    ]
    return Block(metric, [*grid.down, *across], lines, len(grid.down), metric)


def _place(row: Mapping[str, Any], names: Sequence[str], arrow: bool) -> str:
    mean, std, n = (row[name] for name in names)
    return spread(mean, std, n, row) + (marks(row) + ARROWS.get(row["verdict"], "") if arrow else "")


def marks(row: Mapping[str, Any]) -> str:
    """† for a test split that was not sealed, ‡ for outlier seeds: the caption says more."""
    return "†" * row["unsealed"] + "‡" * bool(row["outliers"])


def spread(mean: float | None, std: float | None, n: int, counts: Mapping[str, Any] | None = None) -> str:
    """`0.913 ± 0.012 (5)`; no ± at n = 1; `counts` adds what failed or is missing, where no column says it."""
    text = NONE if mean is None else f"{mean:.3f} ({n})" if std is None else f"{mean:.3f} ± {std:.3f} ({n})"
    lacking = [f"{counts[name]} {name}" for name in ("failed", "missing") if counts[name]] if counts else []
    return f"{text} [{', '.join(lacking)}]" if lacking else text


def interval(gain: float | None, low: float | None, high: float | None) -> str:
    """`+0.107 [+0.052, +0.161]`; no brackets below two pairs."""
    if gain is None or low is None or high is None:
        return number(gain, "+.3f")
    return f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]"


def number(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def share(value: float | None) -> str:
    """A share as percents with three digits: `100 %`, `1.01 %`, `0.0412 %`."""
    return NONE if value is None else f"{100 * value:.3g} %"


def seconds(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"
