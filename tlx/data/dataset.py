"""A data set as its yaml describes it, and what a run gets from it: labelled parts and a DataSpec."""

import hashlib
import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlx.data import fingerprint, tables, where
from tlx.data.sampling import SAMPLERS
from tlx.data.splits import carve, parse_size, take
from tlx.errors import UserError, nearest, unknown
from tlx.names import resolve

MODALITIES = ("text", "image", "audio")


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
class Part:
    """One split: raw inputs (n), label ids (n,) int64, and example ids (n) that survive subsetting."""

    inputs: list[Any]
    labels: np.ndarray
    ids: list[str]

    def take(self, positions: np.ndarray) -> "Part":
        return Part([self.inputs[i] for i in positions], self.labels[positions], [self.ids[i] for i in positions])

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Data:
    """The parts of a data set for one run, with its spec.

    `train_pool` is the training part before `train_size`, and `train_rows` (n,) are the positions of `train` in it.
    """

    spec: DataSpec
    train: Part
    validation: Part
    test: Part
    train_pool: Part
    train_rows: np.ndarray


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
    splits: dict[str, str | None] = field(default_factory=lambda: {r: r for r in ("train", "validation", "test")})
    where: str | None = None
    train_size: Any = None
    val_size: Any = None
    validation_share: float = 0.15
    test_share: float = 0.2
    split_seed: int = 0
    subset_seed: int | None = None
    sampler: str = "shuffle"
    augmentation: dict[str, Any] | None = None
    metrics: list[str] = field(default_factory=lambda: ["accuracy", "macro_f1"])
    monitor: str = "accuracy"

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise unknown("dataset.modality", self.modality, MODALITIES)
        if self.sampler not in SAMPLERS:
            raise unknown("dataset.sampler", self.sampler, SAMPLERS)
        if self.monitor not in self.metrics:
            # Which of the two is misspelt is not known here.
            listed = ", ".join(f"'{name}'" for name in self.metrics)
            raise UserError(
                f"dataset.monitor='{self.monitor}' is not among dataset.metrics=[{listed}], which it must be one of: "
                "correct the one, or add it to the others (dataset.monitor is accuracy unless you say otherwise)."
            )
        for key in ("validation_share", "test_share"):
            if not 0 < getattr(self, key) < 1:
                raise UserError(f"dataset.{key}={getattr(self, key)} must lie between 0 and 1.")
        parse_size(self.train_size, "dataset.train_size")
        parse_size(self.val_size, "dataset.val_size")

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
        return fingerprint.fingerprint(self.location(cache), self.revision, self.subset, cache / "fingerprints.json")

    def load(self, seed: int, cache: Path) -> Data:
        """Read, label, split and subset.

        `split_seed` fixes test and validation; validation is carved before `train_size` is applied, so that k per class
        stays k; the subset is drawn by `subset_seed`, by default the run's `seed`.

        Raises:
            UserError: missing file or column, label outside the label set, empty split, more labels asked than exist.
        """
        frames = tables.read_tables(
            self.location(cache),
            modality=self.modality,
            splits=self.splits,
            revision=self.revision,
            subset=self.subset,
        )
        frames = {role: self._kept(frame, role) for role, frame in frames.items()}
        names = self._names(frames)
        parts = {role: self._part(frame, role, names) for role, frame in frames.items()}
        pool = parts.pop("train" if "train" in parts else "all", None)
        if pool is None:
            raise UserError(f"{self.location(cache)} has no training split; it has {', '.join(parts) or 'none'}.")
        if "test" not in parts:
            kept, carved = carve(pool.labels, self.test_share, self.split_seed, "test_share")
            parts["test"], pool = pool.take(carved), pool.take(kept)
        if "validation" not in parts:
            kept, carved = carve(pool.labels, self.validation_share, self.split_seed, "validation_share")
            parts["validation"], pool = pool.take(carved), pool.take(kept)
        size = parse_size(self.val_size, "")
        seen = take(parts["validation"].labels, size, self.split_seed, list(names), "val_size")
        validation = parts["validation"].take(seen)
        subset_seed = seed if self.subset_seed is None else self.subset_seed
        chosen = take(pool.labels, parse_size(self.train_size, ""), subset_seed, list(names), "train_size")
        train = pool.take(chosen)
        for role, part in (("train", train), ("validation", validation), ("test", parts["test"])):
            if not len(part):
                raise UserError(f"the {role} split is empty: nothing can be computed from it.")
        sizes = {"train": len(train), "validation": len(validation), "test": len(parts["test"])}
        ids = {"train": train.ids, "validation": validation.ids, "test": parts["test"].ids}
        whole = _hash([*train.ids, "", *validation.ids, "", *parts["test"].ids])
        spec = DataSpec(self.modality, self.task, names, sizes, whole, {role: _hash(i) for role, i in ids.items()})
        return Data(spec, train, validation, parts["test"], pool, chosen)

    def _kept(self, frame: pd.DataFrame, role: str) -> pd.DataFrame:
        wanted = self.columns["input"]
        for column in [*([wanted] if isinstance(wanted, str) else wanted), self.columns["label"]]:
            if column not in frame.columns:
                match = nearest(column, frame.columns)
                raise UserError(
                    f"the {role} split has no column '{column}'"
                    + (f" (did you mean '{match}'?)" if match else "")
                    + f"; it has {', '.join(map(str, frame.columns))}. "
                    "Set dataset.columns.input / dataset.columns.label."
                )
        return frame if self.where is None else where.kept(frame, self.where)

    def _names(self, frames: dict[str, pd.DataFrame]) -> tuple[str, ...]:
        """Label names in id order: stated, or all values of the label column, sorted (numbers as numbers)."""
        if self.label_names:
            return tuple(str(n) for n in self.label_names)
        values = pd.unique(pd.concat([f[self.columns["label"]] for f in frames.values()]).dropna())
        if len(values) < 2:
            raise UserError(
                f"the label column '{self.columns['label']}' has {len(values)} different values; two are needed."
            )
        numeric = all(isinstance(v, (int, np.integer, float, np.floating)) for v in values)
        return tuple(_label(v) for v in sorted(values, key=float if numeric else str))

    def _part(self, frame: pd.DataFrame, role: str, names: tuple[str, ...]) -> Part:
        values = frame[self.columns["label"]].tolist()
        if self.label_names and all(isinstance(v, (int, np.integer)) for v in values):
            ids = {n: n for n in range(len(names))}  # integers count label_names from 0
        else:
            ids = {name: i for i, name in enumerate(names)}  # type: ignore[misc]
            values = [_label(v) for v in values]
        bad = next(((row, v) for row, v in enumerate(values) if v not in ids), None)
        if bad:
            raise unknown(
                f"label in row {bad[0]} of the {role} split",
                bad[1],
                names,
                "See dataset.label_names and dataset.columns.",
            )
        column = self.columns["input"]
        if isinstance(column, str):
            inputs = frame[column].tolist()
        else:
            inputs = list(zip(*(frame[c].tolist() for c in column), strict=True))
        if self.modality == "audio" and "sampling_rate" in frame and len(inputs) and isinstance(inputs[0], np.ndarray):
            inputs = list(zip(inputs, frame["sampling_rate"].tolist(), strict=True))
        key = self.columns.get("id")
        names_ = frame[key].astype(str) if key else [f"{role}/{i}" for i in frame.index]
        return Part(inputs, np.array([ids[v] for v in values], dtype=np.int64), list(names_))


def _hash(ids: list[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def _label(value: Any) -> str:
    """A label as its name: integers without a decimal point, whatever type a file stored them in."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def make_bundled(make: str, cache: Path) -> Path:
    """The folder of a bundled set, made once per version of its source file, safe against two makers at once."""
    function = resolve(make, "dataset.make")
    source = importlib.util.find_spec(function.__module__)
    assert source is not None and source.origin is not None
    version = hashlib.sha256(Path(source.origin).read_bytes()).hexdigest()[:10]
    folder = cache / "datasets" / f"{make.split('.')[-2]}-{version}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
        function(draft)
        try:
            draft.rename(folder)
        except OSError:  # somebody else was faster; theirs is the same
            shutil.rmtree(draft)
    return folder


def encode(part: Part, preprocessing: Any) -> list[Any]:
    """All inputs of a part, encoded; an input that cannot be decoded is named by its example id."""
    examples = []
    with one_thread():
        for raw, name in zip(part.inputs, part.ids, strict=True):
            try:
                examples.append(preprocessing.encode(raw))
            except UserError as error:
                raise UserError(f"example {name}: {error}") from error
    return examples


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
