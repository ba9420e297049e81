"""Dotted names for nested settings, an order for them that people expect, and how values are written."""

import json
import re
from collections.abc import Hashable, Iterator
from functools import lru_cache
from typing import Any

NONE = "–"


def flatten(nested: dict[str, Any], prefix: str = "", parts: bool = True) -> dict[str, Any]:
    """{"optimizer": {"lr": 0.1}} → {"optimizer.lr": 0.1}. Lists of plain values, and what is empty, are values.

    A part that stands in a list (`strategy.objectives`) is named by its place: "strategy.objectives.0.alpha", as
    overrides have it. With `parts=False` such a list is a value, too.
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        inner = _inner(value) if parts or isinstance(value, dict) else None
        if inner:
            flat |= flatten(inner, name, parts)
        else:
            flat[name] = value
    return flat


def _inner(value: Any) -> dict[str, Any] | None:
    """What a setting consists of, by name; None where it is a value."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return {str(place): item for place, item in enumerate(value)}
    return value if isinstance(value, dict) else None


def lookup(nested: dict[str, Any], name: str) -> Any:
    """The value of a dotted name; None when there is none."""
    value: Any = nested
    for part in name.split("."):
        value = (_inner(value) or {}).get(part)
    return value


def differing(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names whose values differ between two nested settings, as `flatten` would name them.

    An absent name differs from no None. Branches that are equal are not walked through.
    """
    for key in one.keys() | other.keys():
        mine, theirs = one.get(key), other.get(key)
        if mine == theirs:
            continue
        name = f"{prefix}.{key}" if prefix else str(key)
        inner = _inner(mine), _inner(theirs)
        if inner[0] and inner[1]:
            yield from differing(inner[0], inner[1], name)
            continue
        for branch in inner:
            yield from flatten(branch, name) if branch else [name]


@lru_cache(maxsize=100_000)  # a large table asks the same some hundred thousand times
def under(name: str, roots: tuple[str, ...]) -> bool:
    """Is the dotted `name` one of `roots` or below one of them?"""
    return any(name == root or name.startswith(root + ".") for root in roots)


def comparable(value: Any) -> Hashable:
    """A hashable stand-in: equal values give equal stand-ins, 1 equals 1.0, and True differs from 1."""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, sort_keys=True)
    return value


def natural(value: Any) -> tuple:
    """A sort key: numbers by size, words with numbers inside by the numbers (2_per_class < 10_per_class), None last."""
    if value is None:
        return (2,)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (0, "", value)
    return _natural_text(str(value))


@lru_cache(maxsize=100_000)
def _natural_text(text: str) -> tuple:
    if re.fullmatch(r"\d+(\.\d+)?(e[+-]?\d+)?", text):
        return (0, "", float(text))
    if leading := re.fullmatch(r"(\d+)(\D.*)", text):  # by kind first: all "… per class" stand together
        return (1, ((leading[2], int(leading[1])),))
    parts = re.split(r"(\d+)", text)
    return (1, tuple((word, int(number or -1)) for word, number in zip(parts[::2], [*parts[1::2], ""], strict=True)))


def written(value: Any) -> str:
    """A setting as people read it."""
    if value is None:
        return NONE
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def place(key: str, value: Any, baseline: str | None) -> tuple:
    """Where a row with this setting stands among others: natural order, the baseline before other strategies."""
    return key == "strategy" and value != baseline, natural(value)


def setting(key: str, value: Any) -> str:
    """The setting `key` as people read it: no train_size means all there is."""
    return "all" if key == "train_size" and value is None else written(value)


def amount(value: float, points: bool) -> str:
    """A size without sign: `1.8` (percentage points) of 0.018, or `0.018` in the metric's own unit."""
    return f"{100 * value:.1f}" if points else f"{value:.2g}"
