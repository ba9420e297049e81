"""Leases: which run holds which GPU. One locked file a place, so that a dead process holds nothing."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

PAUSE = 0.1  # seconds between two looks for a free place


def lease_folder() -> Path:
    """Where this machine's leases lie: the same for all studies of all of a user's processes (or TLX_LEASES)."""
    given = os.environ.get("TLX_LEASES")
    return Path(given) if given else Path(tempfile.gettempdir()) / f"tlx-leases-{os.getuid()}"


@contextmanager
def lease(devices: Sequence[str], per_device: int, count: int = 1) -> Iterator[tuple[str, ...]]:
    """Wait for free places on `count` of the `devices`, each of which takes `per_device` runs, and hold them.

    Places are filled device by device, so that runs spread over all devices before any of them is shared. Who needs
    several takes all at once or none: two runs that each held one would wait for each other.
    """
    folder = lease_folder()
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        with FileLock(folder / "choosing.lock"):
            held = _free(folder, devices, per_device, count)
        if held:
            break
        time.sleep(PAUSE)
    try:
        yield tuple(held)
    finally:
        for lock in held.values():
            lock.release()


def _free(folder: Path, devices: Sequence[str], per_device: int, count: int) -> dict[str, FileLock]:
    """Locks on a place on each of `count` devices, by device; none where so many are not free."""
    held: dict[str, FileLock] = {}
    for number in range(per_device):
        for device in devices:
            if device in held:
                continue
            lock = FileLock(folder / f"{device}-{number}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            held[device] = lock
            if len(held) == count:
                return held
    for lock in held.values():
        lock.release()
    return {}
