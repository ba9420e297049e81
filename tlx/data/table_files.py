"""One table file as a DataFrame: parquet, csv, tsv, jsonl and npz."""

import codecs
import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlx.errors import UserError, unknown

ENDINGS = (".parquet", ".csv", ".tsv", ".jsonl", ".npz")
ENCODINGS = (
    "utf-8",
    "utf-16",
    "latin-1",
    "cp1252",
    "cp1251",
    "iso8859-15",
    "shift_jis",
    "euc_jp",
    "gb18030",
    "big5",
    "euc_kr",
    "koi8_r",
)
# Byte order marks; that of UTF-32 begins with one of UTF-16, so it is looked for first.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8",
}
SINGLE = ("iso8859", "cp125", "cp43", "cp85", "koi8", "mac")  # how the names of codecs of one byte a letter begin
LOOK = 4096  # bytes looked at to tell an encoding


def read_table(
    file: Path, rows: int | None = None, encoding: str | None = None, texts: Collection[str] = ()
) -> pd.DataFrame:
    """One table file, or its first `rows`. Words like "NA" or "None" stay words; only empty csv cells are missing.

    Of csv and tsv files the columns in `texts` stay as they are written ("01"), where other columns become numbers.
    `encoding` is that of csv, tsv and jsonl files; None: UTF-8, with or without a byte order mark.

    Raises:
        UserError: the file is damaged, or not what its ending or the encoding says.
    """
    try:
        if file.suffix == ".parquet":
            return _read_parquet(file, rows)
        if file.suffix == ".npz":
            return _read_npz(file)[:rows]
        chosen = _encoding_of(file, encoding)
        if file.suffix == ".jsonl":
            with file.open(encoding=chosen) as lines:
                return pd.DataFrame([json.loads(line) for line in itertools.islice(lines, rows) if line.strip()])
        return _read_csv(file, rows, chosen, texts)
    except UserError:
        raise
    except UnicodeError as error:
        raise UserError(
            f"{file} is not in {encoding or 'UTF-8'} ({error}). dataset.encoding=NAME says what it is in, for example "
            "latin-1, cp1252, utf-16, shift_jis or gb18030."
        ) from error
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except Exception as error:  # each reader has its own classes for damaged files
        raise UserError(f"{file} cannot be read as {file.suffix[1:]}: {type(error).__name__}: {error}") from error


def check_encoding(name: str | None) -> None:
    """Refuse a name that no codec for text has.

    Raises:
        UserError: with the nearest that there is.
    """
    if name is None:
        return
    try:
        b"a".decode(name)
    except UnicodeError:  # a codec, for which one byte is too few
        return
    except LookupError as error:
        raise unknown(
            "dataset.encoding", name, ENCODINGS, "Python's other names of text encodings do as well."
        ) from error


def _encoding_of(file: Path, given: str | None) -> str:
    """The codec to read a file with.

    Raises:
        UserError: the file's first bytes, or all of them, say that it is in another encoding.
    """
    with file.open("rb") as stream:
        head = stream.read(LOOK)
    seen = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
    if seen is None and 4 * head.count(0) > len(head):  # every other byte of common letters in UTF-16 is zero
        seen = "utf-16-le" if head[1::2].count(0) >= head[::2].count(0) else "utf-16-be"
    name = codecs.lookup(given or "utf-8").name
    if seen and not name.startswith(seen[: len("utf-16")]):
        raise UserError(
            f"{file} is in {seen} by its first bytes, not in {given or 'UTF-8'}: say dataset.encoding={seen}."
        )
    if name.startswith(SINGLE) and _is_utf8(file):
        raise UserError(
            f"{file} is in UTF-8, and dataset.encoding={given} would make other letters of it: "
            "leave dataset.encoding out."
        )
    if name == "utf-8":
        return "utf-8-sig"  # which takes a mark away, as utf-16 does
    if name.startswith("utf-16-") and seen == "utf-16":
        return "utf-16"
    return name


def _is_utf8(file: Path) -> bool:
    """Whether a file holds letters beyond ASCII, all of them as UTF-8 has them: in other encodings next to never."""
    content = file.read_bytes()
    if content.isascii():
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_csv(file: Path, rows: int | None, encoding: str, texts: Collection[str]) -> pd.DataFrame:
    options: dict[str, Any] = {
        "keep_default_na": False,
        "na_values": [""],
        "low_memory": False,
        "nrows": rows,
        "encoding": encoding,
        "dtype": dict.fromkeys(texts, str),
    }
    if file.suffix == ".csv":
        return _checked(pd.read_csv(file, **options), file)
    # Many tsv files (GLUE's) have no quoting at all: a stray quote would then swallow the rows up to the next one.
    unquoted = {"sep": "\t", "quoting": 3}
    try:
        frame = pd.read_csv(file, sep="\t", **options)
    except pd.errors.ParserError:
        return _checked(pd.read_csv(file, **unquoted, **options), file)
    words = frame.select_dtypes(include=["object", "string"])
    swallowed = any(words[c].str.contains("\n", regex=False, na=False).any() for c in words)
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
