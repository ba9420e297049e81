"""Learning curves of the scratch runs that a run will be compared with."""

from pathlib import Path
from typing import Any

from tlx.callbacks.negative_transfer import NegativeTransferWarning
from tlx.results.baseline import baselines
from tlx.results.cells import cells
from tlx.results.collect import Run, run_in
from tlx.results.curves import curve
from tlx.tasks.metrics import direction


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


def watch_for_scratch(config: dict[str, Any], folder: Path, untrained: dict[str, float]) -> NegativeTransferWarning:
    """What compares a run, at each validation, with its scratch runs and with its own scores before the training."""
    monitor = config["dataset"]["monitor"]
    rivals = scratch_curves(config, folder, f"val/{monitor}")
    better = direction(monitor) == "higher"
    return NegativeTransferWarning(f"val/{monitor}", rivals, untrained[monitor], higher_is_better=better)
