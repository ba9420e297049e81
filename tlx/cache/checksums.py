"""Whether a store is as it was written: a CRC-32 of every block of its files, and of its description. No torch here.

Disks and copies change bytes without a word, and whoever reads them computes with what is there. CRC-32 finds every
damage of up to 32 bits in a row, and of any other all but one in four billion.
"""

import json
import sys
import zlib
from pathlib import Path
from typing import Any

META = "meta.json"
SIZE = 2**22  # bytes of a block
_CHECKED: dict[Path, tuple] = {}  # what this process has read and found whole: the states of the files
_NOTED: list[str] = []


class DamagedStore(Exception):
    """A store is not as it was written; the message says where."""


class Unchecked(Exception):
    """A store of an earlier version, which wrote no checksums."""


def of_file(file: Path) -> list[int]:
    """The CRC-32 of each block of SIZE bytes."""
    found = []
    with file.open("rb", buffering=0) as stream:
        while block := stream.read(SIZE):
            found.append(zlib.crc32(block))
    return found


def sealed(meta: dict[str, Any]) -> bytes:
    """A description as it is written, with the checksum of the rest of it."""
    return json.dumps({**meta, "checksum": _of_description(meta)}).encode()


def _of_description(meta: dict[str, Any]) -> int:
    plain = json.loads(json.dumps({key: value for key, value in meta.items() if key != "checksum"}))
    return zlib.crc32(json.dumps(plain, sort_keys=True).encode())


def read_description(folder: Path) -> dict[str, Any]:
    """What the `meta.json` in a store says.

    Raises:
        FileNotFoundError: there is no store.
        DamagedStore: the description is not as it was written.
    """
    try:
        meta = json.loads((folder / META).read_bytes())
        whole = "checksum" not in meta or meta["checksum"] == _of_description(meta)
        if whole and isinstance(meta["about"], dict) and int(meta["bytes"]) >= 0:
            return meta
    except (ValueError, KeyError, TypeError):
        pass
    raise DamagedStore(META)


def check(folder: Path, meta: dict[str, Any]) -> None:
    """Read a store's files and compare them with its description; once in a process, unless they changed since.

    Raises:
        FileNotFoundError: the store was removed meanwhile.
        DamagedStore: a block is not as it was written.
        Unchecked: nobody knows.
    """
    known = meta.get("checksums")
    if known is None or "checksum" not in meta:
        raise Unchecked
    missing = [name for name in known if not (folder / name).is_file()]
    if missing and (folder / META).is_file():
        raise DamagedStore(f"{missing[0]}: it is gone")
    state = (meta["checksum"], *(_state(folder / name) for name in known))
    if _CHECKED.get(folder) == state:
        return
    for name, blocks in known.items():
        found = of_file(folder / name)
        wrong = [n for n, (a, b) in enumerate(zip(found, blocks, strict=False)) if a != b]
        if wrong or len(found) != len(blocks):
            where = f"block {wrong[0] + 1} of {len(blocks)}" if wrong else "its size"
            raise DamagedStore(f"{name}: {where}")
    _CHECKED[folder] = state


def _state(file: Path) -> tuple[int, ...]:
    stat = file.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def note(what: Path | str, error: DamagedStore) -> None:
    """Say that something kept was damaged and is made again: to whoever looks on, and in the record of the run."""
    text = f"{what} was damaged ({error}): it was removed and is made again."
    _NOTED.append(text)
    print(f"tlx: {text}", file=sys.stderr, flush=True)


def noted() -> list[str]:
    """What was noted in this process since this was asked last."""
    found = list(_NOTED)
    _NOTED.clear()
    return found
