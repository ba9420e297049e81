"""A study's records without the rest: what goes beside a table that others are to check."""

import shutil
from pathlib import Path
from typing import Any

from tlx.errors import UserError
from tlx.record.jsonfile import read_json, write_json_rows
from tlx.record.record import write_record
from tlx.results.collect import PLAN, collect

PRIVATE = ("sittings", "config_dir")  # names of machines, processes and folders


def publish(study: Path, target: Path) -> int:
    """Copy the plan, and of each run the record and the learning curves, so that `tlx table TARGET` prints the table.

    Weights, predictions and logs stay behind, and so do the names of machines. Returns the number of runs.

    Raises:
        UserError: no plan in `study`; a path in a config that means something on this machine alone.
    """
    plan = read_json(study / PLAN)
    if plan is None:
        raise UserError(f"{study} is no study's folder: it holds no {PLAN}.")
    runs = [run for run in collect(study) if run.record]
    for run in runs:
        if bad := next((value for value in _texts(run.config) if value.startswith("/")), None):
            raise UserError(
                f"{run.folder.name} was given the path {bad}: run the study with relative paths to publish it."
            )
    target.mkdir(parents=True, exist_ok=True)
    planned = [{key: value for key, value in run.items() if key not in PRIVATE} for run in plan["runs"]]
    write_json_rows(target / PLAN, {k: v for k, v in plan.items() if k != "runs"}, "runs", planned)
    for run in runs:
        write_record(target / run.folder.name, {key: value for key, value in run.record.items() if key not in PRIVATE})
        if (run.folder / "metrics.csv").is_file():
            shutil.copyfile(run.folder / "metrics.csv", target / run.folder.name / "metrics.csv")
    return len(runs)


def _texts(node: Any) -> list[str]:
    """All texts in a config."""
    if isinstance(node, dict):
        return [text for value in node.values() for text in _texts(value)]
    if isinstance(node, list):
        return [text for value in node for text in _texts(value)]
    return [node] if isinstance(node, str) else []
