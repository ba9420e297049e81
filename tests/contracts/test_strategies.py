"""Every yaml of configs/strategy on each of the three tiny models, in the Trainer that a run uses.

The registry's entries are random networks: what a strategy does to weights does not depend on what they know.
"""

from pathlib import Path

import pytest

from tlx.contracts import strategies as contracts
from tlx.contracts.workshop import MODELS, composed, furnish

NAMES = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "configs/strategy").glob("*.yaml"))
# What is known not to work: (strategy, model) -> why. A line goes when the test passes.
CELLS = [(s, m) for s in NAMES for m in MODELS]


@pytest.fixture(scope="module")
def place(compose, tmp_path_factory):
    """A folder with data of each modality and a registry of random networks."""
    root = tmp_path_factory.mktemp("strategies")
    furnish(compose, root)
    return root


def test_all_strategy_yamls_are_found():
    assert len(NAMES) >= 10
    assert {"scratch", "full", "feature_extraction", "lora"} <= set(NAMES)


@pytest.mark.parametrize(("strategy", "model"), CELLS)
def test_a_strategy_trains_what_it_says_and_repeats(compose, place, strategy, model, tmp_path):
    config = composed(compose, place, model, f"strategy={strategy}")
    contracts.trains_what_it_says_and_repeats(config, tmp_path)
    if strategy == "full":  # seeds are no strategy's business: once is enough
        ones = [contracts.fit(config | {"seed": 1}, tmp_path / folder)[1].losses for folder in "cd"]
        assert ones[0] == ones[1] != contracts.fit(config, tmp_path / "e")[1].losses


@pytest.mark.parametrize(("strategy", "model"), CELLS)
def test_the_phases_of_a_strategy_end_with_the_training(compose, place, strategy, model):
    contracts.phases_end_with_the_training(composed(compose, place, model, f"strategy={strategy}"))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strategy", NAMES)
def test_a_strategy_starts_from_the_weights_it_names_and_counts_what_it_trains(
    compose, place, strategy, model, tmp_path
):
    config = composed(compose, place, model, f"strategy={strategy}")
    contracts.starts_and_counts(config, tmp_path, place / "registry" / model)
