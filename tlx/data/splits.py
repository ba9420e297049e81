"""Which examples train, select and test: stratified, nested over sizes, each draw with a seed of its own."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tlx.errors import UserError
from tlx.streams import Purpose, stream

GROUPS = 1  # the number of the stream that orders groups, beside the one that orders examples


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


def grouped_order(labels: np.ndarray, groups: np.ndarray, seed: int, purpose: Purpose) -> np.ndarray:
    """A random order of the examples in which those of one group stand together, mixed as `stratified_order` mixes.

    labels, groups: (n,) ids. Returns (n,) positions: a beginning of it holds whole groups, but for its last one.
    """
    place = np.empty(len(labels), dtype=np.int64)
    place[stratified_order(labels, seed, purpose)] = np.arange(len(labels))
    _, members = np.unique(groups, return_inverse=True)
    rank = stream(seed, purpose, GROUPS).permutation(members.max() + 1) if len(members) else members
    return np.lexsort((place, rank[members]))


def take(
    labels: np.ndarray,
    size: Size | None,
    seed: int,
    names: list[str],
    purpose: Literal["train_size", "val_size"],
    groups: np.ndarray | None = None,
    untrained: Collection[str] = (),
) -> np.ndarray:
    """Positions (sorted) of a stratified subset of `size`; larger sizes with the same seed contain smaller ones.

    `purpose` is the key of the dataset that gave the size. With `groups` (n,), ids, whole groups are taken in a random
    order, and of the last one as much as is missing; of k per class likewise, each class by itself. Of the classes in
    `untrained` no example is asked for.

    Raises:
        UserError: more examples asked for than there are, in all or in a class (named).
    """
    if size is None:
        return np.arange(len(labels))
    key = f"dataset.{purpose}"
    order = stratified_order(labels, seed, purpose) if groups is None else grouped_order(labels, groups, seed, purpose)
    if size.per_class is not None:
        counts = np.bincount(labels, minlength=len(names))
        asked = [c for c, name in enumerate(names) if name not in untrained]
        short = [f"{names[c]} ({counts[c]})" for c in asked if counts[c] < size.per_class]
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
    labels: np.ndarray,
    share: float,
    seed: int,
    purpose: Literal["test_share", "validation_share"],
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (kept, carved): a stratified share of the examples taken out, both sorted.

    The last example of a class is never carved: a class of one stays in training. With `groups` (n,), ids, whole groups
    are carved: in a random order each one that brings the number of examples of every class (by the sum of squares)
    nearer to the share, and that is not the last with a class; one at least. Nothing is carved where nothing may be.
    """
    count = max(1, round(share * len(labels)))
    order = stratified_order(labels, seed, purpose)
    rng = stream(seed, purpose, GROUPS)
    chosen = _sparing(labels, order, count) if groups is None else _whole_groups(labels, groups, share, rng)
    carved = np.zeros(len(labels), dtype=bool)
    carved[chosen] = True
    return np.flatnonzero(~carved), np.flatnonzero(carved)


def _sparing(labels: np.ndarray, order: np.ndarray, count: int) -> list[int]:
    """The first `count` positions of the order, without the last example of any class."""
    left = np.bincount(labels)
    if (np.bincount(labels[order[:count]], minlength=len(left)) < np.maximum(left, 1)).all():
        return order[:count].tolist()
    chosen: list[int] = []
    for position in order.tolist():
        if len(chosen) == count:
            break
        if left[labels[position]] > 1:
            left[labels[position]] -= 1
            chosen.append(position)
    return chosen


def _whole_groups(labels: np.ndarray, groups: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """The positions of the groups that `carve` takes."""
    _, members = np.unique(groups, return_inverse=True)
    number = members.max() + 1
    counts = np.zeros((number, labels.max() + 1))
    np.add.at(counts, (members, labels), 1)
    total = counts.sum(axis=0)
    missing, taken = share * total, np.zeros(number, dtype=bool)
    first = None
    for group in rng.permutation(number).tolist():
        free = bool(((total - counts[group] > 0) | (counts[group] == 0)).all())
        if free and first is None:
            first = group
        if free and ((missing - counts[group]) ** 2).sum() < (missing**2).sum():
            taken[group] = True
            total, missing = total - counts[group], missing - counts[group]
    if not taken.any() and first is not None:  # all groups are larger than twice the share
        taken[first] = True
    return np.flatnonzero(taken[members])
