"""The metrics that runs have: their full names and directions."""

from collections.abc import Sequence

from tlx.errors import UserError, unknown
from tlx.results.cells import Cell
from tlx.results.statistics import DIRECTIONS


def words(given: Sequence[str] | str | None, option: str) -> list[str]:
    """["a", "b"] from that list, from "a,b", or [] from None; doubles fall away.

    Raises:
        UserError: something was given, and there is no word in it; `option` is how the message calls it.
    """
    if given is None:
        return []
    parts = given.split(",") if isinstance(given, str) else given
    found = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if parts and not found:
        raise UserError(f"{option} was given and is empty: name something, or leave the option out.")
    return found


def metric_names(cells: Sequence[Cell], asked: Sequence[str]) -> list[str]:
    """The full names of the metrics, `test/accuracy` of `accuracy`; while no run has completed any name is taken.

    Raises:
        UserError: no completed run has the metric; the message lists those there are.
    """
    known = sorted({name for cell in cells for run in cell.completed for name in run.record.get("metrics", {})})
    names = []
    for name in asked:
        full = name if name in known or "/" in name else f"test/{name}"
        if known and full not in known:
            raise unknown("metric", full, known, "These are the metrics of the completed runs.")
        names.append(full)
    return list(dict.fromkeys(names))


def direction_of(cells: Sequence[Cell], metric: str) -> str | None:
    """Which way is better, as the records say; None when they do not say or do not agree: then there is no gain."""
    part = metric.rsplit("/", 1)[-1]
    runs = [run for cell in cells for run in cell.completed if run.metric(metric) is not None]
    said = [run.record.get("directions", {}) for run in runs]
    found = {directions.get(metric, directions.get(part)) for directions in said}
    return found.pop() if len(found) == 1 and found <= set(DIRECTIONS) else None
