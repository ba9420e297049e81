"""The command that makes a cell's runs again, from their config alone: the choices, and whatever differs from them."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlx.errors import UserError
from tlx.results.cells import Cell, seed_names
from tlx.results.naming import flatten, under

if TYPE_CHECKING:
    from tlx.config import Composer

GROUPS = ("model", "strategy", "dataset")
# Where things lie, how they are shown and kept, and the sources that other keys have been filled from.
LEFT_OUT: tuple[str, ...] = (
    "seed",
    "run",
    "study",
    "experiment",
    "paths",
    "logger",
    "force",
    "profile",
    "register",
    "skip_if",
    "keep_checkpoints",
    "cache_limit",
    "model.lr",
    "model.pretrain",
    "strategy.lr",
    "trainer.checkpoint_seconds",
    "trainer.workers",
)


@dataclass(frozen=True)
class Command:
    """`words` are the overrides of every run of a cell, without its seed; `problem` says why they may not suffice."""

    words: list[str]
    problem: str | None = None

    def line(self, seeds: Sequence[Any]) -> str:
        """The line for a shell; a sweep when there are several seeds."""
        several = ["-m"] if len(seeds) > 1 else []
        return shlex.join(["tlx", "train", *several, *self.words, f"seed={','.join(map(str, seeds))}"])


def commands(cells: Sequence[Cell]) -> dict[str, Command]:
    """The command of each cell, by the cell's id.

    The configs of this installation are composed anew for each model × strategy × dataset and compared with what ran,
    so that the command is right for the configs as they are now.
    """
    from tlx.config import composer

    following = seed_names(cells)
    known: dict[tuple, dict[str, Any] | str] = {}
    found = {}
    with composer() as compose:
        for cell in cells:
            run = cell.example
            chosen = tuple(f"{group}={_value(run.choices[group])}" for group in GROUPS if run.choices.get(group))
            if chosen not in known:
                known[chosen] = _composed(compose, chosen, run.config)
            base = known[chosen]
            words = [f"study={_value(run.study)}"] if run.study != "adhoc" else []
            if isinstance(base, str):
                size = run.choices.get("train_size")
                words += [] if size in (None, "all") else [f"dataset.train_size={_value(size)}"]
                problem = f"the configs of this installation cannot be composed for it ({base}), see --config-dir"
                found[cell.id] = Command([*chosen, *words], problem)
                continue
            own = flatten(run.config)
            same = {name for name in following if own.get(name) == run.seed and name != "seed"}
            changes = [*_changes(base, run.config, same)]
            found[cell.id] = Command([*chosen, *words, *changes])
    return found


def _composed(compose: "Composer", chosen: Sequence[str], config: dict[str, Any]) -> dict[str, Any] | str:
    """The config of the choices alone, or why there is none. A path that must be given for it counts as not given."""
    flat = flatten(config)
    places = [name for name in ("model.path", "dataset.path") if isinstance(flat.get(name), str)]
    try:
        return compose(chosen).config
    except UserError as error:
        problem = str(error)
    if not places:
        return problem
    try:
        made = compose([*chosen, *(f"{name}={_value(flat[name])}" for name in places)]).config
    except UserError:
        return problem
    for name in places:  # they had to be given, so they are to be given in the command
        group, key = name.split(".")
        made[group][key] = None
    return made


def _changes(base: dict[str, Any], config: dict[str, Any], seeds: set[str], prefix: str = "") -> Iterator[str]:
    """Overrides that turn `base` into `config`; keys in `seeds` become the seed of the run."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if under(name, LEFT_OUT):
            continue
        other = base.get(key)
        if key in base and isinstance(value, dict) and isinstance(other, dict):
            yield from _changes(other, value, seeds, f"{name}.")
        elif name in seeds:
            yield f"{name}=${{seed}}"
        elif key not in base:
            yield f"+{name}={_value(value)}"
        elif value != other:
            yield f"{name}={_value(value)}"
    for key in sorted(base.keys() - config.keys()):
        if not under(f"{prefix}{key}", LEFT_OUT):
            yield f"~{prefix}{key}"


def _value(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ",".join(f"{_value(str(k))}:{_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_value, value)) + "]"
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z_./][\w./:@+-]*|\d+_[A-Za-z]\w*", value)
        if plain and value.lower() not in ("null", "true", "false", "nan", "inf"):
            return value
        # Within Hydra's quotes only a quote, and the backslashes before one, need a backslash.
        return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value) + "'"
    return repr(value)
