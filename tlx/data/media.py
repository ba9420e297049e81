"""Images and clips that tables hold: encoded bytes, or paths relative to the folder of the table."""

import itertools
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from tlx.data.table_files import read_table
from tlx.errors import UserError

# Of all formats that Pillow and libsndfile read by themselves: the first are those that people should write.
ENDINGS = {
    "image": (
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".webp", ".gif", ".tif", ".tiff", ".apng", ".mpo"),
        *(".avif", ".avifs", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".pbm", ".pgm", ".ppm", ".pnm", ".pfm"),
        *(".tga", ".icb", ".vda", ".vst", ".qoi", ".pcx", ".dcx", ".dds", ".psd", ".ico", ".cur", ".icns", ".sgi"),
        *(".rgb", ".rgba", ".bw", ".ras", ".xbm", ".xpm", ".im", ".msp", ".fli", ".flc", ".fit", ".fits", ".blp"),
        *(".ftc", ".ftu", ".gbr", ".pcd", ".pxr"),
    ),
    "audio": (
        *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aiff", ".aif", ".aifc", ".wave", ".w64", ".rf64"),
        *(".au", ".snd", ".caf", ".voc", ".sph", ".nist", ".sf", ".ircam", ".avr", ".iff", ".8svx", ".svx", ".paf"),
        *(".pvf", ".htk", ".sds", ".sd2", ".xi", ".wve"),
    ),
}
LOOK = 100  # rows looked at to tell whether a table names files


def unpack(frame: pd.DataFrame, modality: str, folder: Path) -> pd.DataFrame:
    """Media cells as bytes or absolute paths. Raises UserError for files that are referred to and missing."""
    for column in frame.columns:
        values = frame[column]
        first = values[values.first_valid_index()] if values.notna().any() else None
        if isinstance(first, dict) and {"bytes", "path"} & set(first):
            cells = [_cell(v) if isinstance(v, dict) else v for v in values]
        elif _is_path(first, str(column), modality):
            cells = values.tolist()
        else:
            continue
        absolute = [str(folder / v) if isinstance(v, str) else v for v in cells]
        missing = [v for v in absolute if isinstance(v, str) and not is_file(Path(v))]
        # A column such as `source_path` may only say where an image once came from; then no such file exists.
        if missing and (column == modality or len(missing) < sum(isinstance(v, str) for v in absolute)):
            raise UserError(
                f"{len(missing)} of {len(absolute)} files that the column '{column}' names do not exist, such as "
                f"{missing[0]}. Paths are relative to the folder of their table."
            )
        if not missing or isinstance(first, dict):
            frame[column] = pd.Series(absolute, index=frame.index, dtype=object)
    return frame


def _cell(value: dict[str, Any]) -> Any:
    return value["bytes"] if value.get("bytes") is not None else value.get("path")


def _is_path(value: Any, column: str, modality: str) -> bool:
    endings = ENDINGS.get(modality)
    return bool(endings) and isinstance(value, str) and (column == modality or value.lower().endswith(endings or ()))


def references(file: Path, encoding: str | None = None) -> set[Path]:
    """Existing images and clips that a table names; where its first rows name none, the rest is not read."""
    if file.suffix == ".npz":
        return set()
    stat = file.stat()
    state = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if not any(is_file(place) for place in _named(file, encoding, state, LOOK)):
        return set()
    return {place for place in _named(file, encoding, state, None) if is_file(place)}


def is_file(path: Path) -> bool:
    """Whether there is such a file; there is none of a name that no file can have, such as a long sentence."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


@lru_cache(maxsize=32)  # every run of a study asks this of the same tables
def _named(file: Path, encoding: str | None, state: tuple[int, ...], rows: int | None) -> tuple[Path, ...]:
    """The files, there or not, that the rows of a table name while it is in this state."""
    frame = read_table(file, rows, encoding)
    found = set()
    for column, modality in itertools.product(frame.columns, ENDINGS):
        for value in frame[column]:
            name = _cell(value) if isinstance(value, dict) else value
            if _is_path(name, str(column), modality):
                found.add(file.parent / name)
    return tuple(found)
