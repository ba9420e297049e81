"""A grid of a table's rows: some settings down, others across, one cell in each place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlx.errors import UserError
from tlx.results.naming import comparable, place, written


@dataclass(frozen=True)
class Pivot:
    """`places[i][j]` is the table's row for the i-th values of `down` and the j-th of `across`, or None."""

    down: list[str]
    across: list[str]
    down_values: list[tuple]
    across_values: list[tuple]
    places: list[list[dict[str, Any] | None]]


def span(
    rows: Sequence[dict[str, Any]],
    down: Sequence[str],
    across: Sequence[str],
    keys: Sequence[str],
    baseline: str | None,
) -> Pivot:
    """Put each row in its place; lines and columns are in natural order, the baseline before other strategies.

    Args:
        rows: the table's rows.
        down, across: settings; whichever is empty becomes every other one of `keys` that varies.

    Raises:
        UserError: a setting both down and across; two rows in one place, with what they differ in.
    """
    varying = [key for key in keys if len({comparable(row[key]) for row in rows}) > 1]
    if both := [key for key in down if key in across]:
        raise UserError(f"--rows and --columns both name {', '.join(both)}; each setting goes to one of them.")
    down = list(down) or [key for key in varying if key not in across] or ["strategy"]
    across = list(across) or [key for key in varying if key not in down] or ["dataset"]
    placed: dict[tuple, dict[str, Any]] = {}
    down_values: dict[tuple, tuple] = {}
    across_values: dict[tuple, tuple] = {}
    for row in rows:
        here = _values(row, down), _values(row, across)
        down_values.setdefault(here[0], tuple(row[key] for key in down))
        across_values.setdefault(here[1], tuple(row[key] for key in across))
        other = placed.setdefault(here, row)
        if other is not row:
            differ = [key for key in varying if comparable(row[key]) != comparable(other[key])]
            where = ", ".join(f"{key} {written(row[key])}" for key in (*down, *across))
            raise UserError(
                f"two cells fall on one place of the table ({where}); they differ in {', '.join(differ)} and are never "
                f"averaged. Name {' or '.join(differ)} in --rows or --columns, or choose one with --tune-over."
            )
    lines = sorted(down_values, key=lambda at: _order(down, down_values[at], baseline))
    columns = sorted(across_values, key=lambda at: _order(across, across_values[at], baseline))
    places = [[placed.get((i, j)) for j in columns] for i in lines]
    return Pivot(down, across, [down_values[i] for i in lines], [across_values[j] for j in columns], places)


def _order(keys: Sequence[str], values: tuple, baseline: str | None) -> list[tuple]:
    return [place(key, value, baseline) for key, value in zip(keys, values, strict=True)]


def _values(row: dict[str, Any], keys: Sequence[str]) -> tuple:
    return tuple(comparable(row[key]) for key in keys)
