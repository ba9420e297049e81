"""The parts of a data set and what they have in common that they should not, or lack that they should have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tlx.data.duplicates import contents
from tlx.data.spelling import alike
from tlx.errors import UserError

OVERLAPS = ("warn", "error", "drop", "allow")
UNTRAINED = ("error", "warn")
SHOWN = 5  # labels named in one message


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

        The same under "validation_test" of validation examples that are in the test part: they choose the checkpoint.
        `rows` are the positions of the used examples in the pool ("train") and in the parts; all, where it says none.
        """
        held = {role: [part[row] for row in rows[role]] if role in rows else part for role, part in self.parts.items()}
        trained = _labels_of(
            [self.pool[row] for row in rows["train"]], used["train"].labels, set().union(*held.values())
        )
        found: dict[str, Any] = {"dropped": self.dropped} if self.dropped else {}
        found |= {role: _shared(part, used[role].labels, trained) for role, part in held.items()}
        if {"validation", "test"} <= held.keys():
            tested = _labels_of(held["test"], used["test"].labels, set(held["validation"]))
            found["validation_test"] = _shared(held["validation"], used["validation"].labels, tested)
        return {name: count for name, count in found.items() if count}


def _labels_of(contents: Sequence[Any], labels: np.ndarray, wanted: set[Any]) -> dict[Any, set[int]]:
    """The labels that examples have, by their content, of the contents that are wanted."""
    found: dict[Any, set[int]] = {}
    for content, label in zip(contents, labels.tolist(), strict=True):
        if content in wanted:
            found.setdefault(content, set()).add(label)
    return found


def _shared(contents: Sequence[Any], labels: np.ndarray, known: Mapping[Any, set[int]]) -> dict[str, int]:
    """Of a part's examples (n): how many are `known` under some label, and how many under other labels alone."""
    pairs = zip(contents, labels.tolist(), strict=True)
    other = [label not in known[content] for content, label in pairs if content in known]
    return {"examples": len(other), "of": len(contents), "other_label": sum(other)} if other else {}


def check_overlap(
    mode: str, pool: Part, parts: Mapping[str, Part], modality: str, cache: Path
) -> tuple[Part, dict[str, Part], Overlap]:
    """The training pool and the other parts, and what to count overlaps by.

    Under `mode` "drop" the pool is without what validation or test hold, and validation without what the test holds.

    Raises:
        UserError: under "error", one example in two parts; under "warn", validation or test that lies wholly in
            training; under "drop", nothing is left.
    """
    known = contents(pool.inputs, modality, cache)
    held = {role: contents(part.inputs, modality, cache) for role, part in parts.items()}
    if mode == "drop":
        return _without_overlap(pool, parts, known, held)
    if mode != "allow":
        for role, part in parts.items():
            _refuse_overlap(mode, part.ids, held[role], set(known), role, "training")
        if {"validation", "test"} <= parts.keys():
            _refuse_overlap(mode, parts["validation"].ids, held["validation"], set(held["test"]), "validation", "test")
    return pool, dict(parts), Overlap(known, held)


def _without_overlap(
    pool: Part, parts: Mapping[str, Part], known: list[Any], held: dict[str, list[Any]]
) -> tuple[Part, dict[str, Part], Overlap]:
    parts = dict(parts)
    if {"validation", "test"} <= parts.keys():
        kept = _rows_outside(held["validation"], set(held["test"]))
        if not len(kept):
            raise UserError("dataset.overlap=drop leaves no validation example: all are in test, too.")
        parts["validation"] = parts["validation"].take(kept)
        held = held | {"validation": [held["validation"][row] for row in kept]}
    kept = _rows_outside(known, set().union(*held.values()))
    if not len(kept):
        raise UserError("dataset.overlap=drop leaves no training example: all are in validation or test, too.")
    return pool.take(kept), parts, Overlap([known[row] for row in kept], held, len(pool) - len(kept))


def _rows_outside(found: Sequence[Any], held: set[Any]) -> np.ndarray:
    return np.array([row for row, content in enumerate(found) if content not in held], dtype=np.int64)


def _refuse_overlap(
    mode: str, ids: Sequence[str], found: Sequence[Any], known: set[Any], role: str, other: str
) -> None:
    """Refuse examples of `role` that `other` has, too: any under "error", and under "warn" where all are."""
    shared = [name for name, content in zip(ids, found, strict=True) if content in known]
    loser = "training" if other == "training" else role  # from which "drop" takes them
    if mode == "error" and shared:
        raise UserError(
            f"{len(shared)} of {len(found)} {role} examples are in the {other} data, too, the first of them "
            f"{shared[0]}. dataset.overlap=drop leaves them out of {loser}, warn counts them in the record."
        )
    if mode == "warn" and other == "training" and shared and len(shared) == len(found):
        raise UserError(
            f"all {len(found)} {role} examples are in the training data, too: a score on them says nothing of new "
            f"ones. dataset.splits.{role}=null carves a part out of train, dataset.overlap=drop takes them out of "
            "training, allow uses them nevertheless."
        )


def check_trained(
    mode: str, pool: Part, parts: Mapping[str, Part], names: Sequence[str], dropped: int = 0
) -> dict[str, dict[str, Any]]:
    """Labels of other parts that no training example has: {label: {part: examples, "nearest": trained label}}.

    `dropped` is how many training examples dataset.overlap=drop has taken away before.

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
            + (f"dataset.overlap=drop took {dropped} training examples away, which may be why. " if dropped else "")
            + "Make the labels of all parts one spelling, or leave such rows out; dataset.untrained_labels=warn scores "
            "them as they are."
        )
    return found


def _told(name: str, entry: Mapping[str, Any], why: str) -> str:
    where = [f"{count} example{'s' * (count != 1)} of {role}" for role, count in entry.items() if role != "nearest"]
    near = f"; nearest that is trained: '{entry['nearest']}'{why}" if entry["nearest"] else ""
    return f"'{name}' ({' and '.join(where)}{near})"


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
    `Overlap.counts`; and "dropped" training examples. unused: classes without any example. groups: their column, how
    many of them each part has, and "shared", how many of its groups training has, too.
    """
    trained = np.unique(used["train"].labels)
    whole = [pool, *(used[role] for role in ("validation", "test"))]
    absent = {role: np.setdiff1d(trained, used[role].labels) for role in ("validation", "test")}
    found = {
        "unlabelled": dict(unlabelled),
        "untrained": dict(untrained),
        "unused": [name for label, name in enumerate(names) if not any((part.labels == label).any() for part in whole)],
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
