"""`best.yaml`: what a search found, as an experiment that others can run."""

from collections.abc import Sequence
from typing import Any

import yaml
from omegaconf import OmegaConf

from tlx.atomic import atomic
from tlx.config import GROUPS, Composer
from tlx.identity import WITHOUT_EFFECT
from tlx.results.naming import under
from tlx.sweeps.found import Found

# Where things lie and how they are shown is not what was found; what a model or a data set is made of is.
LEFT_OUT = tuple(key for key in WITHOUT_EFFECT if not key.startswith(("model.", "dataset.", "strategy.")))
NOT_NAMED = ("logger", "experiment")


def write_best(found: Found, compose: Composer, fixed: Sequence[str]) -> None:
    """Write the best trial's choices, and what the command line fixed, to best.yaml in the study's folder."""
    assert found.best is not None
    overrides = [*fixed, *found.best.user_attrs["overrides"]]
    seeds = ", ".join(map(str, found.seeds))
    lines = [
        "@package _global_",
        f"Found by {found.name}: trial {found.best.number + 1}, the best of {found.counts}, by {found.metric}:",
        f"{found.score}.",
        "This score chose the values below, so it flatters them and is no result: run the final table with seeds other",
        f"than {seeds}. To use: copy this file to DIR/experiment/NAME.yaml, then",
        "tlx train -m --config-dir DIR experiment=NAME seed=…",
        *(f"Lost, as no yaml can say it: {line}" for line in overrides if line.startswith("~")),
    ]
    body = yaml.safe_dump(experiment(compose, overrides), sort_keys=False, allow_unicode=True)
    with atomic(found.folder / "best.yaml") as file:
        file.write(("".join(f"# {line}\n" for line in lines) + body).encode())


def experiment(compose: Composer, overrides: Sequence[str]) -> dict[str, Any]:
    """The content of an experiment's yaml that stands for these overrides of one run.

    All choices of groups are named, so that other defaults do not change it. An experiment among the overrides is what
    it is based on; its axes, and its own search, are left out.
    """
    choices = compose(overrides).choices
    base = choices["experiment"]
    defaults: list[Any] = [base, {"override /hydra/sweeper": "basic"}] if base else []
    defaults += [{f"override /{group}": name} for group, name in choices.items() if group not in NOT_NAMED]
    tree = OmegaConf.create()
    for override in compose.read(overrides):
        key, value = override.key_or_group, override.value()
        is_choice = key in GROUPS and not isinstance(value, dict)
        if not (override.is_delete() or override.is_hydra_override() or is_choice or under(key, LEFT_OUT)):
            OmegaConf.update(tree, key, value, force_add=True)
    values: Any = OmegaConf.to_container(tree)
    axes = {"hydra": {"sweeper": {"params": None}}} if base else {}
    return {"defaults": [*defaults, "_self_"], **values, **axes}
