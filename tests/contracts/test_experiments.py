"""Every yaml of configs/experiment: a study that composes, with a baseline for every cell and more than one seed."""

from pathlib import Path

import pytest

from tlx.results.baseline import OWN
from tlx.sweeps.study import compose_all

NAMES = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "configs/experiment").glob("*.yaml"))


def leaves(node, prefix=""):
    """{dotted key: value} of a nested dict; empty nodes count as values."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    return {k: v for key, value in node.items() for k, v in leaves(value, f"{prefix}.{key}" if prefix else key).items()}


def outside_the_strategy(config):
    """What a cell and its baseline have in common: all but the strategy's own settings and the seed."""
    return tuple(
        sorted(
            (key, str(value))
            for key, value in leaves(config).items()
            if key != "seed" and not any(key == own or key.startswith(f"{own}.") for own in OWN)
        )
    )


def test_all_experiments_are_found():
    assert "letters_to_digits" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_is_a_study_with_baselines_and_seeds(compose, name):
    runs = compose_all(compose, [f"experiment={name}"], multirun=True)
    assert len(runs) > 1
    choices = [run.choices for run in runs]
    assert all(choice["experiment"] == name for choice in choices)
    for run in runs:
        seed, subset = run.config["seed"], run.config["dataset"]["subset_seed"]
        assert subset is None or subset == seed, "the luck of the labels belongs to the spread over seeds"

    seeds_of = {}
    for run in runs:
        cell = (run.choices["strategy"], outside_the_strategy(run.config))
        seeds_of.setdefault(cell, set()).add(run.config["seed"])
    assert len(runs) == sum(map(len, seeds_of.values())), "two runs of the study are the same"
    for (strategy, rest), seeds in seeds_of.items():
        assert len(seeds) > 1, f"{strategy} has one seed: no spread can be computed"
        assert seeds_of.get(("scratch", rest), set()) >= seeds, f"{strategy} has no baseline with its seeds"


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_can_be_shrunk_from_the_command_line(compose, name):
    runs = compose_all(compose, [f"experiment={name}", "seed=0", "trainer.max_epochs=1"], multirun=True)
    assert {run.config["seed"] for run in runs} == {0}
    assert {run.config["trainer"]["max_epochs"] for run in runs} == {1}


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_holds_overrides_and_axes_only(name):
    text = (Path(__file__).resolve().parents[2] / "configs/experiment" / f"{name}.yaml").read_text()
    assert text.startswith("# @package _global_")
    assert "_target_" not in text, "a part is chosen in an experiment, not copied into it"
