"""The controls of a study: strategies that say where a gain comes from, and are no way of transferring themselves."""

from tlx.results.cells import Cell

CONTROLS = ("scratch_long", "random_features", "shuffled")


def is_control(cell: Cell) -> bool:
    """Whether the cell's strategy is one of the controls."""
    return cell.value("strategy") in CONTROLS
