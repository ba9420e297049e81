"""The mean learning curve of a cell, from the metrics.csv of its runs."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tlx.results.collect import Run
from tlx.results.curves import curve


class CurvePoint(NamedTuple):
    """Mean over the seeds at one optimiser step, and their standard deviation (ddof 1; None for one seed)."""

    step: float
    mean: float
    std: float | None
    n: int


def columns(folder: Path) -> list[str]:
    """The names of the columns in a run's metrics.csv; [] when there is none."""
    try:
        with (folder / "metrics.csv").open(newline="") as file:
            return next(csv.reader(file), [])
    except OSError:
        return []


def read_curve(run: Run, column: str) -> dict[int, float]:
    """Step → value of one column of a run's metrics.csv, as far as it is finite; {} where there is none to read."""
    try:
        points = curve(run.folder, column)
    except ValueError:  # one damaged file does not hide the curves of the others
        return {}
    return {step: value for step, value in points if math.isfinite(value)}


def mean_curve(runs: Sequence[Run], column: str, most: int = 40) -> list[CurvePoint]:
    """The mean over seeds at up to `most` steps.

    A seed's value between two of its steps is interpolated. The curve spans the steps that every seed with a curve
    has, so that no end of it rests on fewer seeds; [] when no run has the column.
    """
    import numpy as np

    curves = [found for run in runs if (found := read_curve(run, column))]
    if not curves:
        return []
    first = max(min(one) for one in curves)
    last = min(max(one) for one in curves)
    steps = sorted(step for step in max(curves, key=len) if first <= step <= last) or [last]
    if len(steps) > most:
        picked = np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))
        steps = [steps[i] for i in picked]
    values = np.array([np.interp(steps, list(one), list(one.values())) for one in curves])
    spread = values.std(axis=0, ddof=1) if len(curves) > 1 else [None] * len(steps)
    return [
        CurvePoint(step, float(mean), None if std is None else float(std), len(curves))
        for step, mean, std in zip(steps, values.mean(axis=0), spread, strict=True)
    ]
