"""From the command line to configs: Hydra composes, this finds the folders, expands sweeps and words the errors.

No torch here: composing, checking names and naming run folders must be quick.
"""

import inspect
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tlx.errors import UserError, nearest, unknown

_HERE = Path(__file__).resolve().parent
# In a wheel the configs lie inside the package; in a checkout beside it.
CONFIG_DIR = next(p for p in (_HERE / "configs", _HERE.parent / "configs") if (p / "train.yaml").is_file())
# Parts that a user may leave null and that are still choices.
GROUPS = ("model", "strategy", "dataset", "optimizer", "scheduler", "trainer", "logger", "experiment")


@dataclass(frozen=True)
class Composed:
    """One run as composed: `config` is a plain resolved dict, `choices` the chosen name in each group."""

    config: dict[str, Any]
    choices: dict[str, str | None]


class Composer:
    """Composes configs from our folder and, before it, the user's (`--config-dir` or TLX_CONFIG_DIR).

    A user's yaml with the same name as ours replaces it. Use as `with composer(...) as compose:`.
    """

    def __init__(self, hydra: Hydra) -> None:
        self.loader = hydra.config_loader

    def expand(self, overrides: Sequence[str]) -> list[list[str]]:
        """All jobs of a sweep: the overrides of each, from the sweep axes on the command line and in the experiment.

        An axis on the command line replaces the experiment's axis of the same name.
        """
        parser = OverridesParser.create(config_loader=self.loader)
        given = _parse(parser, overrides)
        single = [o.input_line for o in given if not o.is_sweep_override()]
        base = self._load([str(s) for s in single if s])
        axes = OmegaConf.to_container(base.hydra.sweeper.params) if base.hydra.sweeper.get("params") else {}
        named = {o.get_key_element() for o in given}
        extra = [f"{key}={value}" for key, value in (axes or {}).items() if key not in named]
        parsed = _parse(parser, [*extra, *overrides])
        batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        return [list(job) for batch in batches for job in batch]

    def __call__(self, overrides: Sequence[str]) -> Composed:
        """Compose one run and check its values.

        Raises:
            UserError: unknown choice or key (with the nearest match), unresolved value, impossible value.
        """
        loaded = self._load(overrides)
        choices = {k: v for k, v in OmegaConf.to_container(loaded.hydra.runtime.choices).items() if k in GROUPS}  # type: ignore[union-attr]
        config = OmegaConf.masked_copy(loaded, [k for k in loaded if k != "hydra"])
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise UserError(f"{', '.join(missing)} must be given: tlx train {missing[0]}=…")
        try:
            plain = OmegaConf.to_container(config, resolve=True)
        except OmegaConfBaseException as error:
            raise UserError(f"the configuration cannot be resolved: {_first_line(error)}") from error
        assert isinstance(plain, dict)
        check_values(plain)  # type: ignore[arg-type]
        return Composed(plain, choices)  # type: ignore[arg-type]

    def _load(self, overrides: Sequence[str]) -> DictConfig:
        from hydra.types import RunMode

        try:
            return self.loader.load_configuration(
                config_name="train", overrides=list(overrides), run_mode=RunMode.MULTIRUN, from_shell=True
            )
        except MissingConfigException as error:
            raise self._missing(error) from error
        except (ConfigCompositionException, OverrideParseException, HydraException) as error:
            raise self._composition(error, overrides) from error
        except OmegaConfBaseException as error:
            raise UserError(f"the configuration cannot be composed: {_first_line(error)}") from error

    def _missing(self, error: MissingConfigException) -> UserError:
        found = re.search(r"'([^']+)'", str(error))
        path = error.missing_cfg_file or (found.group(1) if found else "?")
        group, _, name = str(path).rpartition("/")
        options = error.options or self.loader.get_group_options(group)
        return unknown(group or "config", name, sorted(options), "See `tlx train --help`.")

    def _composition(self, error: Exception, overrides: Sequence[str]) -> UserError:
        text = str(error)
        key = re.search(r"Could not override '([^']+)'", text)
        if key:
            keys = _keys(self._load([]))
            parent = key.group(1).rpartition(".")[0]
            near = [k for k in keys if k.rpartition(".")[0] == parent]
            match = nearest(key.group(1), keys)
            return unknown("key", key.group(1), near or [match or "see `tlx train --cfg`"])
        cause = error.__cause__ or error
        missing = re.search(r"Could not find '([^']+)'", text)
        if missing:
            group, _, name = missing.group(1).rpartition("/")
            return unknown(group or "config", name, sorted(self.loader.get_group_options(group)))
        return UserError(f"the overrides {' '.join(overrides)} cannot be read: {_first_line(cause)}")


@contextmanager
def composer(config_dir: str | None = None) -> Iterator[Composer]:
    """A Composer over our configs and the user's folder.

    Raises:
        UserError: the user's folder does not exist.
    """
    user = config_dir or os.environ.get("TLX_CONFIG_DIR")
    Plugins.instance()  # registers the readers of pkg:// and file://
    search = ConfigSearchPathImpl()
    search.append("hydra", "pkg://hydra.conf")
    if user:
        if not Path(user).is_dir():
            raise UserError(f"no such folder of configs: {user} (--config-dir or TLX_CONFIG_DIR).")
        search.append("user", f"file://{Path(user).resolve()}")
    search.append("main", f"file://{CONFIG_DIR}")
    search.append("schema", "structured://")
    GlobalHydra.instance().clear()
    try:
        yield Composer(Hydra.create_main_hydra2("tlx", search))
    finally:
        GlobalHydra.instance().clear()


def _parse(parser: OverridesParser, overrides: Sequence[str]) -> list[Any]:
    try:
        return parser.parse_overrides(overrides=list(overrides))
    except HydraException as error:
        raise UserError(f"cannot read the overrides: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _keys(config: Any, prefix: str = "") -> list[str]:
    keys = []
    for key in config:
        if prefix == "" and key == "hydra":
            continue
        keys.append(prefix + str(key))
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            keys += _keys(node, f"{prefix}{key}.")
    return keys


def get(config: dict[str, Any], dotted: str) -> Any:
    """The value at a dotted key of a plain config."""
    for part in dotted.split("."):
        config = config[part]
    return config


# dotted key -> (what is allowed, in words; the test)
_NUMBER = (int, float)
VALUES: dict[str, tuple[str, Any]] = {
    "seed": ("a whole number ≥ 0", lambda v: _whole(v, 0)),
    "force": ("true or false", lambda v: isinstance(v, bool)),
    "selection": ("best or last", lambda v: v in ("best", "last")),
    "cache": ("off, the only mode so far", lambda v: v == "off"),
    "study": ("a folder name", lambda v: v is None or _name(v)),
    "register": ("a name of letters, digits, '.', '_' and '-'", lambda v: v is None or _name(v)),
    "dataset.split_seed": ("a whole number ≥ 0", lambda v: _whole(v, 0)),
    "dataset.subset_seed": ("a whole number ≥ 0, or null", lambda v: v is None or _whole(v, 0)),
    "optimizer.lr": ("a number > 0", lambda v: _number(v) and v > 0),
    "optimizer.weight_decay": ("a number ≥ 0", lambda v: _number(v) and v >= 0),
    "trainer.max_epochs": ("a whole number ≥ 1", lambda v: _whole(v, 1)),
    "trainer.batch_size": ("a whole number ≥ 1", lambda v: _whole(v, 1)),
    "trainer.eval_batch_size": ("a whole number ≥ 1", lambda v: _whole(v, 1)),
    "trainer.accumulate": ("a whole number ≥ 1", lambda v: _whole(v, 1)),
    "trainer.gradient_clip": ("a number > 0, or null", lambda v: v is None or (_number(v) and v > 0)),
    "trainer.precision": ("32-true, bf16-mixed or 16-mixed", lambda v: v in ("32-true", "bf16-mixed", "16-mixed")),
    "trainer.patience": ("a whole number ≥ 1, or null", lambda v: v is None or _whole(v, 1)),
    "trainer.threads": ("a whole number ≥ 1, or null", lambda v: v is None or _whole(v, 1)),
    "trainer.workers": ("a whole number ≥ 0", lambda v: _whole(v, 0)),
    "trainer.head_dropout": ("a number in [0, 1)", lambda v: _number(v) and 0 <= v < 1),
}


def check_values(config: dict[str, Any]) -> None:
    """Check the values that every run has, and that model and data set go together.

    Raises:
        UserError: the key, the value given and what is allowed.
    """
    for key, (allowed, test) in VALUES.items():
        value = get(config, key)
        if not test(value):
            raise UserError(f"{key}={value} is not allowed: give {allowed}.")
    have, want = config["model"]["modality"], config["dataset"]["modality"]
    if have != want:
        raise UserError(f"the model takes {have} and the data set holds {want}: choose a model and a data set of one modality.")


def _number(value: Any) -> bool:
    return isinstance(value, _NUMBER) and not isinstance(value, bool) and value == value


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w][\w.-]*", value) is not None


def instantiate(node: dict[str, Any], key: str, **extra: Any) -> Any:
    """The object that a config node describes: `_target_` called with the node's other keys and `extra`.

    Nested nodes are built first; `_partial_: true` gives a function that waits for the rest of its arguments. `extra`
    arguments that the target does not take are left out.

    Raises:
        UserError: the target does not exist, or does not take one of the keys (with the nearest that it takes).
    """
    import hydra

    _check_targets(node, key)
    from tlx.names import resolve

    taken = inspect.signature(resolve(node["_target_"], f"{key}._target_")).parameters
    fitting = {name: value for name, value in extra.items() if name in taken}
    try:
        return hydra.utils.instantiate(node, **fitting, _convert_="all")
    except hydra.errors.InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, UserError):
                raise cause from error
            cause = cause.__cause__
        raise UserError(f"{key} ({node['_target_']}) cannot be built: {_first_line(error.__cause__ or error)}") from error


def _check_targets(node: Any, key: str) -> None:
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        _check_targets(value, f"{key}.{name}")
    if "_target_" not in node:
        return
    from tlx.names import resolve

    parameters = inspect.signature(resolve(node["_target_"], f"{key}._target_")).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    allowed = [n for n in parameters if n != "self"]
    for name in node:
        if not name.startswith("_") and name not in allowed:
            raise unknown(f"key in {key}", name, allowed)


