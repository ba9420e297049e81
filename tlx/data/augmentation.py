"""Augmentation options as a yaml writes them: which keys exist and what values they take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tlx.errors import UserError, unknown


class Kind(Protocol):
    """A kind of value: `wrong` says what is wrong with one, or None."""

    def wrong(self, value: Any) -> str | None: ...


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`, both allowed; `whole` allows integers only."""

    low: float
    high: float
    whole: bool = False

    def wrong(self, value: Any) -> str | None:
        kinds = int if self.whole else (int, float)
        if isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high:
            return None
        return f"{'a whole number' if self.whole else 'a number'} from {self.low:g} to {self.high:g} is needed"


@dataclass(frozen=True)
class Pair:
    """Two numbers [smallest, largest] from `low` to `high`."""

    low: float
    high: float

    def wrong(self, value: Any) -> str | None:
        number = Number(self.low, self.high)
        if isinstance(value, (list, tuple)) and len(value) == 2 and not any(map(number.wrong, value)):
            return None if value[0] <= value[1] else "the first number is larger than the second"
        return f"two numbers [smallest, largest] from {self.low:g} to {self.high:g} are needed"


@dataclass(frozen=True)
class Fields:
    """A dict that has exactly these keys."""

    fields: Mapping[str, Kind]

    def wrong(self, value: Any) -> str | None:
        if not isinstance(value, Mapping) or set(value) != set(self.fields):
            return (
                f"the keys {', '.join(self.fields)} are needed, as in {{{', '.join(f'{k}: …' for k in self.fields)}}}"
            )
        for key, kind in self.fields.items():
            if problem := kind.wrong(value[key]):
                return f"{key}: {problem}"
        return None


@dataclass(frozen=True)
class Word:
    """A text that `problem` judges: it returns what is wrong, or None."""

    problem: Callable[[str], str | None]

    def wrong(self, value: Any) -> str | None:
        return self.problem(value) if isinstance(value, str) else "a word is needed"


def read_options(augmentation: Any, allowed: Mapping[str, Kind]) -> dict[str, Any]:
    """The options that are switched on, as a plain dict; an option that is null is off.

    Raises:
        UserError: not a dict, an unknown key, or a value outside its range.
    """
    if augmentation is None:
        return {}
    if not isinstance(augmentation, Mapping):
        raise UserError(
            f"augmentation is {augmentation!r}, but a dict of options or null is needed. Options: {', '.join(allowed)}."
        )
    for key, value in augmentation.items():
        if key not in allowed:
            raise unknown("augmentation", key, allowed)
        if value is not None and (problem := allowed[key].wrong(_plain(value))):
            raise UserError(f"augmentation.{key}={value} does not work: {problem}.")
    return {str(key): _plain(value) for key, value in augmentation.items() if value is not None}


def _plain(value: Any) -> Any:
    """Lists and dicts of a config as plain Python ones."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
