"""From a sweeper's options (`configs/hydra/sweeper/optuna.yaml`) to optuna's sampler, pruner and storage."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.errors import UserError, unknown
from tlx.sweeps.space import Parameter

if TYPE_CHECKING:
    import optuna

OURS = "hydra_plugins.tlx_sweeper.TlxSweeper"
BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
SAMPLERS = {"tpe": "TPESampler", "random": "RandomSampler", "grid": "GridSampler", "gp": "GPSampler"}
PRUNERS = {"median": "MedianPruner", "percentile": "PercentilePruner"}
GIVEN = ("seed", "search_space")  # arguments of samplers that come from elsewhere


@dataclass(frozen=True)
class SearchOptions:
    """The options of a search; the yaml says what each means.

    Raises:
        UserError: a value that is not allowed.
    """

    n_trials: int = 20
    batch: int = 1
    metric: str | None = None
    sampler: str = "tpe"
    sampler_options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    pruner: str | None = "median"
    pruner_options: dict[str, Any] = field(default_factory=dict)
    storage: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("n_trials", 1), ("batch", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UserError(f"hydra.sweeper.{name}={value} must be a whole number ≥ {least}.")
        if self.sampler not in SAMPLERS:
            raise unknown("hydra.sweeper.sampler", self.sampler, SAMPLERS)
        if self.pruner is not None and self.pruner not in PRUNERS:
            raise unknown("hydra.sweeper.pruner", self.pruner, [*PRUNERS, "null"])

    @property
    def startup(self) -> int:
        """How many complete trials the pruner waits for; both kinds take the same option."""
        return int(self.pruner_options.get("n_startup_trials", 5))


def own_sweeper(node: dict[str, Any]) -> SearchOptions | None:
    """The options of our search; None where the config names Hydra's basic sweeper, whose grids we expand ourselves.

    Raises:
        UserError: another sweeper, or an option that ours does not have.
    """
    if node.get("_target_") == BASIC:
        return None
    if node.get("_target_") != OURS:
        raise UserError(
            f"the sweeper {node.get('_target_')} cannot be used: tlx carries out grids (hydra/sweeper=basic, the "
            "default) and searches (hydra/sweeper=optuna)."
        )
    allowed = [f.name for f in fields(SearchOptions)]
    options = {key: value for key, value in node.items() if key not in ("_target_", "params")}
    for key in options:
        if key not in allowed:
            raise unknown("option in hydra.sweeper", key, allowed)
    return SearchOptions(**options)


def need_optuna() -> None:
    """Import optuna, and let it speak only where something is wrong.

    Raises:
        UserError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError("hydra/sweeper=optuna needs optuna: pip install 'tlx[search]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def make_sampler(options: SearchOptions, parameters: Sequence[Parameter], number: int) -> "optuna.samplers.BaseSampler":
    """The sampler of trial `number`, made anew for each.

    Its random numbers follow from the seed and the trial's number alone, so that a search that was killed and taken up
    draws what it would have drawn.

    Raises:
        UserError: an option that the sampler does not take, or a grid of intervals.
    """
    import optuna

    kind: Any = getattr(optuna.samplers, SAMPLERS[options.sampler])
    if options.sampler == "grid":
        # Of optuna's: it would end `Study.optimize`, which is not there when one asks and tells.
        kind = type("Grid", (kind,), {"after_trial": lambda *_: None})
        given: dict[str, Any] = {"search_space": {p.key: p.grid for p in parameters}, "seed": options.seed}
    else:
        digest = hashlib.sha256(f"{options.seed}/{number}".encode()).digest()
        given = {"seed": int.from_bytes(digest[:4], "big")}
    if options.sampler == "tpe":  # trials of one batch keep away from each other
        given["constant_liar"] = True
    return _make(kind, options.sampler_options, "sampler_options", given)


def make_pruner(options: SearchOptions) -> "optuna.pruners.BasePruner":
    """The pruner, or one that never prunes.

    Raises:
        UserError: an option that it does not take.
    """
    import optuna

    if options.pruner is None:
        return optuna.pruners.NopPruner()
    return _make(getattr(optuna.pruners, PRUNERS[options.pruner]), options.pruner_options, "pruner_options", {})


def _make(kind: Any, own: dict[str, Any], key: str, given: dict[str, Any]) -> Any:
    from tlx.config.names import check_arguments

    check_arguments(kind.__init__, own, f"hydra.sweeper.{key}", GIVEN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "experimental", of arguments that their users chose
        try:
            return kind(**given | own)
        except (TypeError, ValueError) as error:
            raise UserError(f"hydra.sweeper.{key}: {error}") from error


def storage_file(options: SearchOptions, default: Path) -> Path | None:
    """The journal of the search; None where a database is named."""
    if options.storage is None:
        return default
    return None if "://" in options.storage else Path(options.storage)


def open_storage(options: SearchOptions, file: Path | None) -> "optuna.storages.BaseStorage":
    """Open the storage; nobody else may have its journal open.

    Raises:
        UserError: the database cannot be opened.
    """
    import optuna
    from optuna.storages import journal

    if file is None:
        try:
            return optuna.storages.get_storage(options.storage)
        except Exception as error:  # of any database's driver
            raise UserError(f"hydra.sweeper.storage={options.storage} cannot be opened: {error}") from error
    _mend(file)
    lock = journal.JournalFileOpenLock(str(file))
    return optuna.storages.JournalStorage(journal.JournalFileBackend(str(file), lock))


def _mend(file: Path) -> None:
    """Undo what a power cut or a kill may have left: half a line at the end, and optuna's lock."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{file}.lock").unlink(missing_ok=True)
    if file.is_file() and not (content := file.read_bytes()).endswith(b"\n"):
        file.write_bytes(content[: content.rfind(b"\n") + 1])
