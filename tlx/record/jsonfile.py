"""JSON files: strict, and either whole or absent."""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tlx.errors import UserError
from tlx.record.atomic import atomic

DECODER = json.JSONDecoder(parse_constant=lambda _: None)  # one for all: a table reads ten thousand records


class Damaged(UserError):
    """A JSON file that cannot be read: cut short, not JSON, or without what it must hold."""


def write_json(path: Path, data: dict) -> None:
    """Write `data` as strict JSON, whole or not at all (`tlx.record.atomic`).

    Raises:
        TypeError: a value that JSON cannot hold, with its place.
        ValueError: NaN or infinity (JSON has neither), see `plain`.
        OSError: the folder cannot be written; the old file is untouched.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    with atomic(path) as file:
        file.write(text.encode())


def write_json_rows(path: Path, data: dict, name: str, rows: Iterable[dict]) -> None:
    """`write_json` of `data` with the list of `rows` as its last entry `name`: each made in its turn, on its own line.

    Raises:
        As `write_json`.
    """
    head = json.dumps(data, ensure_ascii=False, allow_nan=False)[:-1] + (", " if data else "")
    with atomic(path) as file:
        file.write(f"{head}{json.dumps(name)}: [".encode())
        for number, row in enumerate(rows):
            text = json.dumps(row, ensure_ascii=False, allow_nan=False)
            file.write(f"{',' if number else ''}\n{text}".encode())
        file.write(b"\n]}\n")


def read_json_rows(path: Path, name: str, wanted: Callable[[str], bool]) -> dict | None:
    """What `read_json` gives for a file of `write_json_rows`, but that of the rows `name` only those that are `wanted`.

    `wanted` is asked with a row's text. A file that is laid out otherwise is read as a whole.

    Raises:
        Damaged: as `read_json`; a row that is not wanted may be anything.
    """
    try:
        head, *rows = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        return read_json(path)  # which has the words for it
    if not head.endswith(f"{json.dumps(name)}: [") or rows[-2:] != ["]}", ""]:
        return read_json(path)
    try:
        found: dict = DECODER.decode(head + "]}")
        found[name] = [DECODER.decode(row.removesuffix(",")) for row in rows[:-2] if wanted(row)]
    except ValueError:
        return read_json(path)
    return found


def read_json(path: Path) -> dict | None:
    """The object in `path`, or None when there is no such file.

    NaN and infinities, which are no JSON but which other programs write, become None as `plain` would make them.

    Raises:
        Damaged: the file is there but is not one JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Damaged(f"cannot read {path}: {error}") from error
    try:
        data = DECODER.decode(text)
    except ValueError as error:
        raise Damaged(f"{path} is damaged (not whole JSON: {error}). Remove it and run again.") from error
    if not isinstance(data, dict):
        raise Damaged(f"{path} is damaged (a JSON {type(data).__name__}, not an object). Remove it and run again.")
    return data


def plain(value: Any, where: str = "") -> tuple[Any, dict[str, str]]:
    """`value` as what strict JSON can hold, and the numbers it cannot hold.

    Numbers of numpy and torch become Python's, tuples lists, paths strings, keys strings. NaN and infinities become
    None; their dotted places and names ("nan", "inf", "-inf") come back beside the value.

    Raises:
        TypeError: anything else, with its place.
    """
    lost: dict[str, str] = {}
    return _plain(value, where, lost), lost


def _plain(value: Any, where: str, lost: dict[str, str]) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        lost[where] = str(float(value))
        return None
    if isinstance(value, dict):
        return {str(k): _plain(v, f"{where}.{k}" if where else str(k), lost) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, f"{where}.{i}", lost) for i, v in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:  # a number of numpy or torch
        return _plain(value.item(), where, lost)
    raise TypeError(f"{where or 'the value'} is a {type(value).__name__}, which JSON cannot hold")
