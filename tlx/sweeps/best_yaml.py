"""`best.yaml`: what a search found, as an experiment that others can run."""

from collections.abc import Sequence
from typing import Any

import yaml
from omegaconf import OmegaConf

from tlx.config.composer import Composer
from tlx.identity import WITHOUT_EFFECT
from tlx.record.atomic import atomic
from tlx.results.naming import comparable, flatten, under
from tlx.sweeps.found import Found

# Where things lie and how they are shown is not what was found; what a model or a data set is made of is.
LEFT_OUT = tuple(key for key in WITHOUT_EFFECT if not key.startswith(("model.", "dataset.", "strategy.")))


def write_best(found: Found, compose: Composer, fixed: Sequence[str]) -> None:
    """Write the best trial's choices, and what else its cell is made of, to best.yaml in the study's folder."""
    assert found.best is not None
    content, lost = experiment(compose, [*fixed, *found.best.user_attrs["overrides"]])
    seeds = ", ".join(map(str, found.seeds))
    lines = [
        "@package _global_",
        f"Found by {found.name}: trial {found.best.number + 1}, the best of {found.counts}, by {found.metric}:",
        f"{found.score}.",
        "This score chose the values below, so it flatters them and is no result: run the final table with seeds other",
        f"than {seeds}. To use: copy this file to DIR/experiment/NAME.yaml, then",
        "tlx train -m --config-dir DIR experiment=NAME seed=…",
        *(f"Not in here, as a yaml cannot take a key away: ~{key}" for key in lost),
    ]
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    with atomic(found.folder / "best.yaml") as file:
        file.write(("".join(f"# {line}\n" for line in lines) + body).encode())


def experiment(compose: Composer, overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The content of an experiment's yaml that stands for these overrides of one run, and the keys they took away.

    It names all choices and whatever differs from what they alone give, so that it needs no other experiment and no
    change of defaults reaches it.
    """
    chosen = {g: name for g, name in compose(overrides).choices.items() if g not in ("logger", "experiment")}
    bare = flatten(compose.unresolved([f"{group}={name}" for group, name in chosen.items()]), parts=False)
    full = flatten(compose.unresolved(overrides), parts=False)
    tree = OmegaConf.create()
    for key, value in full.items():
        if not under(key, LEFT_OUT) and (key not in bare or comparable(bare[key]) != comparable(value)):
            OmegaConf.update(tree, key, value, force_add=True)
    values: Any = OmegaConf.to_container(tree)
    lost = [key for key in bare if not under(key, tuple(full)) and not any(under(other, (key,)) for other in full)]
    defaults = [{f"override /{group}": name} for group, name in chosen.items()]
    return {"defaults": [*defaults, "_self_"], **values}, lost
