"""What to say of a choice or key that does not exist: the nearest one, or where it lies."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tlx.errors import UserError, nearest, one_line, unknown
from tlx.private import ConfigLoaderImpl, has_content, node_of

# Parts that a user may leave null and that are still choices.
GROUPS = ("model", "strategy", "dataset", "optimizer", "scheduler", "trainer", "logger", "experiment")


class Composing(Protocol):
    """What is asked of a `tlx.config.composer.Composer`."""

    loader: ConfigLoaderImpl
    folder: Path | None

    def read(self, overrides: Sequence[str]) -> list[Override]: ...


def missing(composer: Composing, error: MissingConfigException) -> UserError:
    found = re.search(r"'([^']+)'", str(error))
    path = error.missing_cfg_file or (found.group(1) if found else "?")
    group, _, name = str(path).rpartition("/")
    options = error.options or composer.loader.get_group_options(group)
    todo = "See `tlx train --help`."
    for file in sorted(composer.folder.rglob(f"{name}.yaml")) if composer.folder else ():
        here = file.relative_to(composer.folder).parent.as_posix()  # type: ignore[arg-type]
        todo = f"{file} lies in the group '{here}': move it to {group}/, or say {here}={name}."
    return unknown(group or "config", name, sorted(options), todo)


def not_composed(composer: Composing, error: Exception, overrides: Sequence[str]) -> UserError:
    text = str(error)
    if key := re.search(r"Could not override '([^']+)'", text):
        given = key.group(1)
        nearby = _nearby(composer, overrides)
        keys = _keys(nearby)
        if given.startswith("hydra."):  # of all that Hydra has, what stands beside it
            parent = given.rpartition(".")[0]
            keys = _keys(OmegaConf.select(nearby, parent) or {}, f"{parent}.")
        if given in keys:  # its value is a dict that holds a key which is not there
            new = getattr(error.__cause__, "full_key", None) or f"{given}.KEY"
            return UserError(f"unknown key '{new}'. Where it is meant to be new, add it with a plus: +{new}=VALUE.")
        if meant := _meant(composer, given, keys, overrides):
            return UserError(f"unknown key '{given}'. {meant}")
        parent = given.rpartition(".")[0]
        near = [k for k in keys if k.rpartition(".")[0] == parent]
        return unknown("key", given, near or [nearest(given, keys) or "see `tlx train --cfg`"])
    if missing := re.search(r"Could not find '([^']+)'", text):
        group, _, name = missing.group(1).rpartition("/")
        return unknown(group or "config", name, sorted(composer.loader.get_group_options(group)))
    return UserError(f"the configuration cannot be composed: {one_line(error.__cause__ or error)}")


def _meant(composer: Composing, given: str, keys: Sequence[str], overrides: Sequence[str]) -> str | None:
    """Where an unknown key is a known one elsewhere, or the choice of a group: what to write instead."""
    group, _, name = given.rpartition(".")
    options = composer.loader.get_group_options(group) if group in GROUPS else []
    values = [o.value() for o in composer.read(overrides) if o.key_or_group == given and not o.is_sweep_override()]
    if options and values and str(values[0]) in options:
        return f"Choose it as {group}={values[0]}."
    # A key that another yaml of the group has: momentum is SGD's.
    having = [o for o in options if name in _stated(composer.loader, group, o)]
    if having:
        return f"It belongs to {' and '.join(f'{group}={o}' for o in having[:3])}, which you may choose."
    # The key alone, or the better part of it, without what it stands in; of nested keys the shallowest.
    same = sorted((k for k in keys if k.rpartition(".")[2] == name and k != given), key=lambda k: k.count("."))
    if not same:
        same = [k for k in keys if k.rpartition(".")[2].endswith(f"_{name}")]
    if not group and same:
        return f"Did you mean '{same[0]}'?" if len(same) == 1 else f"Did you mean one of {', '.join(same[:4])}?"
    return None


def _nearby(composer: Composing, overrides: Sequence[str]) -> DictConfig:
    """The config of the choices among `overrides`, to name its keys; where these fail themselves, of none."""
    choices = [str(o.input_line) for o in composer.read(overrides) if o.key_or_group in GROUPS]
    for kept in (choices, []):
        try:
            return composer.loader.load_configuration("train", kept, RunMode.MULTIRUN, from_shell=True)
        except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, AssertionError, RecursionError):
            continue
    return OmegaConf.create()


def _stated(loader: Any, group: str, name: str) -> list[str]:
    """The keys that a yaml of a group states itself."""
    source = loader.repository.load_config(f"{group}/{name}")
    node = source.config if source is not None else None
    return [str(key) for key in node] if isinstance(node, DictConfig) else []


def _keys(config: Any, prefix: str = "") -> list[str]:
    keys = []
    for key in config:
        if (prefix == "" and key == "hydra") or str(key).startswith("_"):
            continue
        keys.append(prefix + str(key))
        node = node_of(config, key)
        if isinstance(node, DictConfig) and has_content(node):
            keys += _keys(node, f"{prefix}{key}.")
        elif isinstance(node, ListConfig) and has_content(node):
            parts = [(place, node_of(node, place)) for place in range(len(node))]
            keys += [
                k
                for place, part in parts
                if isinstance(part, DictConfig)
                for k in _keys(part, f"{prefix}{key}.{place}.")
            ]
    return keys
