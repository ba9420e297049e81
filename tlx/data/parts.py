"""The parts of a data set and what they have in common that they should not, or lack that they should have."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tlx.data.duplicates import contents
from tlx.data.labels import NUMBER
from tlx.errors import UserError, nearest

OVERLAPS = ("warn", "error", "drop", "allow")
UNTRAINED = ("error", "warn")
SHOWN = 5  # labels named in one message
# What makes two labels look alike: what it is called, and what takes it away.
DIFFERENCES: dict[str, Callable[[str], str]] = {
    "spaces": lambda name: " ".join(name.split()),
    "upper and lower case": str.casefold,
    "the Unicode form of its letters": lambda name: unicodedata.normalize("NFKC", name),
    "how the number is written": lambda name: str(float(name)) if NUMBER.fullmatch(name) else name,
}


@dataclass(frozen=True)
class Part:
    """One split: raw inputs (n), label ids (n,) int64, and example ids (n) that survive subsetting.

    `groups` (n) are the groups (speakers, documents) that the examples come from, where the data set names them.
    """

    inputs: list[Any]
    labels: np.ndarray
    ids: list[str]
    groups: list[str] | None = None

    def take(self, positions: np.ndarray) -> "Part":
        return Part(
            [self.inputs[i] for i in positions],
            self.labels[positions],
            [self.ids[i] for i in positions],
            None if self.groups is None else [self.groups[i] for i in positions],
        )

    @cached_property
    def group_ids(self) -> np.ndarray | None:
        """(n,) the groups as numbers, in the order of their names."""
        return None if self.groups is None else np.unique(self.groups, return_inverse=True)[1]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Overlap:
    """Which inputs of the training pool are in other parts, too.

    `pool` (n) and `parts` (n each) are the contents of their inputs; `dropped` examples of the pool were left out.
    """

    pool: list[Any]
    parts: dict[str, list[Any]]
    dropped: int = 0

    def counts(self, used: Mapping[str, Part], rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """{part: {"examples": those that the run trains on, too, "of": how many, "other_label": with another label}}.

        `rows` are the positions of the used examples in the pool ("train") and in the parts; all, where it says none.
        """
        held = set().union(*self.parts.values())
        trained: dict[Any, set[int]] = {}
        for row, label in zip(rows["train"].tolist(), used["train"].labels.tolist(), strict=True):
            if self.pool[row] in held:
                trained.setdefault(self.pool[row], set()).add(label)
        found: dict[str, Any] = {"dropped": self.dropped} if self.dropped else {}
        for role, all_of_it in self.parts.items():
            kept = [all_of_it[row] for row in rows[role]] if role in rows else all_of_it
            pairs = zip(kept, used[role].labels.tolist(), strict=True)
            other = [label not in trained[content] for content, label in pairs if content in trained]
            if other:
                found[role] = {"examples": len(other), "of": len(kept), "other_label": sum(other)}
        return found


def check_overlap(mode: str, pool: Part, parts: Mapping[str, Part], modality: str, cache: Path) -> tuple[Part, Overlap]:
    """The training pool, under `mode` "drop" without what validation or test hold, and what to count overlaps by.

    Raises:
        UserError: under "error", one example in training and in another part; under "warn", a part that lies wholly in
            training; under "drop", nothing is left.
    """
    overlap = Overlap(
        contents(pool.inputs, modality, cache),
        {role: contents(part.inputs, modality, cache) for role, part in parts.items()},
    )
    known = set(overlap.pool)
    if mode == "drop":
        held = set().union(*overlap.parts.values())
        kept = np.array([row for row, content in enumerate(overlap.pool) if content not in held], dtype=np.int64)
        if not len(kept):
            raise UserError("dataset.overlap=drop leaves no training example: all are in validation or test, too.")
        left = [overlap.pool[row] for row in kept]
        return pool.take(kept), Overlap(left, overlap.parts, len(pool) - len(kept))
    for role, part in overlap.parts.items():
        count = sum(content in known for content in part)
        if mode == "error" and count:
            raise UserError(
                f"{count} of {len(part)} {role} examples are in the training data, too, the first of them "
                f"{next(name for name, content in zip(parts[role].ids, part, strict=True) if content in known)}. "
                "dataset.overlap=drop leaves them out of training, warn counts them in the record."
            )
        if mode == "warn" and count and count == len(part):
            raise UserError(
                f"all {count} {role} examples are in the training data, too: a score on them says nothing of new ones. "
                f"dataset.splits.{role}=null carves a part out of train, dataset.overlap=drop takes them out of "
                "training, allow uses them nevertheless."
            )
    return pool, overlap


def check_trained(mode: str, pool: Part, parts: Mapping[str, Part], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Labels of other parts that no training example has: {label: {part: examples, "nearest": trained label}}.

    Raises:
        UserError: there are some, and `mode` is "error".
    """
    trained = set(np.unique(pool.labels).tolist())
    found: dict[str, dict[str, Any]] = {}
    for role, part in parts.items():
        for label, count in zip(*np.unique(part.labels, return_counts=True), strict=True):
            if label not in trained:
                found.setdefault(names[label], {})[role] = int(count)
    known = [names[label] for label in sorted(trained)]
    why = {}
    for name, entry in found.items():
        entry["nearest"], why[name] = alike(name, known)
    if found and mode == "error":
        told = [_told(name, entry, why[name]) for name, entry in found.items()]
        more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        raise UserError(
            f"these labels are never trained, no training example has them: {', '.join(told[:SHOWN])}{more}. "
            f"Trained are {', '.join(map(repr, known[:SHOWN]))}{', …' if len(known) > SHOWN else ''}. "
            "Make the labels of all parts one spelling, or leave such rows out; dataset.untrained_labels=warn scores "
            "them as they are."
        )
    return found


def _told(name: str, entry: Mapping[str, Any], why: str) -> str:
    where = [f"{count} example{'s' * (count != 1)} of {role}" for role, count in entry.items() if role != "nearest"]
    near = f"; nearest that is trained: '{entry['nearest']}'{why}" if entry["nearest"] else ""
    return f"'{name}' ({' and '.join(where)}{near})"


def alike(name: str, known: Sequence[str]) -> tuple[str | None, str]:
    """The one of `known` most like `name`, and in what alone they differ, where it is only the spelling."""
    for what, plain in DIFFERENCES.items():
        for other in known:
            if plain(name) == plain(other):
                return other, f", which differs in {what} alone"
    plainest = {_plain(other): other for other in known}
    if _plain(name) in plainest:
        return plainest[_plain(name)], ", which differs in spelling alone"
    return nearest(name, known), ""


def _plain(name: str) -> str:
    for plain in DIFFERENCES.values():
        name = plain(name)
    return name


def describe(
    used: Mapping[str, Part],
    pool: Part,
    names: Sequence[str],
    unlabelled: Mapping[str, int],
    untrained: Mapping[str, Any],
    overlap: Mapping[str, Any],
    column: str | None,
) -> dict[str, Any]:
    """What a record says of the parts that a run uses; what there is nothing to say of is left out.

    unlabelled: {split: rows without a label, left out}. untrained: see `check_trained`. undrawn: classes of the pool
    without an example in the training subset. absent: {part: classes that are trained and not in it}. overlap: see
    `Overlap.counts`; and "dropped" training examples. groups: their column, how many of them each part has, and
    "shared", how many of its groups training has, too.
    """
    trained = np.unique(used["train"].labels)
    absent = {role: np.setdiff1d(trained, used[role].labels) for role in ("validation", "test")}
    found = {
        "unlabelled": dict(unlabelled),
        "untrained": dict(untrained),
        "undrawn": [names[label] for label in np.setdiff1d(pool.labels, trained)],
        "absent": {role: [names[label] for label in labels] for role, labels in absent.items() if len(labels)},
        "overlap": dict(overlap),
        "groups": _groups(used, column),
    }
    return {name: value for name, value in found.items() if value}


def _groups(used: Mapping[str, Part], column: str | None) -> dict[str, Any]:
    if column is None:
        return {}
    members = {role: set(part.groups or ()) for role, part in used.items()}
    shared = {role: len(members[role] & members["train"]) for role in used if role != "train"}
    return {
        "column": column,
        **{role: len(groups) for role, groups in members.items()},
        "shared": {role: number for role, number in shared.items() if number},
    }
