"""From the command line to configs: Hydra composes, this finds the folders, expands sweeps and words the errors.

No torch here: composing, checking names and naming run folders must be quick.
"""

import functools
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.core.plugins import Plugins
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException, MissingConfigException
from hydra.types import HydraContext, RunMode
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from packaging.version import Version

from tlx.config.limits import check_size, too_deep
from tlx.config.messages import GROUPS, missing, not_composed
from tlx.config.names import hold_targets
from tlx.config.place import CONFIG_DIR
from tlx.config.shapes import Shape, split
from tlx.config.sources import LimitedSource, RememberedSource, forget
from tlx.config.values import check_values
from tlx.errors import RunFailed, UserError, one_line
from tlx.private import BasicSweeper, Callbacks, ConfigLoaderImpl, ConfigSearchPathImpl, Hydra, SourcesRegistry
from tlx.record.collection import collection_put_off


@dataclass(frozen=True)
class Composed:
    """One run as composed: `config` is a plain resolved dict, `choices` the chosen name in each group.

    `overrides` are the words that it was composed from, `folder` the user's folder of configs.
    """

    config: dict[str, Any]
    choices: dict[str, str | None]
    overrides: tuple[str, ...] = ()
    folder: str | None = None


class Composer:
    """Composes configs from our folder and, before it, the user's (`--config-dir` or TLX_CONFIG_DIR).

    A user's yaml with the same name as ours replaces it. Use as `with composer(...) as compose:`.
    """

    def __init__(self, hydra: Hydra, folder: Path | None = None) -> None:
        """`folder` is the user's, if there is one: what is composed with it may come to no more than a limit."""
        assert isinstance(hydra.config_loader, ConfigLoaderImpl)
        self.loader, self.folder = hydra.config_loader, folder
        self.parser = OverridesParser.create(config_loader=self.loader)

    def expand(self, overrides: Sequence[str]) -> list[list[str]]:
        """All jobs of a sweep: the overrides of each, from the sweep axes on the command line and in the experiment.

        An axis on the command line replaces the experiment's axis of the same name.

        Raises:
            UserError: an override that cannot be read, a sweep that names no run, or several experiments.
        """
        parsed = self.read_sweep(overrides)
        try:
            jobs = [list(job) for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]
        except HydraException as error:
            raise UserError(
                f"this sweep cannot be made: {one_line(error)}. Name the values (a,b,c or range(…)), or search them: "
                "-m hydra/sweeper=optuna."
            ) from error
        if not jobs:
            raise UserError(
                f"the sweep {' '.join(str(o.input_line) for o in parsed if o.is_sweep_override())} names no run."
            )
        return jobs

    def read_sweep(self, overrides: Sequence[str]) -> list[Override]:
        """The overrides of a sweep, read: first the experiment's axes that the command line leaves alone, then its own.

        Raises:
            UserError: an override that cannot be read or composed, or several experiments.
        """
        given = self.read(overrides)
        if any(o.key_or_group == "experiment" and o.is_sweep_override() for o in given):
            raise UserError("one experiment at a time: each has sweep axes of its own.")
        base = self._load([str(o.input_line) for o in given if not o.is_sweep_override()])
        axes: Any = OmegaConf.to_container(base.hydra.sweeper.params) if base.hydra.sweeper.get("params") else {}
        named = {o.get_key_element() for o in given}
        extra = [f"{key}={value}" for key, value in axes.items() if key not in named]
        return [*self.read(extra), *given]

    @collection_put_off()
    def all(self, jobs: Sequence[Sequence[str]]) -> list[Composed]:
        """Compose many runs, as one by one but faster: what they share is composed once (`tlx.config.shapes`).

        Raises:
            UserError: as for the first of them that is wrong.
        """
        shapes: dict[tuple[str, ...], Shape] = {}
        words = functools.cache(lambda line: self.read([line]))  # none, where a word chooses what is chosen anyway
        is_group = functools.cache(self.loader.repository.group_exists)
        return [self._one_of(job, [o for line in job for o in words(line)], shapes, is_group) for job in jobs]

    def _one_of(
        self,
        job: Sequence[str],
        given: Sequence[Override],
        shapes: dict[tuple[str, ...], Shape],
        is_group: Callable[[str], bool],
    ) -> Composed:
        if any(override.is_sweep_override() for override in given):
            return self(job)  # which says what is wrong
        name, values = split(given, is_group)
        if name not in shapes:
            composed, loaded = self._compose(job)
            shapes[name] = Shape(loaded, composed.config, composed.choices, {o.key_or_group for o in values})
            gc.collect(0)  # what Hydra left of it: some hundred kilobytes of nodes that know each other
            return composed
        try:
            plain = shapes[name].plain(values)
        except (HydraException, OmegaConfBaseException, ValueError, AssertionError, RecursionError):
            return self(job)  # which has the words for it
        check_values(plain)
        return Composed(plain, shapes[name].choices, tuple(job), None if self.folder is None else str(self.folder))

    def __call__(self, overrides: Sequence[str]) -> Composed:
        """Compose one run and check its values.

        Raises:
            UserError: several values for one key, unknown choice or key (with the nearest match), unresolved value,
                impossible value.
        """
        return self._compose(overrides)[0]

    def _compose(self, overrides: Sequence[str]) -> tuple[Composed, DictConfig]:
        given = self.read(overrides)
        for override in given:
            if override.is_sweep_override():
                raise UserError(f"{override.input_line} names several runs where one is needed: choose one value.")
        loaded = self._load([str(o.input_line) for o in given])
        chosen: Any = OmegaConf.to_container(loaded.hydra.runtime.choices)
        choices = {k: v for k, v in chosen.items() if k in GROUPS}
        config = OmegaConf.masked_copy(loaded, [str(k) for k in loaded if k != "hydra"])
        try:
            absent = sorted(OmegaConf.missing_keys(config))
            if absent:
                raise UserError(f"{', '.join(absent)} must be given: tlx train {absent[0]}=…")
            plain = OmegaConf.to_container(config, resolve=True)
        except OmegaConfBaseException as error:
            raise UserError(f"the configuration cannot be resolved: {one_line(error)}") from error
        except RecursionError as error:
            raise too_deep(error) from error
        assert isinstance(plain, dict)
        check_values(plain)  # type: ignore[arg-type]
        folder = None if self.folder is None else str(self.folder)
        return Composed(plain, choices, tuple(overrides), folder), loaded  # type: ignore[arg-type]

    def unresolved(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The config of one run as the yamls and overrides have it: interpolations stand as they are written.

        Raises:
            UserError: an override that cannot be read or composed.
        """
        loaded = self._load([str(o.input_line) for o in self.read(overrides)])
        plain: Any = OmegaConf.to_container(OmegaConf.masked_copy(loaded, [str(k) for k in loaded if k != "hydra"]))
        return plain

    def launcher(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The node `hydra.launcher` of a sweep: which launcher, and its options.

        Raises:
            UserError: an override that cannot be read or composed.
        """
        return self._hydra_node("launcher", overrides)

    def sweeper(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The node `hydra.sweeper` of a sweep: which sweeper, and its options.

        Raises:
            UserError: an override that cannot be read or composed.
        """
        return self._hydra_node("sweeper", overrides)

    def _hydra_node(self, name: str, overrides: Sequence[str]) -> dict[str, Any]:
        fixed = [str(o.input_line) for o in self.read(overrides) if not o.is_sweep_override()]
        node: Any = OmegaConf.to_container(self._load(fixed).hydra[name], resolve=True)
        return node

    def launch(self, overrides: Sequence[str], jobs: Sequence[Sequence[str]], task: Callable[[Any], Any]) -> None:
        """Let the launcher of Hydra's own that `overrides` name call `task` once for each of `jobs`.

        What `task` raises is left to whoever looks at the job's record.

        Raises:
            RunFailed: the launcher itself gave up.
        """
        fixed = [str(o.input_line) for o in self.read(overrides) if not o.is_sweep_override()]
        base = self._load(fixed)
        hold_targets(
            OmegaConf.to_container(base.hydra.launcher, resolve=True), "hydra.launcher", skip=True
        )  # Hydra's own check
        hold_targets(OmegaConf.to_container(base.hydra.callbacks, resolve=True), "hydra.callbacks")
        JobRuntime.instance().set("name", "tlx")
        context = HydraContext(config_loader=self.loader, callbacks=Callbacks(base))
        launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=base)
        try:
            launcher.launch(jobs, initial_job_idx=0)
        except Exception as error:
            name = type(launcher).__name__
            raise RunFailed(f"Hydra's {name} gave up: {type(error).__name__}: {one_line(error)}.") from error

    def read(self, overrides: Sequence[str]) -> list[Override]:
        """Parse overrides one by one, so that a message can name the one that is wrong.

        Raises:
            UserError: one that cannot be read, or chooses nothing.
        """
        read: list[Override] = []
        for line in overrides:
            try:
                override = self.parser.parse_overrides([line])[0]
            except HydraException as error:
                hint = "overrides are key=value; values that hold = or , stand in quotes: 'key=\"a=b\"'"
                hint = "see `tlx train --help` for the options" if line.startswith("-") else hint
                raise UserError(f"cannot read '{line}': {hint}.") from error
            if not override.key_or_group:
                raise UserError(f"cannot read '{line}': the key is missing.")
            group = override.key_or_group
            if override.value_type is ValueType.GLOB_CHOICE_SWEEP and not self.loader.get_group_options(group):
                raise UserError(
                    f"{line}: glob(…) chooses from a group of configs ({', '.join(GROUPS)}); name the values."
                )
            if group in GROUPS and override.value() is None:
                if group == "experiment":
                    continue  # none is the default
                options = self.loader.get_group_options(group)
                raise UserError(f"{line}: a choice is needed. Allowed: {', '.join(sorted(options))}.")
            read.append(override)
        return read

    def _load(self, overrides: Sequence[str]) -> DictConfig:
        try:
            loaded = self.loader.load_configuration("train", list(overrides), RunMode.MULTIRUN, from_shell=True)
            if self.folder is not None:
                check_size(OmegaConf.to_container(loaded, resolve=False))
            return loaded
        except MissingConfigException as error:
            raise missing(self, error) from error
        except HydraException as error:
            raise not_composed(self, error, overrides) from error
        except RecursionError as error:
            raise too_deep(error) from error
        # OmegaConf raises ValueError for a key within a list, Hydra an AssertionError for a value within null.
        except (OmegaConfBaseException, yaml.YAMLError, ValueError, AssertionError) as error:
            raise UserError(f"the configuration cannot be composed: {one_line(error)}") from error


@contextmanager
def composer(config_dir: str | None = None) -> Iterator[Composer]:
    """A Composer over our configs and the user's folder.

    Raises:
        UserError: the user's folder does not exist.
    """
    user = config_dir or os.environ.get("TLX_CONFIG_DIR")
    forget()
    Plugins.instance()  # registers the readers of pkg:// and structured://
    for source in (RememberedSource, LimitedSource):
        SourcesRegistry.instance().register(source)
    search = ConfigSearchPathImpl()
    search.append("hydra", "pkg://hydra.conf")
    if user:
        if not Path(user).is_dir():
            raise UserError(f"no such folder of configs: {user} (--config-dir or TLX_CONFIG_DIR).")
        search.append("user", f"{LimitedSource.scheme()}://{Path(user).resolve()}")
    search.append("main", f"{RememberedSource.scheme()}://{CONFIG_DIR}")
    search.append("schema", "structured://")
    # Hydra keeps one of itself per process; ours is held here alone, so that a caller's own Hydra can stand beside it.
    state = GlobalHydra.instance()
    kept, state.hydra = state.hydra, None
    try:
        made = Hydra.create_main_hydra2("tlx", search)
    finally:
        state.hydra = kept
    with _ours_alone(), _hydra_as_of_today():
        yield Composer(made, Path(user) if user else None)


@contextmanager
def _hydra_as_of_today() -> Iterator[None]:
    """Hydra composes by the rules of 1.3, whatever version_base a caller's own Hydra has set for the process.

    Unset, it would be 1.1, whose defaults lists take `hydra/…` for an override where later ones do not.
    """
    kept = VersionBase.instance().getbase()
    VersionBase.instance().setbase(Version("1.3"))
    try:
        yield
    finally:
        VersionBase.instance().version_base = kept  # as it was, unset too


@contextmanager
def _ours_alone() -> Iterator[None]:
    """Configs of Hydra's plugins with the name of one of ours are away: Hydra would take them for the schema of ours.

    hydra-optuna-sweeper, where it is installed, has a hydra/sweeper=optuna that knows nothing of our keys.
    """
    repo, away = ConfigStore.instance().repo.get("hydra", {}), []
    for file in sorted((CONFIG_DIR / "hydra").glob("*/*.yaml")):
        if (node := repo.get(file.parent.name, {}).pop(file.name, None)) is not None:
            away.append((repo[file.parent.name], file.name, node))
    try:
        yield
    finally:
        for group, name, node in away:
            group[name] = node
