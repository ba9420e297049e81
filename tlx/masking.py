"""Passwords and tokens stay out of what is kept: records, plans, registry cards and copies hold a reference instead.

A secret is the value of an environment variable whose name says so (…_KEY, …_TOKEN, …SECRET…, …PASSWORD…) or that
TLX_SECRETS lists (NAME,NAME), however it came into a config or a message: by `${oc.env:NAME}`, by the shell, or from a
library's error. What is kept has `${oc.env:NAME}` in its place, from which a rerun reads it again.
"""

import os
import re
from collections.abc import Callable
from typing import Any

from tlx.errors import UserError

LEAST = 8  # characters; what is shorter may be part of any word
NAMES = re.compile(
    r"(^|_)(KEY|APIKEY|TOKEN|PASS|PASSWD|PASSWORD|PASSPHRASE|SECRET|SECRETS|CREDENTIAL|CREDENTIALS)($|_(?!PATH|FILE|DIR))",
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
        if len(value) >= LEAST and (name in listed or NAMES.search(name))
    }


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _changed(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_changed(inner, change) for inner in value]
    return value
