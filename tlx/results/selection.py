"""Numbers that were chosen by what they measure are not results."""

from collections.abc import Iterable

from tlx.errors import UserError
from tlx.results.cells import Cell

SELECTIONS = {"best": "best (checkpoint with the best validation score)", "last": "last (weights after the last step)"}


def refuse_selection_on_test(cells: Iterable[Cell]) -> None:
    """Let no run into a table whose checkpoint was chosen by its test score.

    Raises:
        UserError: a completed run's selection is none that reads validation only, or its monitor is a test metric.
    """
    for cell in cells:
        for run in cell.completed:
            mode = run.record.get("selection")
            dataset = run.config.get("dataset")
            monitor = str(dataset.get("monitor") or "") if isinstance(dataset, dict) else ""
            if mode is not None and mode not in SELECTIONS:
                how = f"selection={mode}"
            elif monitor.startswith("test/"):
                how = f"dataset.monitor={monitor}"
            else:
                continue
            raise UserError(
                f"the checkpoint was not chosen on validation ({how}) in {run.folder}: a score that was chosen by the "
                "test split is no result, and no table mixes it with others. Run it again with selection=best (on "
                "validation) or selection=last, or leave this run out."
            )
