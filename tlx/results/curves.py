"""Learning curves of runs, from their metrics.csv."""

import csv
from pathlib import Path


def curve(folder: Path, metric: str) -> list[tuple[int, float]]:
    """(optimiser step, value) of a metric, in the order of the steps; [] where the run logged none."""
    file = folder / "metrics.csv"
    if not file.is_file():
        return []
    with file.open(newline="") as lines:
        return sorted((int(row["step"]), float(row[metric])) for row in csv.DictReader(lines) if row.get(metric))


def steps_to(points: list[tuple[int, float]], share: float, higher_is_better: bool = True) -> int | None:
    """The first step at which a curve has made `share` of its way from its first to its best value; None without one.

    Of a loss the best is the lowest.
    """
    if not points:
        return None
    first, best = points[0][1], (max if higher_is_better else min)(value for _, value in points)
    goal = first + share * (best - first)
    return next(step for step, value in points if (value >= goal if higher_is_better else value <= goal))
