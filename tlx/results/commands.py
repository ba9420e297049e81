"""The command that makes a cell's runs again, from their config alone: the choices, and whatever differs from them."""

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tlx.errors import UserError
from tlx.results.baseline import OWN
from tlx.results.cells import Cell, seed_names
from tlx.results.collect import Run
from tlx.results.naming import flatten, lookup, under

if TYPE_CHECKING:
    from tlx.config.composer import Composer

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
    """`words` are the overrides of every run of a cell, without its seed; `problem` says why they may not suffice.

    `folder` is the user's folder of configs that it needs.
    """

    words: list[str]
    problem: str | None = None
    folder: str | None = None

    def line(self, seeds: Sequence[Any]) -> str:
        """The line for a shell; a sweep when there are several seeds."""
        several = ["-m"] if len(seeds) > 1 else []
        folder = ["--config-dir", self.folder] if self.folder else []
        return shlex.join(["tlx", "train", *several, *folder, *self.words, f"seed={','.join(map(str, seeds))}"])


def commands(cells: Sequence[Cell], strategy: str | None = None) -> dict[str, Command]:
    """The command of each cell, by the cell's id.

    The configs of this installation, and of the folder that the runs had, are composed anew for each model × strategy ×
    dataset and compared with what ran, so that the command is right for the configs as they are now.

    Args:
        strategy: of the cells to make instead: equal in everything but the strategy's own settings.
    """
    from tlx.config.composer import composer

    following = seed_names(cells)
    by_folder: dict[str | None, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_folder[cell.example.record.get("config_dir")].append(cell)
    found = {}
    for folder, members in by_folder.items():
        known: dict[tuple, dict[str, Any] | str] = {}
        try:
            with composer(folder) as compose:
                for cell in members:
                    found[cell.id] = _command(cell, strategy, compose, known, following, folder)
        except UserError as error:  # the folder has gone
            for cell in members:
                found[cell.id] = _bare(cell, strategy, str(error), folder)
    return found


def missing_baseline(cells: Sequence[Cell], strategy: str, different: int) -> str:
    """How to make the cell of that strategy which the first of `cells` could be compared with.

    Args:
        different: how many such cells are missing.
    """
    cell = cells[0]
    command = commands([cell], strategy)[cell.id]
    more = f" (and {different - 1} more such cell{'s' * (different > 2)})" if different > 1 else ""
    doubt = f"; {command.problem}" if command.problem else ""
    return f"This makes it: {command.line([run.seed for run in cell.runs])}{more}{doubt}"


def _command(
    cell: Cell,
    strategy: str | None,
    compose: "Composer",
    known: dict[tuple, dict[str, Any] | str],
    following: set[str],
    folder: str | None,
) -> Command:
    run = cell.example
    choices = run.choices | ({"strategy": strategy} if strategy else {})
    chosen = tuple(f"{group}={_value(choices[group])}" for group in GROUPS if choices.get(group))
    if chosen not in known:
        known[chosen] = _composed(compose, chosen, run.config)
    base = known[chosen]
    if isinstance(base, str):
        return _bare(cell, strategy, base, folder)
    own = flatten(run.config)
    same = {name for name in following if own.get(name) == run.seed and name != "seed"}
    left_out = (*LEFT_OUT, *OWN) if strategy else LEFT_OUT
    command = Command([*chosen, *_study(run), *_changes(base, run.config, same, left_out)], folder=folder)
    try:
        compose([*command.words, f"seed={run.seed}"])
    except UserError as error:
        return replace(command, problem=f"the configs of this installation do not take it ({error})")
    return command


def _bare(cell: Cell, strategy: str | None, problem: str, folder: str | None) -> Command:
    """What can be said where the configs of the runs are not there."""
    run = cell.example
    choices = run.choices | ({"strategy": strategy} if strategy else {})
    words = [f"{group}={_value(choices[group])}" for group in GROUPS if choices.get(group)] + _study(run)
    size = choices.get("train_size")
    words += [] if size in (None, "all") else [f"dataset.train_size={_value(size)}"]
    places = ((name, lookup(run.config, name)) for name in ("model.path", "dataset.path"))
    words += [f"{name}={_value(place)}" for name, place in places if isinstance(place, str)]
    why = f"the configs of this installation cannot be composed for it ({problem}), see --config-dir"
    return Command(words, why, folder)


def _study(run: Run) -> list[str]:
    return [f"study={_value(run.study)}"] if run.study != "adhoc" else []


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


def _changes(
    base: dict[str, Any], config: dict[str, Any], seeds: set[str], left_out: tuple[str, ...], prefix: str = ""
) -> Iterator[str]:
    """Overrides that turn `base` into `config`; keys in `seeds` become the seed of the run.

    A key that `config` lacks is taken away where something else stands in its place (another optimiser); else the run
    is of a version that did not have it.
    """
    for key, value in config.items():
        name = f"{prefix}{key}"
        if under(name, left_out):
            continue
        other = base.get(key)
        if key in base and isinstance(value, dict) and isinstance(other, dict):
            yield from _changes(other, value, seeds, left_out, f"{name}.")
        elif name in seeds:
            yield f"{name}=${{seed}}"
        elif key not in base:
            yield f"+{name}={_value(value)}"
        elif value != other:
            yield f"{name}={_value(value)}"
    if base.get("_target_") == config.get("_target_"):
        return
    for key in sorted(base.keys() - config.keys()):
        if not under(f"{prefix}{key}", left_out):
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
