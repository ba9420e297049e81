"""What every experiment must be: a study that composes, no run twice, more than one seed, a baseline for every cell."""

from collections.abc import Sequence
from typing import Any

from tlx.config.composer import Composed
from tlx.contracts.contract import hold
from tlx.results.baseline import OWN
from tlx.results.naming import flatten, under

BASELINE = "scratch"


def outside_the_strategy(config: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """What a cell and its baseline have in common: all but the strategy's own settings and the seed."""
    return tuple(
        sorted(
            (key, str(value))
            for key, value in flatten(config, parts=False).items()
            if key != "seed" and not under(key, OWN)
        )
    )


def seeds_of(runs: Sequence[Composed]) -> dict[tuple[str | None, tuple[tuple[str, str], ...]], set[int]]:
    """The seeds of each cell: (strategy, what it has in common with its baseline)."""
    found: dict[tuple[str | None, tuple[tuple[str, str], ...]], set[int]] = {}
    for run in runs:
        cell = (run.choices["strategy"], outside_the_strategy(run.config))
        found.setdefault(cell, set()).add(run.config["seed"])
    return found


def is_a_study(name: str, runs: Sequence[Composed]) -> str:
    """More than one run, no two of them the same, and the luck of the labels in the spread over seeds."""
    hold(len(runs) > 1, "an experiment of one run: give its axes under hydra.sweeper.params")
    hold(all(run.choices["experiment"] == name for run in runs), "a run of it does not know that it is of it")
    for run in runs:
        seed, subset = run.config["seed"], run.config["dataset"]["subset_seed"]
        hold(
            subset is None or subset == seed,
            f"dataset.subset_seed={subset} in a run of seed {seed}: the luck of the labels belongs to the spread over "
            "seeds",
        )
    cells = seeds_of(runs)
    hold(len(runs) == sum(map(len, cells.values())), "two runs of the study are the same")
    return f"{len(runs)} runs, {len(cells)} cells"


def has_several_seeds(runs: Sequence[Composed]) -> None:
    """Every cell has more than one seed."""
    for (strategy, _), seeds in seeds_of(runs).items():
        hold(len(seeds) > 1, f"{strategy} has one seed: no spread can be computed")


def has_baselines(runs: Sequence[Composed]) -> None:
    """Every cell has a baseline that is equal to it but for the strategy, with all of its seeds."""
    cells = seeds_of(runs)
    for (strategy, rest), seeds in cells.items():
        hold(cells.get((BASELINE, rest), set()) >= seeds, f"{strategy} has no baseline ({BASELINE}) with its seeds")


def holds_overrides_only(text: str) -> None:
    """The yaml says where it belongs, and chooses parts instead of copying them."""
    hold(
        text.startswith("# @package _global_"),
        "its first line must be `# @package _global_`: its keys are those of a run, not of a part called experiment",
    )
    hold("_target_" not in text, "it describes a part by `_target_`: a part is chosen in an experiment, not copied")
