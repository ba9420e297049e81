"""What tells of a run while it goes on: the lock on its folder, its progress, and its log."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

PROGRESS = "progress.json"  # written by tlx.callbacks.progress.ProgressFile


class Busy(Exception):
    """Another process, here or on another machine, is working on the run."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the operating system releases when the process dies.

    Raises:
        Busy: somebody else holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise Busy(f"{folder.name} is being worked on by another process") from error
    try:
        yield
    finally:
        lock.release()


def held(folder: Path) -> bool:
    """Whether a process holds the folder's lock; True where nobody can tell (a file system without locks).

    It is tried for an instant; who wants the lock in that instant finds it busy and tries again.
    """
    try:
        with (folder / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def read_progress(folder: Path) -> dict[str, Any]:
    """What the run in `folder` last said of its progress; {} when it said nothing."""
    try:
        return json.loads((folder / PROGRESS).read_text())
    except (OSError, ValueError):
        return {}


def log_tail(folder: Path, lines: int = 20) -> list[str]:
    """The last lines of what a run's process printed; of a long log only the end is read."""
    try:
        with (folder / "log.txt").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 2**16))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []
