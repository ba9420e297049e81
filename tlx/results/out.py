"""The file that a command is to write, looked at before anything is read or computed."""

import os
from pathlib import Path

from tlx.errors import UserError


def check_out(out: Path, name: str) -> None:
    """Say now what would keep `out` from being written later.

    Args:
        name: what a file of the kind may be called, for the message.

    Raises:
        UserError: `out` is a folder, lies below a file, or in a folder that may not be written.
    """
    if out.is_dir():
        raise UserError(f"-o {out} is a folder: name the file to write, such as {out / name}.")
    place = next(folder for folder in out.absolute().parents if folder.exists())
    if not place.is_dir():
        raise UserError(f"-o {out} cannot be written: {place} is a file, not a folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"-o {out} cannot be written: the folder {place} is not yours to write to.")
