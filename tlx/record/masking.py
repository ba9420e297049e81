"""Passwords and tokens stay out of what is kept: records, plans, registry cards and copies hold a reference instead.

A secret is the value of an environment variable whose name says so (…_KEY, …TOKEN, …SECRET, …PASSWORD, …PWD, …PAT) or
that TLX_SECRETS lists (NAME,NAME), however it came into a config or a message: by `${oc.env:NAME}`, by the shell, or
from a library's error. What is kept has `${oc.env:NAME}` in its place, from which a rerun reads it again. A value of
fewer than LEAST characters is not recognised.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlx.errors import UserError
from tlx.record.atomic import atomic

LEAST = 8  # characters; what is shorter may be part of any word
# At the end of a word, with or without a word before; PAT (a personal access token) and KEY stand alone, as the
# ends of COMPAT and MONKEY say nothing. PWD and OLDPWD are folders.
NAMES = re.compile(
    r"(?!(OLD)?PWD$)(.*_)?"
    r"(KEY|PASS|PAT|CREDENTIALS?|[A-Z0-9]*(PASSWORD|PASSWD|PASSPHRASE|SECRETS?|SECRETKEY|TOKEN|APIKEY|PWD))"
    r"($|_(?!(.*_)?(PATH|FILE|DIR)$))",
    re.IGNORECASE,
)
REFERENCE = re.compile(r"\$\{oc\.env:(\w+)\}")


def masked(value: Any) -> Any:
    """A copy of plain data with every secret in its strings replaced by `${oc.env:NAME}`."""
    found = _secrets()
    if not found:
        return value
    pattern = re.compile("|".join(re.escape(secret) for secret in sorted(found, key=len, reverse=True)))
    return _changed(value, lambda text: pattern.sub(lambda match: f"${{oc.env:{found[match.group()]}}}", text))


def mask_file(path: Path) -> None:
    """Replace every secret in a text file, as `masked` does; a file without one, or that is not there, is left alone.

    Raises:
        OSError: it cannot be read or written.
    """
    if not path.is_file():
        return
    # Bytes that are no text go through as they are.
    text = path.read_bytes().decode(errors="surrogateescape")
    if (clean := masked(text)) != text:
        with atomic(path) as file:
            file.write(clean.encode(errors="surrogateescape"))


def unmasked(value: Any) -> Any:
    """A copy with the references of `masked` replaced by what this process's environment has.

    Raises:
        UserError: the environment lacks one.
    """

    def read(match: re.Match[str]) -> str:
        if match.group(1) not in os.environ:
            raise UserError(f"the environment variable {match.group(1)}, which a run's config names, is not set here.")
        return os.environ[match.group(1)]

    return _changed(value, lambda text: REFERENCE.sub(read, text))


def _secrets() -> dict[str, str]:
    """Values of secret variables, with their names."""
    listed = set(filter(None, os.environ.get("TLX_SECRETS", "").replace(" ", "").split(",")))
    return {
        value: name
        for name, value in sorted(os.environ.items())
        if len(value) >= LEAST and (name in listed or NAMES.match(name))
    }


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _changed(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_changed(inner, change) for inner in value]
    return value
