"""Which examples train, select and test: stratified, nested over sizes, each draw with a seed of its own."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tlx.errors import UserError
from tlx.streams import Purpose, stream


@dataclass(frozen=True)
class Size:
    """How many labelled examples: a `count`, a `fraction`, or a number `per_class` (one of the three is set)."""

    count: int | None = None
    fraction: float | None = None
    per_class: int | None = None


def parse_size(value: object, key: str) -> Size | None:
    """`200`, `0.1` or `8_per_class` as a Size; None for null (all).

    Raises:
        UserError: anything else, a count below 1, a fraction outside (0, 1].
    """
    if value is None:
        return None
    text = str(value)
    if found := re.fullmatch(r"(\d+)_per_class", text):
        size = Size(per_class=int(found.group(1)))
    elif re.fullmatch(r"\d+", text):
        size = Size(count=int(text))
    elif re.fullmatch(r"\d*\.\d+(e-?\d+)?|\d+(\.\d+)?e-?\d+|1\.", text):
        size = Size(fraction=float(text))
    else:
        raise UserError(
            f"{key}={value} is not a size: give a count (200), a fraction (0.1) or a number per class (8_per_class)."
        )
    number = size.count or size.per_class or size.fraction
    if not number or (size.fraction is not None and not 0 < size.fraction <= 1):
        raise UserError(f"{key}={value} is not a size: counts start at 1 and fractions lie in (0, 1].")
    return size


def stratified_order(labels: np.ndarray, seed: int, purpose: Purpose) -> np.ndarray:
    """A random order of the examples in which every beginning has the classes in proportion.

    labels: (n,) class ids. Returns (n,) positions. The first k of it, for growing k, are nested stratified subsets:
    each class is shuffled on its own, and its j-th of m examples is put at the place (j + u) / m with one u per class.
    """
    rng = stream(seed, purpose)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rng.shuffle(members)
        place[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(place, kind="stable")


def take(
    labels: np.ndarray, size: Size | None, seed: int, names: list[str], purpose: Literal["train_size", "val_size"]
) -> np.ndarray:
    """Positions (sorted) of a stratified subset of `size`; larger sizes with the same seed contain smaller ones.

    `purpose` is the key of the dataset that gave the size.

    Raises:
        UserError: more examples asked for than there are, in all or in a class (named).
    """
    if size is None:
        return np.arange(len(labels))
    key, order = f"dataset.{purpose}", stratified_order(labels, seed, purpose)
    if size.per_class is not None:
        counts = np.bincount(labels, minlength=len(names))
        short = [f"{names[c]} ({counts[c]})" for c in range(len(names)) if counts[c] < size.per_class]
        if short:
            raise UserError(
                f"{key}={size.per_class}_per_class asks for more labels than these classes have: "
                f"{', '.join(short[:10])}."
            )
        picked = np.concatenate([order[labels[order] == c][: size.per_class] for c in range(len(names))])
        return np.sort(picked)
    wanted = size.count if size.count is not None else max(1, round(size.fraction * len(labels)))  # type: ignore[operator]
    if wanted > len(labels):
        raise UserError(f"{key}={wanted} asks for more examples than there are ({len(labels)}).")
    return np.sort(order[:wanted])


def carve(
    labels: np.ndarray, share: float, seed: int, purpose: Literal["test_share", "validation_share"]
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (kept, carved): a stratified share of the examples taken out, both sorted."""
    order = stratified_order(labels, seed, purpose)
    count = max(1, round(share * len(labels)))
    return np.sort(order[count:]), np.sort(order[:count])
