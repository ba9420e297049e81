"""Learning curves: one column of a run's metrics.csv, and the mean curve of a cell."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tlx.results.collect import Run

NAME = "metrics.csv"


class CurvePoint(NamedTuple):
    """Mean over the seeds at one optimiser step, and their standard deviation (ddof 1; None for one seed)."""

    step: float
    mean: float
    std: float | None
    n: int


def columns(folder: Path) -> list[str]:
    """The names of the columns in a run's metrics.csv; [] when there is none."""
    try:
        with (folder / NAME).open(newline="") as file:
            return next(csv.reader(file), [])
    except OSError:
        return []


def read_curve(folder: Path, column: str) -> dict[int, float]:
    """Step → value of one column, as far as it is finite; {} when the file or the column is not there.

    A step that stands there twice (an interrupted run writes some again) has its last value.
    """
    try:
        with (folder / NAME).open(newline="") as file:
            lines = csv.reader(file)
            header = next(lines, [])
            if column not in header or "step" not in header:
                return {}
            step, place = header.index("step"), header.index(column)
            found: dict[int, float] = {}
            for line in lines:
                if len(line) > max(step, place) and line[place]:
                    found[int(float(line[step]))] = float(line[place])
    except (OSError, ValueError):
        return {}
    return {at: value for at, value in sorted(found.items()) if math.isfinite(value)}


def mean_curve(runs: Sequence[Run], column: str, most: int = 40) -> list[CurvePoint]:
    """The mean over seeds at up to `most` steps.

    A seed's value between two of its steps is interpolated. The curve spans the steps that every seed with a curve
    has, so that no end of it rests on fewer seeds; [] when no run has the column.
    """
    import numpy as np

    curves = [curve for run in runs if (curve := read_curve(run.folder, column))]
    if not curves:
        return []
    first = max(min(curve) for curve in curves)
    last = min(max(curve) for curve in curves)
    steps = sorted(step for step in max(curves, key=len) if first <= step <= last) or [last]
    if len(steps) > most:
        picked = np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))
        steps = [steps[i] for i in picked]
    values = np.array([np.interp(steps, list(curve), list(curve.values())) for curve in curves])
    spread = values.std(axis=0, ddof=1) if len(curves) > 1 else [None] * len(steps)
    return [
        CurvePoint(step, float(mean), None if std is None else float(std), len(curves))
        for step, mean, std in zip(steps, values.mean(axis=0), spread, strict=True)
    ]
