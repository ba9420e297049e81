"""How long a run trains."""

import pytest

from tlx import budget


@pytest.mark.parametrize(
    ("longer", "own", "epochs", "patience"), [(None, None, 4, None), (None, 2, 4, 2), (3, None, 12, 4), (3, 1, 12, 1)]
)
def test_a_longer_training_ends_when_it_pays_no_more(longer, own, epochs, patience) -> None:
    config = {"trainer": {"max_epochs": 4, "patience": own}, "strategy": {"longer": longer}}
    assert (budget.epochs(config), budget.patience(config)) == (epochs, patience)
