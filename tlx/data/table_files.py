"""One table file as a DataFrame: parquet, csv, tsv, jsonl and npz."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlx.errors import UserError

ENDINGS = (".parquet", ".csv", ".tsv", ".jsonl", ".npz")


def read_table(file: Path, rows: int | None = None) -> pd.DataFrame:
    """One table file, or its first `rows`. Words like "NA" or "None" stay words; only empty csv cells are missing.

    Raises:
        UserError: the file is damaged, or not what its ending says.
    """
    try:
        if file.suffix == ".parquet":
            return _read_parquet(file, rows)
        if file.suffix == ".npz":
            return _read_npz(file)[:rows]
        if file.suffix == ".jsonl":
            with file.open(encoding="utf-8-sig") as lines:
                return pd.DataFrame([json.loads(line) for line in itertools.islice(lines, rows) if line.strip()])
        return _read_csv(file, rows)
    except UserError:
        raise
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except Exception as error:  # each reader has its own classes for damaged files
        raise UserError(f"{file} cannot be read as {file.suffix[1:]}: {type(error).__name__}: {error}") from error


def _read_csv(file: Path, rows: int | None) -> pd.DataFrame:
    options: dict[str, Any] = {
        "keep_default_na": False,
        "na_values": [""],
        "low_memory": False,
        "nrows": rows,
        "encoding": "utf-8-sig",
    }
    if file.suffix == ".csv":
        return _checked(pd.read_csv(file, **options), file)
    # Many tsv files (GLUE's) have no quoting at all: a stray quote would then swallow the rows up to the next one.
    unquoted = {"sep": "\t", "quoting": 3}
    try:
        frame = pd.read_csv(file, sep="\t", **options)
    except pd.errors.ParserError:
        return _checked(pd.read_csv(file, **unquoted, **options), file)
    texts = frame.select_dtypes(include=["object", "string"])
    swallowed = any(texts[c].str.contains("\n", regex=False, na=False).any() for c in texts)
    return _checked(pd.read_csv(file, **unquoted, **options) if swallowed else frame, file)


def _checked(frame: pd.DataFrame, file: Path) -> pd.DataFrame:
    if not isinstance(frame.index, pd.RangeIndex):  # pandas then takes the first cells for row names
        raise UserError(
            f"{file}: the rows have more cells than the header has names. Quote cells that hold a separator."
        )
    return frame


def _read_parquet(file: Path, rows: int | None) -> pd.DataFrame:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as source:
        if rows is None or rows >= source.metadata.num_rows:
            frame = source.read().to_pandas()
        else:
            frame = next(source.iter_batches(batch_size=rows)).to_pandas()
        metadata = source.schema_arrow.metadata or {}
    # The hub's files carry the names of their integer labels along.
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return name_labels(frame.reset_index(drop=True), features)


def _read_npz(file: Path) -> pd.DataFrame:
    with np.load(file, allow_pickle=False) as arrays:
        columns = {name: arrays[name] for name in arrays.files}
    lengths = {name: len(a) if a.ndim else 0 for name, a in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {n}" for name, n in lengths.items())
        raise UserError(f"{file} is no table: its arrays have different lengths ({shown}).")
    return pd.DataFrame({name: a if a.ndim == 1 else list(a) for name, a in columns.items()})


def name_labels(frame: pd.DataFrame, features: Mapping[str, Any]) -> pd.DataFrame:
    """Integers of the hub's ClassLabel features, alone or in lists, as their names; -1 (no label) becomes None."""

    def name(value: Any, names: Sequence[str]) -> Any:
        if isinstance(value, (list, np.ndarray)):
            return [name(v, names) for v in value]
        return names[int(value)] if not pd.isna(value) and value >= 0 else None

    for column, feature in features.items():
        while isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
            feature = feature["feature"]
        if (
            column in frame
            and isinstance(feature, dict)
            and feature.get("_type") == "ClassLabel"
            and feature.get("names")
        ):
            named = [name(v, feature["names"]) for v in frame[column]]
            frame[column] = pd.Series(named, index=frame.index, dtype=object)
    return frame
