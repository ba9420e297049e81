"""A data set as its yaml describes it, and what a run gets from it: labelled parts and a DataSpec."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from tlx.data import fingerprint, tables, where
from tlx.data.cuts import Listed, encode_one
from tlx.data.labels import label_text, read_labels
from tlx.data.made import make_bundled
from tlx.data.parts import OVERLAPS, UNTRAINED, Part, check_overlap, check_trained, describe
from tlx.data.sampling import SAMPLERS
from tlx.data.splits import carve, parse_size, take
from tlx.data.table_files import check_encoding
from tlx.errors import UserError, nearest, unknown
from tlx.tasks.metrics import check_metrics

MODALITIES = ("text", "image", "audio")
TASKS = ("classification",)
UNITS = ("groups", "examples")
COLUMNS = ("input", "label", "id")


@dataclass(frozen=True)
class DataSpec:
    """What a data set is, as far as models and tasks care. Class counts come from `label_names`, never from a yaml."""

    modality: str
    task: str
    label_names: tuple[str, ...]
    sizes: dict[str, int]
    split_hash: str  # of the example ids of all three parts
    part_hashes: dict[str, str]  # of each part's


@dataclass(frozen=True)
class Data:
    """The parts of a data set for one run, with its spec.

    `train_pool` is the training part before `train_size`, and `train_rows` (n,) are the positions of `train` in it.
    `about` is what the record says of the parts: see `tlx.data.parts.describe`.
    """

    spec: DataSpec
    train: Part
    validation: Part
    test: Part
    train_pool: Part
    train_rows: np.ndarray
    about: dict[str, Any]


@dataclass
class Dataset:
    """The keys of a data set's yaml; `configs/dataset/local_*.yaml` lists and explains them."""

    modality: str
    task: str = "classification"
    path: str | None = None
    make: str | None = None
    revision: str | None = None
    subset: str | None = None
    columns: dict[str, Any] = field(default_factory=lambda: {"input": "text", "label": "label"})
    label_names: list[str] | None = None
    untrained_labels: str = "error"
    groups: str | None = None
    encoding: str | None = None
    splits: dict[str, str | None] = field(default_factory=lambda: {r: r for r in ("train", "validation", "test")})
    overlap: str = "warn"
    where: str | None = None
    train_size: Any = None
    val_size: Any = None
    validation_share: float = 0.15
    test_share: float = 0.2
    split_seed: int = 0
    subset_seed: int | None = None
    subset_by: str = "groups"
    sampler: str = "shuffle"
    augmentation: dict[str, Any] | None = None
    metrics: list[str] = field(default_factory=lambda: ["accuracy", "macro_f1"])
    monitor: str = "accuracy"

    def __post_init__(self) -> None:
        allowed = {
            "modality": MODALITIES,
            "task": TASKS,
            "sampler": SAMPLERS,
            "overlap": OVERLAPS,
            "untrained_labels": UNTRAINED,
            "subset_by": UNITS,
        }
        for key, words in allowed.items():
            if getattr(self, key) not in words:
                raise unknown(f"dataset.{key}", getattr(self, key), words)
        check_metrics(self.metrics, self.monitor)
        for key in ("validation_share", "test_share"):
            if not 0 < getattr(self, key) < 1:
                raise UserError(f"dataset.{key}={getattr(self, key)} must lie between 0 and 1.")
        parse_size(self.train_size, "dataset.train_size")
        parse_size(self.val_size, "dataset.val_size")
        self._check_columns()
        self._check_splits()
        check_encoding(self.encoding)

    @property
    def _carved(self) -> tuple[tuple[str, float, Literal["test_share", "validation_share"]], ...]:
        """Which parts are carved out of train where the data have none, in this order, with their shares."""
        return ("test", self.test_share, "test_share"), ("validation", self.validation_share, "validation_share")

    def _check_columns(self) -> None:
        """Refuse columns that cannot be an input or a label, whatever the data hold."""
        for key in self.columns:
            if key not in COLUMNS:
                raise unknown("key in dataset.columns", key, COLUMNS, "The column of groups is dataset.groups.")
        if not isinstance(self.columns.get("id"), str | None):
            raise UserError(f"dataset.columns.id={self.columns['id']} names no column: give one, or null.")
        wanted, label = self.columns.get("input"), self.columns.get("label")
        inputs = wanted if isinstance(wanted, list) else [wanted]
        if not inputs or not all(isinstance(column, str) and column for column in inputs):
            raise UserError(
                f"dataset.columns.input={wanted} names no column: give one (text), or for pairs of texts a list of two "
                "([premise, hypothesis])."
            )
        if not isinstance(label, str) or not label:
            raise UserError(f"dataset.columns.label={label} names no column: give the one that holds the labels.")
        if label in inputs:
            raise UserError(
                f"dataset.columns.input and dataset.columns.label both name '{label}': labels are no input."
            )

    def _check_splits(self) -> None:
        """Refuse one part of the data in two roles."""
        roles: dict[str, str] = {}
        for role, name in self.splits.items():
            if name is None or self.overlap == "allow":
                continue
            if name in roles:
                raise UserError(
                    f"dataset.splits.{roles[name]} and dataset.splits.{role} both read '{name}': a score on examples "
                    f"that were trained or selected on says nothing. dataset.splits.{role}=null carves a part out of "
                    "train; dataset.overlap=allow reads it twice nevertheless."
                )
            roles[name] = role

    def location(self, cache: Path) -> str:
        """Where the files are; a bundled set is made on first use, under `cache`/datasets.

        Raises:
            UserError: neither `path` nor `make`.
        """
        if self.path:
            return self.path
        if not self.make:
            raise UserError("this data set needs a place: give dataset.path=FOLDER_OR_FILE (or hub:owner/name).")
        return str(make_bundled(self.make, cache))

    def fingerprint(self, cache: Path) -> str:
        """Content hash of the files, remembered by path, size and time."""
        return fingerprint.fingerprint(
            self.location(cache), self.revision, self.subset, cache / "fingerprints.json", encoding=self.encoding
        )

    def load(self, seed: int, cache: Path) -> Data:
        """Read, label, split and subset.

        `split_seed` fixes test and validation; validation is carved before `train_size` is applied, so that k per class
        stays k; the subset is drawn by `subset_seed`, by default the run's `seed`.

        Raises:
            UserError: missing file or column, label outside the label set, empty split, more labels asked than exist.
        """
        inputs = self.columns["input"]
        texts = [inputs] if isinstance(inputs, str) else inputs
        further = [self.columns["label"], self.columns.get("id"), self.groups]
        frames = tables.read_tables(
            self.location(cache),
            modality=self.modality,
            splits=self.splits,
            revision=self.revision,
            subset=self.subset,
            encoding=self.encoding,
            texts=[column for column in [*texts, *further] if column],
        )
        skipped = {role: frame.attrs["skipped"] for role, frame in frames.items() if "skipped" in frame.attrs}
        frames = {role: self._kept(frame, role) for role, frame in frames.items()}
        for role, frame in frames.items():
            if frame.empty:
                raise UserError(f"the {role} split is empty: dataset.where={self.where!r} keeps no row of it.")
        column = self.columns["label"]
        names, ids = read_labels({role: frame[column] for role, frame in frames.items()}, self.label_names, column)
        unlabelled = {role: int((labels < 0).sum()) for role, labels in ids.items() if (labels < 0).any()}
        parts = {role: self._part(frame, role, ids[role]) for role, frame in frames.items()}
        pool = parts.pop("train" if "train" in parts else "all", None)
        if pool is None:
            raise UserError(f"{self.location(cache)} has no training split; it has {', '.join(parts) or 'none'}.")
        for role, share, purpose in self._carved:
            if role not in parts:
                kept, carved = carve(pool.labels, share, self.split_seed, purpose, pool.group_ids)
                if not len(carved):
                    what = "groups hold all there is of a class" if self.groups else "classes have one example each"
                    raise UserError(
                        f"no {role} part can be carved out of the training data: the {what}, which training needs. "
                        f"Give a part of its own: dataset.splits.{role}=NAME."
                    )
                parts[role], pool = pool.take(carved), pool.take(kept)
        pool, parts, overlap = check_overlap(self.overlap, pool, parts, self.modality, cache)
        untrained = check_trained(self.untrained_labels, pool, parts, names, overlap.dropped)
        by_group = self.subset_by == "groups"
        for key, size in (("val_size", self.val_size), ("train_size", self.train_size)):
            _check_more_than_one(key, size)
        seen = take(
            parts["validation"].labels,
            parse_size(self.val_size, ""),
            self.split_seed,
            list(names),
            "val_size",
            parts["validation"].group_ids if by_group else None,
        )
        validation = parts["validation"].take(seen)
        subset_seed = seed if self.subset_seed is None else self.subset_seed
        size = parse_size(self.train_size, "")
        groups = pool.group_ids if by_group else None
        chosen = take(pool.labels, size, subset_seed, list(names), "train_size", groups, untrained)
        train, test = pool.take(chosen), parts["test"]
        used = {"train": train, "validation": validation, "test": test}
        shared = overlap.counts(used, {"train": chosen, "validation": seen})
        about = describe(used, pool, names, unlabelled, untrained, shared, self.groups)
        about |= {"skipped": skipped} if skipped else {}
        hashes = {role: _hash(part.ids) for role, part in used.items()}
        whole = _hash([*train.ids, "", *validation.ids, "", *test.ids])
        sizes = {role: len(part) for role, part in used.items()}
        spec = DataSpec(self.modality, self.task, names, sizes, whole, hashes)
        return Data(spec, train, validation, test, pool, chosen, about)

    def _kept(self, frame: pd.DataFrame, role: str) -> pd.DataFrame:
        wanted = self.columns["input"]
        needed = [*([wanted] if isinstance(wanted, str) else wanted), self.columns["label"]]
        for column in [*needed, *filter(None, [self.columns.get("id"), self.groups])]:
            if column not in frame.columns:
                match = nearest(column, frame.columns)
                raise UserError(
                    f"the {role} split has no column '{column}'"
                    + (f" (did you mean '{match}'?)" if match else "")
                    + f"; it has {', '.join(map(str, frame.columns))}. "
                    "Set dataset.columns.input, dataset.columns.label, or dataset.groups."
                )
        return frame if self.where is None else where.kept(frame, self.where)

    def _part(self, frame: pd.DataFrame, role: str, labels: np.ndarray) -> Part:
        """The rows that have a label."""
        if not (labelled := labels >= 0).all():
            frame, labels = frame[labelled], labels[labelled]
        column = self.columns["input"]
        if isinstance(column, str):
            inputs = frame[column].tolist()
        else:
            inputs = list(zip(*(frame[c].tolist() for c in column), strict=True))
        if self.modality == "audio" and "sampling_rate" in frame and len(inputs) and isinstance(inputs[0], np.ndarray):
            inputs = list(zip(inputs, frame["sampling_rate"].tolist(), strict=True))
        key = self.columns.get("id")
        names_ = frame[key].astype(str) if key else [f"{role}/{i}" for i in frame.index]
        groups = None
        if self.groups:
            if missing := int(frame[self.groups].isna().sum()):
                raise UserError(f"dataset.groups={self.groups}: {missing} examples of the {role} split have no group.")
            groups = [label_text(value) for value in frame[self.groups]]
        return Part(inputs, labels, list(names_), groups)


def _check_more_than_one(key: str, value: Any) -> None:
    size = parse_size(value, key)
    if size is not None and size.count == 1:
        raise UserError(
            f"dataset.{key}={value} is one labelled example, which cannot hold two classes. All of them is 1.0 (or "
            "null), one of each class is 1_per_class."
        )


def _hash(ids: list[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def encode(part: Part, preprocessing: Any) -> Listed:
    """All inputs of a part, encoded; an input that cannot be decoded is named by its example id."""
    examples = []
    with one_thread():
        for raw, name in zip(part.inputs, part.ids, strict=True):
            try:
                examples.append(encode_one(preprocessing, raw))
            except UserError as error:
                raise UserError(f"example {name}: {error}") from error
    return Listed([example for example, _ in examples], [cut for _, cut in examples])


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread in this context: the number of threads changes the last bits of a resampled clip."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
