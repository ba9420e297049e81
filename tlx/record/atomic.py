"""Files that are either whole or absent: written beside, flushed to disk, then moved into place."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tlx.errors import out_of_space


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which becomes `path` when the block ends: a reader sees the old file or the new one.

    The folder is made when absent. A crash at any moment leaves at most a hidden `.NAME.*.tmp` behind; an exception
    removes it.

    Raises:
        OSError: the folder cannot be written or the disk is full, naming `path`; an older file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        full = out_of_space(error)
        if full is not None:
            raise OSError(full.errno, full.strerror, str(path)) from error
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the move itself survive a power cut, where the system lets a folder be opened (Windows does not)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
