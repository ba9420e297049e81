"""What a search looks through: Hydra's overrides read as parameters, and drawn values written back as overrides."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from tlx.errors import UserError, unknown
from tlx.results.naming import under

if TYPE_CHECKING:
    import optuna

# What changes no result, or only by luck.
NEVER = (
    "hydra",
    "paths",
    "study",
    "register",
    "force",
    "profile",
    "cache_limit",
    "logger",
    "experiment",
    "keep_checkpoints",
)
LUCK = ("dataset.split_seed", "dataset.subset_seed")


@dataclass(frozen=True)
class Parameter:
    """One searched key: between `low` and `high` (whole numbers where both are int), or one of `values`.

    `values` are numbers in rising order (a range), or words as they stand in an override (a choice).
    """

    key: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    values: tuple[Any, ...] = ()

    def draw(self, trial: "optuna.Trial") -> str:
        """The override with the value that the trial has, or is now given."""
        if self.low is not None and self.high is not None:
            if isinstance(self.low, int) and isinstance(self.high, int):
                return f"{self.key}={trial.suggest_int(self.key, self.low, self.high, log=self.log)}"
            return f"{self.key}={trial.suggest_float(self.key, self.low, self.high, log=self.log)!r}"
        if isinstance(self.values[0], str):
            return f"{self.key}={trial.suggest_categorical(self.key, self.values)}"
        # The place in the range, so that 0.1 + 0.2 is written as 0.3.
        return f"{self.key}={self.values[trial.suggest_int(self.key, 0, len(self.values) - 1)]!r}"

    @property
    def examples(self) -> list[str]:
        """Overrides with the ends of an interval, or with every value."""
        return [f"{self.key}={value}" for value in self.values or (self.low, self.high)]

    @property
    def grid(self) -> list[Any]:
        """All that can be drawn, as optuna stores it.

        Raises:
            UserError: an interval, which has no end of values.
        """
        if not self.values:
            raise UserError(
                f"hydra.sweeper.sampler=grid needs values to choose from, and {self.key} is an interval: write "
                f"{self.key}=choice(…) or range(…), or say hydra.sweeper.sampler=random."
            )
        return list(self.values) if isinstance(self.values[0], str) else list(range(len(self.values)))


@dataclass(frozen=True)
class Space:
    """A search as its overrides say it: those of every run, the seeds of every trial, and what is searched.

    Each of `seeds` is the override of one run; [] where the command line leaves the seed to the config.
    """

    fixed: list[str]
    seeds: list[list[str]]
    parameters: list[Parameter]

    def examples(self) -> Iterator[list[str]]:
        """Overrides of trials that show every value once, beginning with all first ones."""
        first = [p.examples[0] for p in self.parameters]
        yield first
        for place, parameter in enumerate(self.parameters):
            for other in parameter.examples[1:]:
                yield [*first[:place], other, *first[place + 1 :]]
        yield [p.examples[-1] for p in self.parameters]


def read_space(overrides: Sequence[Override], options_of: Callable[[str], list[str]]) -> Space:
    """Read parsed overrides as a search; of two for one key the later counts.

    `options_of` gives the configs of a group, [] for a key that is no group.

    Raises:
        UserError: nothing to search, a key that must not be searched, a space that is empty or means nothing, or a
            choice that does not exist.
    """
    fixed, seeds, parameters = [], [[]], []  # type: ignore[var-annotated]
    for key, override in {o.get_key_element(): o for o in overrides}.items():
        line = str(override.input_line)
        if key == "seed":
            seeds = _seeds(override, line)
        elif override.is_sweep_override():
            parameters.append(_parameter(key, override, line, options_of(override.key_or_group)))
        else:
            fixed.append(line)
    if not parameters:
        raise UserError(
            "there is nothing to search: give a key a space, as in 'optimizer.lr=tag(log,interval(1e-4,1e-1))', "
            "choice(a,b) or range(1,5)."
        )
    return Space(fixed, seeds, parameters)


def _seeds(override: Override, line: str) -> list[list[str]]:
    if not override.is_sweep_override():
        return [[line]]
    if override.is_interval_sweep():
        raise UserError(f"{line}: a seed is not searched, every trial is run with all of them: name them, seed=0,1,2.")
    return [[f"seed={value}"] for value in dict.fromkeys(override.sweep_string_iterator())]


def _parameter(key: str, override: Override, line: str, options: list[str]) -> Parameter:
    name, sweep = override.key_or_group, override.value()
    if under(name, NEVER):
        raise UserError(f"{line}: {name} changes no result, so it cannot be searched: name one value.")
    if name in LUCK:
        raise UserError(f"{line}: {name} is luck, not a setting: the best of several would not come again. Name one.")
    if getattr(sweep, "shuffle", False):
        raise UserError(f"{line}: the sampler decides the order of a search: leave shuffle(…) out.")
    if isinstance(sweep, IntervalSweep):
        return _interval(key, sweep, line)
    # Hydra's choice(…) does not take null; a list with it can only be meant so.
    if isinstance(sweep, ChoiceSweep) and sweep.simple_form and None not in sweep.list:
        raise UserError(
            f"{line}: a plain list is run, not searched, and a search runs only seeds: write "
            f"'{key}=choice({override.get_value_string()})' to search it, or name one value."
        )
    if tags := getattr(sweep, "tags", None):
        raise UserError(f"{line}: tag({', '.join(sorted(tags))}) is for interval(…).")
    if isinstance(sweep, RangeSweep):
        values: tuple[Any, ...] = _range(sweep)
    else:
        values = tuple(dict.fromkeys(override.sweep_string_iterator()))
        for value in values if options else ():
            if value not in options:
                raise unknown(name, value, sorted(options))
    if not values:
        raise UserError(f"{line} holds no value.")
    return Parameter(key, values=values)


def _range(sweep: RangeSweep) -> tuple[float, ...]:
    """The values in rising order. Of decimals as they are written: Hydra's 0.1, 0.2, … end in 0.30000000000000004."""
    start, stop, step = (Decimal(str(number)) for number in (sweep.start, sweep.stop, sweep.step))
    if step == 0:
        return ()
    kind = int if isinstance(sweep.range(), range) else float
    return tuple(sorted(kind(start + step * place) for place in range(math.ceil((stop - start) / step))))


def _interval(key: str, sweep: IntervalSweep, line: str) -> Parameter:
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    assert low is not None and high is not None
    if not low < high:
        raise UserError(f"{line} is empty: interval(LOW,HIGH) with LOW < HIGH.")
    if other := sweep.tags - {"log"}:
        raise unknown("tag", ", ".join(sorted(other)), ["log"])
    if log and low <= 0:
        raise UserError(f"{line}: a log scale begins above 0.")
    return Parameter(key, low, high, log)
