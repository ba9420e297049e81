"""A study's table together with the cells behind its rows: what figures and the report are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median
from typing import Any

from tlx.results.cells import CHOICES, Cell, cells, look
from tlx.results.collect import Run
from tlx.results.metric_names import direction_of
from tlx.results.naming import comparable, setting
from tlx.results.table import Table, build_table, words
from tlx.results.tuning import tuned_cells


@dataclass(frozen=True)
class Point:
    """One row of the table and its cell; `series` and `panel` say where it stands in a figure.

    `series` is what colours tell apart, `panel` names everything else that varies ("" when nothing does).
    """

    row: dict[str, Any]
    cell: Cell
    series: str
    panel: str

    @property
    def scores(self) -> dict[Any, float]:
        """Seed → score in the table's metric."""
        return self.cell.scores(self.row["metric"])

    def over(self, section: str, name: str) -> float | None:
        """The median over the completed runs of one number in the record, such as ("seconds", "train")."""
        found = [run.record.get(section, {}).get(name) for run in self.cell.completed]
        numbers = [number for number in found if isinstance(number, int | float)]
        return median(numbers) if numbers else None

    def mean(self, metric: str) -> float | None:
        """The mean over the completed runs of another metric."""
        scores = self.cell.scores(metric).values()
        return fmean(scores) if scores else None


@dataclass(frozen=True)
class Findings:
    """`points` has one entry a row of `table`, in the table's order; rows that tuning has yet to decide have none."""

    runs: list[Run]
    table: Table
    points: list[Point]
    series_key: str

    @property
    def metric(self) -> str:
        return self.table.metric

    @property
    def measure(self) -> str:
        """The metric without its split: `accuracy` of `test/accuracy`."""
        return self.metric.rsplit("/", 1)[-1]

    @cached_property
    def direction(self) -> str | None:
        """Which way the metric is better, "higher" or "lower"; None when the records do not say or do not agree."""
        return direction_of([point.cell for point in self.points], self.metric)

    @cached_property
    def varying(self) -> list[str]:
        """The settings of the table that differ between its rows."""
        return _varying(self.table)

    @cached_property
    def series(self) -> list[str]:
        """The names that colours stand for, in the table's order (the baseline first)."""
        return list(dict.fromkeys(point.series for point in self.points))


def findings(
    runs: Sequence[Run],
    metric: str = "test/accuracy",
    baseline: str | None = "scratch",
    tune_over: Sequence[str] | str | None = None,
    tune_seeds: Sequence[str] | str | None = None,
) -> Findings:
    """The table of the runs (see `tlx.results.build_table`), each row with its cell.

    Raises:
        UserError: as for the table.
    """
    table = build_table(runs, metrics=[metric], baseline=baseline, tune_over=tune_over, tune_seeds=tune_seeds)
    found = tuned_cells(cells(runs), words(tune_over, "--tune-over"), words(tune_seeds, "--tune-seeds")).cells
    by_look = {look(cell, table.keys): cell for cell in found}
    varying = _varying(table)
    key = next((key for key in ("strategy", *varying) if key in varying), "strategy")
    points = []
    for row in table.rows:
        cell = by_look.get(tuple(comparable(row[name]) for name in table.keys))
        if cell is not None:
            panel = [named(name, row[name]) for name in varying if name != key]
            points.append(Point({**row, "metric": table.metric}, cell, named(key, row[key]), ", ".join(panel)))
    return Findings(list(runs), table, points, key)


def named(key: str, value: Any) -> str:
    """A setting in a figure: choices by their value alone, numbers of labels as such, others as `optimizer.lr 0.01`."""
    written = setting(key, value)
    if key == "train_size" and value is None:
        return "all labels"
    if key == "train_size" and isinstance(value, int):
        return f"{written} label{'s' * (value != 1)}"
    return written if key in CHOICES else f"{key} {written}"


def _varying(table: Table) -> list[str]:
    return [key for key in table.keys if len({comparable(row[key]) for row in table.rows}) > 1]
