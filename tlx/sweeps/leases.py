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
def lease(devices: Sequence[str], per_device: int) -> Iterator[str]:
    """Wait for a free place on one of `devices`, each of which takes `per_device` runs, and hold it.

    Places are filled device by device, so that runs spread over all devices before any of them is shared.
    """
    folder = lease_folder()
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for number in range(per_device):
            for device in devices:
                lock = FileLock(folder / f"{device}-{number}.lock")
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
                try:
                    yield device
                finally:
                    lock.release()
                return
        time.sleep(PAUSE)
