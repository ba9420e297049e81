"""How long a run trains."""

import pytest

from tlx.config import budget


@pytest.mark.parametrize(("longer", "epochs"), [(None, 4), (3, 12)])
def test_a_longer_training_is_a_multiple_of_the_usual_one(longer: int | None, epochs: int) -> None:
    assert budget.epochs({"trainer": {"max_epochs": 4}, "strategy": {"longer": longer}}) == epochs
