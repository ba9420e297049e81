"""The errors that users see: what was given, what is allowed, the nearest match, what to do."""

import difflib
import errno
from collections.abc import Iterable


class UserError(Exception):
    """The user's mistake: one readable message, exit code 2, nothing half-written."""


class RunFailed(Exception):
    """A run started and failed: its record holds the error; exit code 1."""


class Killed(Exception):
    """A process that a run needs was ended from outside, not by an error of its own: the run can be taken up again."""


def out_of_space(error: BaseException | None) -> OSError | None:
    """The error of a full disk (or quota) that is behind `error`, or is it: torch hides it. None: there is none."""
    while isinstance(error, Exception):
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return error
        error = error.__cause__ or error.__context__
    return None


def full_disk(error: OSError) -> str:
    """What to say of it."""
    return f"the disk is full: {error}. Free some space; the same command goes on from the last checkpoint."


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """The allowed word most like `given`, or None when nothing is near."""
    found = difflib.get_close_matches(str(given), [str(a) for a in allowed], n=1, cutoff=0.5)
    return found[0] if found else None


def unknown(kind: str, given: object, allowed: Iterable[object], todo: str = "") -> UserError:
    """An error for a word outside a known list, with the nearest match and the list.

    `kind` names what was chosen ("strategy"), `todo` what else the user may do.
    """
    words = [str(a) for a in allowed]
    match = nearest(str(given), words)
    parts = [f"unknown {kind} '{given}'."]
    if match:
        parts.append(f"Did you mean '{match}'?")
    shown = ", ".join(words[:60]) + (", …" if len(words) > 60 else "")
    parts.append(f"Allowed: {shown}." if words else "Nothing is allowed here.")
    if todo:
        parts.append(todo)
    return UserError(" ".join(parts))


def one_line(error: BaseException) -> str:
    """A library's message without its line breaks."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
