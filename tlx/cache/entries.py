"""Which stores of frozen layers' outputs there are in a cache folder, and making room for more. No torch here."""

import json
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

META = "meta.json"


def features_folder(cache: Path) -> Path:
    """Where the stores of a cache folder (`paths.cache`) lie."""
    return cache / "features"


@dataclass(frozen=True)
class Entry:
    """One store as `tlx cache list` shows it. `bytes` on disk, `used` in seconds since 1970, `about` in words."""

    folder: Path
    bytes: int
    used: float
    about: dict[str, Any]


def entries(root: Path) -> list[Entry]:
    """The finished stores under `root`, the least recently used first."""
    found = []
    for meta in root.glob(f"*/{META}"):
        if meta.parent.suffix == ".draft":
            continue
        try:
            about, used = json.loads(meta.read_text()), meta.stat().st_mtime
        except FileNotFoundError:  # somebody else removed it meanwhile
            continue
        found.append(Entry(meta.parent, int(about["bytes"]), used, about["about"]))
    return sorted(found, key=lambda entry: entry.used)


def remove(folder: Path) -> None:
    """Remove a store; a run that reads it goes on, because its mapping outlives the name."""
    (folder / META).unlink(missing_ok=True)  # first: without it nothing here is a store
    shutil.rmtree(folder, ignore_errors=True)


def make_room(root: Path, need: int, limit: int) -> bool:
    """Whether `need` bytes fit under `limit` and on the disk; the least recently used stores go for them."""
    root.mkdir(parents=True, exist_ok=True)
    if need > limit:
        return False
    with FileLock(root / "room.lock"):
        held = entries(root)
        total = sum(entry.bytes for entry in held)
        for entry in held:
            if total + need <= limit:
                break
            remove(entry.folder)
            total -= entry.bytes
    return need < shutil.disk_usage(root).free


@contextmanager
def making(root: Path, key: str) -> Iterator[None]:
    """Only one process makes the store `key` at a time; who waited finds it made. A killed process holds nothing."""
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f"{key}.lock"):
        yield


def remove_drafts(root: Path, keys: Iterable[str]) -> None:
    """Remove what was written of stores that cannot be finished; call it within `making`."""
    for key in keys:
        shutil.rmtree(root / f"{key}.draft", ignore_errors=True)


def clear(root: Path) -> tuple[int, int]:
    """Remove every store, and what killed processes left of some; returns how many stores and bytes that was."""
    held = entries(root)
    for entry in held:
        remove(entry.folder)
    for draft in root.glob("*.draft"):
        if time.time() - draft.stat().st_mtime > 3600:  # a younger one may be in the making
            shutil.rmtree(draft, ignore_errors=True)
    return len(held), sum(entry.bytes for entry in held)
