"""Learning curves of runs, from their metrics.csv."""

import csv
from pathlib import Path
from typing import Any

from tlx.results.baseline import baselines
from tlx.results.cells import cells
from tlx.results.collect import Run, run_in


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


def scratch_curves(config: dict[str, Any], folder: Path, metric: str) -> list[list[tuple[int, float]]]:
    """Curves of the completed scratch runs in the same study that are the baseline of the run in `folder`."""
    run, choices = config["run"], config["run"]["choices"]
    if choices["strategy"] == "scratch":
        return []
    settings = {key: value for key, value in config.items() if key != "run"}  # as records have them
    own = Run(run["identity"], run["cell"], "running", choices, settings, folder)
    found = (run_in(file.parent) for file in sorted(folder.parent.glob("*-scratch-*/record.json")))
    done = [other for other in found if other and other.status == "completed"]
    partner = baselines(cells([own, *done]), "scratch", ()).found.get(own.cell)
    return [] if partner is None else [points for other in partner.runs if (points := curve(other.folder, metric))]
