"""Every yaml of configs/experiment: a study that composes, with a baseline for every cell and more than one seed."""

from pathlib import Path

import pytest

from tlx.contracts import experiments as contracts
from tlx.sweeps.study import compose_all

NAMES = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "configs/experiment").glob("*.yaml"))


def test_all_experiments_are_found():
    assert "letters_to_digits" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_is_a_study_with_baselines_and_seeds(compose, name):
    runs = compose_all(compose, [f"experiment={name}"], multirun=True)
    contracts.is_a_study(name, runs)
    contracts.has_several_seeds(runs)
    contracts.has_baselines(runs)


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_can_be_shrunk_from_the_command_line(compose, name):
    runs = compose_all(compose, [f"experiment={name}", "seed=0", "trainer.max_epochs=1"], multirun=True)
    assert {run.config["seed"] for run in runs} == {0}
    assert {run.config["trainer"]["max_epochs"] for run in runs} == {1}


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_holds_overrides_and_axes_only(name):
    text = (Path(__file__).resolve().parents[2] / "configs/experiment" / f"{name}.yaml").read_text()
    contracts.holds_overrides_only(text)
