"""The controls of a study: strategies that say where a gain comes from, and are no way of transferring themselves."""

from tlx.results.cells import Cell

CONTROLS = ("scratch_long", "random_features", "shuffled")


def with_control(*cells: Cell) -> bool:
    """Whether one of the cells is of a control: such a comparison asks another question than one of strategies."""
    return any(cell.value("strategy") in CONTROLS for cell in cells)
