"""Content hashes of files and folders: what a run's identity is made of, whatever the paths are called."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from tlx.errors import UserError
from tlx.record.atomic import atomic

# Nanoseconds: two writes that are nearer to each other than a file system's clock ticks leave one and the same time.
# The coarsest clocks still in use (FAT's) tick every two seconds.
RESOLUTION = 2_000_000_000


def file_hash(path: Path, cache: Path | None = None) -> str:
    """SHA-256 of a file's content, in hex.

    `cache` is a JSON file that remembers hashes by absolute path, size, inode and the times of the last modification
    and the last change of status, which nobody can set, in ns. A file that was changed within RESOLUTION before it was
    read is not remembered: it could change once more and look the same. The cache is made on first use, and ignored and
    written anew when damaged.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    return file_hashes([path], cache)[path]


def file_hashes(paths: Iterable[Path], cache: Path | None = None) -> dict[Path, str]:
    """`file_hash` of many files; the cache is read and written once."""
    known = _read_cache(cache)
    found, new = {}, {}
    for path in paths:
        name = str(path.absolute())
        try:
            # Before reading: should the file change meanwhile, its time will not match what is remembered.
            now, stat = time.time_ns(), path.stat()
            seen = [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
            if known.get(name, [])[:-1] == seen:
                found[path] = str(known[name][-1])
                continue
            with path.open("rb") as file:
                found[path] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
        if stat.st_ctime_ns < now - RESOLUTION and abs(now - stat.st_mtime_ns) > RESOLUTION:
            new[name] = [*seen, found[path]]
    if cache is not None and new:
        # Read again: other processes may have added to it.
        _write_cache(cache, _read_cache(cache) | new)
    return found


def folder_hash(path: Path, cache: Path | None = None, skip: Sequence[str] = ()) -> str:
    """Hash over the names (relative to `path`) and contents of all files in a folder; of one file: its `file_hash`.

    Hidden files and folders are left out (download tools keep time stamps there), and so are files whose name matches
    one of the patterns in `skip` (such as "*.md").

    Raises:
        UserError: nothing there, or nothing to hash.
    """
    if path.is_file():
        return file_hash(path, cache)
    if not path.is_dir():
        raise UserError(f"no such file or folder: {path}.")
    files = [f for f in visible_files(path) if not any(fnmatch(f.name, pattern) for pattern in skip)]
    if not files:
        raise UserError(f"there is no file to hash in {path}.")
    return combined(files, path, cache)


def visible_files(folder: Path) -> list[Path]:
    """All files below a folder, sorted by name; hidden ones (and what lies in hidden folders) left out.

    Links are followed, as in `files_below`.
    """
    return files_below(folder, lambda name: not name.startswith("."))


def files_below(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> list[Path]:
    """All files below a folder, sorted by name from it; files and folders whose name is not `wanted` are left out.

    Folders that are symbolic links are entered, but none from within itself, so that circles end. A folder that may not
    be read counts as empty.
    """
    found: list[Path] = []
    # Those above are noted by place, not all that were seen: two links to one folder are two folders.
    waiting: list[tuple[Path, frozenset[tuple[int, int]]]] = [(folder, frozenset())] if folder.is_dir() else []
    while waiting:
        place, above = waiting.pop()
        try:
            stat = place.stat()
            with os.scandir(place) as listed:
                entries = [entry for entry in listed if wanted(entry.name)]
        except PermissionError:
            continue
        here = (stat.st_dev, stat.st_ino)
        if here in above:
            continue
        for entry in entries:
            path = place / entry.name
            # A path says of a link that leads nowhere, or to itself, that it is neither; an entry needs no look at it.
            known: Path | os.DirEntry[str] = path if entry.is_symlink() else entry
            if known.is_dir():
                waiting.append((path, above | {here}))
            elif known.is_file():
                found.append(path)
    return sorted(found, key=lambda f: f.relative_to(folder).as_posix())


def combined(files: Sequence[Path], root: Path, cache: Path | None) -> str:
    """Hash over the names, relative to `root`, and the contents of these files."""
    hashes = file_hashes(files, cache)
    lines = sorted(f"{Path(os.path.relpath(f, root)).as_posix()}\0{hashes[f]}" for f in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _read_cache(cache: Path | None) -> dict[str, list]:
    if cache is None:
        return {}
    try:
        entries = json.loads(cache.read_bytes())
    except (OSError, ValueError):  # not there yet, or damaged: everything is hashed again
        return {}
    if not isinstance(entries, dict):
        return {}
    return {name: entry for name, entry in entries.items() if isinstance(entry, list) and len(entry) == 5}


def _write_cache(cache: Path, entries: dict[str, list]) -> None:
    with atomic(cache) as file:
        file.write(json.dumps(entries).encode())
