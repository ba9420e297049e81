"""Which stores there are in a cache folder, putting new ones in their place, and making room for more. No torch here.

Three kinds are kept under one limit: what frozen layers made of examples, the encoded examples, and the scores of
pretrained networks on their source task. A store is a folder with a `meta.json`: without it, or with the ending .draft,
it is none.
"""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from tlx.cache.checksums import META, DamagedStore, Unchecked, check, note, of_file, read_description, sealed
from tlx.record.atomic import atomic

GB = 10**9
KINDS = FEATURES, PREPARED, SCORES = "features", "prepared", "scores"


def limit_of(config: dict[str, Any]) -> int:
    """The bytes that all stores together may take, by a run's config (`cache_limit`, in GB)."""
    return int(config["cache_limit"] * GB)


def features_folder(cache: Path) -> Path:
    """Where in a cache folder (`paths.cache`) the outputs of frozen layers lie."""
    return cache / FEATURES


def prepared_folder(cache: Path) -> Path:
    """Where in a cache folder (`paths.cache`) the encoded examples lie."""
    return cache / PREPARED


def scores_folder(cache: Path) -> Path:
    """Where in a cache folder (`paths.cache`) the scores of pretrained networks lie."""
    return cache / SCORES


@dataclass(frozen=True)
class Entry:
    """One store as `tlx cache list` shows it. `bytes` on disk, `used` in seconds since 1970, `about` in words.

    `damaged`: nobody can read what it holds; then `about` is empty, and it is the first to go.
    """

    folder: Path
    bytes: int
    used: float
    about: dict[str, Any]
    damaged: bool = False

    @property
    def kind(self) -> str:
        """One of KINDS."""
        return self.folder.parent.name


def entries(cache: Path) -> list[Entry]:
    """The finished stores of all kinds in a cache folder, the least recently used first."""
    found = []
    for meta in (meta for kind in KINDS for meta in (cache / kind).glob(f"*/{META}")):
        if meta.parent.suffix == ".draft":
            continue
        try:
            about, used = read_description(meta.parent), meta.stat().st_mtime
        except FileNotFoundError:  # somebody else removed it meanwhile
            continue
        except DamagedStore:
            found.append(Entry(meta.parent, _size(meta.parent), 0.0, {}, damaged=True))
            continue
        found.append(Entry(meta.parent, int(about["bytes"]), used, about["about"]))
    return sorted(found, key=lambda entry: entry.used)


def _size(folder: Path) -> int:
    try:
        return sum(file.stat().st_size for file in folder.iterdir())
    except OSError:  # somebody else removed it meanwhile
        return 0


def verified(folder: Path) -> dict[str, Any] | None:
    """The description of a store that is as it was written; None where there is none.

    A damaged one is removed, and said to be. One of an earlier version, of which nobody knows, counts as none.
    """
    try:
        meta = read_description(folder)
        check(folder, meta)
    except (FileNotFoundError, Unchecked):
        return None
    except DamagedStore as error:
        note(folder, error)
        remove(folder)
        return None
    return meta


def damage(cache: Path) -> tuple[list[tuple[Path, str]], int, int]:
    """All stores read and compared with their descriptions: (damaged store, where) each; numbers of stores and of those
    of an earlier version, which cannot be compared.
    """
    found, unknown, held = [], 0, entries(cache)
    for entry in held:
        try:
            check(entry.folder, read_description(entry.folder))
        except FileNotFoundError:  # somebody removed it meanwhile
            continue
        except DamagedStore as error:
            found.append((entry.folder, str(error)))
        except Unchecked:
            unknown += 1
    return found, len(held), unknown


def remove(folder: Path) -> None:
    """Remove a store; a run that reads it goes on, because its mapping outlives the name."""
    (folder / META).unlink(missing_ok=True)  # first: without it nothing here is a store
    shutil.rmtree(folder, ignore_errors=True)


def make_room(root: Path, need: int, limit: int) -> bool:
    """Whether `need` bytes in `root` fit under `limit` and on the disk; the least recently used stores go for them.

    The limit is one for the whole cache folder in which `root` is the folder of a kind.
    """
    root.mkdir(parents=True, exist_ok=True)
    if need > limit:
        return False
    with FileLock(root.parent / "room.lock"):
        held = entries(root.parent)
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


def new_draft(root: Path, key: str) -> Path:
    """An empty folder to write the store `key` in; call it within `making`: what a killed writer left there goes."""
    draft = root / f"{key}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    return draft


def describe(draft: Path, about: dict[str, Any], **more: Any) -> None:
    """Write what the store is: its size, `about` in words, what `more` its reader needs to know, and its checksums."""
    files = sorted(f for f in draft.iterdir() if f.name != META)
    size = sum(f.stat().st_size for f in files)
    checksums = {f.name: of_file(f) for f in files}
    with atomic(draft / META) as file:
        file.write(sealed({"bytes": size, **more, "checksums": checksums, "about": about}))


def put_in_place(draft: Path) -> Path:
    """Make a described draft the store; returns its folder."""
    folder = draft.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    return draft.rename(folder)


def remove_drafts(root: Path, keys: Iterable[str]) -> None:
    """Remove what was written of stores that cannot be finished; call it within `making`."""
    for key in keys:
        shutil.rmtree(root / f"{key}.draft", ignore_errors=True)


def clear(cache: Path) -> tuple[int, int]:
    """Remove every store, and what killed processes left of some; returns how many stores and bytes that was."""
    held = entries(cache)
    for entry in held:
        remove(entry.folder)
    left = [place for kind in KINDS for place in (cache / kind).glob("*") if place.is_dir()]
    for place in left:  # drafts, and what a killed process had begun to remove
        if time.time() - place.stat().st_mtime > 3600:  # a younger one may be in the making
            shutil.rmtree(place, ignore_errors=True)
    return len(held), sum(entry.bytes for entry in held)
