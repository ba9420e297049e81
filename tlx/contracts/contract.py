"""How a contract says that it is broken, or that it cannot be tried here."""

from typing import Any

import torch


class Broken(AssertionError):
    """A contract does not hold: why, in words, and what to do."""


class Left(Exception):
    """A contract that cannot be tried here, with the reason."""


def hold(true: Any, why: str) -> None:
    """Go on where a contract holds.

    Raises:
        Broken: it does not, with `why`.
    """
    if not true:
        raise Broken(why)


def close(got: Any, wanted: Any, why: str, **tolerance: float) -> None:
    """Go on where two tensors are equal within torch's tolerance of their type, or the one given (`rtol`, `atol`).

    Raises:
        Broken: they are not, with `why` and by how much.
    """
    try:
        torch.testing.assert_close(got, wanted, **tolerance)  # type: ignore[arg-type]
    except AssertionError as error:
        lines = [line for line in str(error).splitlines() if line.startswith(("Greatest", "Mismatched", "The "))]
        raise Broken(f"{why} ({'; '.join(lines) or error})") from error


def some(names: Any, most: int = 5) -> str:
    """The first few of some names."""
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
