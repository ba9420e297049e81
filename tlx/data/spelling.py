"""Labels that are spelled differently and may be meant as one."""

import re
import unicodedata
from collections.abc import Callable, Sequence

from tlx.errors import nearest

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?inf(inity)?", re.IGNORECASE)
CODE = re.compile(r"[-+]?0\d")  # how a code begins, such as 01: not a number however it is written
# What makes two labels look alike: what it is called, and what takes it away.
DIFFERENCES: dict[str, Callable[[str], str]] = {
    "spaces": lambda name: " ".join(name.split()),
    "upper and lower case": str.casefold,
    "the Unicode form of its letters": lambda name: unicodedata.normalize("NFKC", name),
    "how the number is written": lambda name: str(float(name)) if NUMBER.fullmatch(name) else name,
}


def alike(name: str, known: Sequence[str]) -> tuple[str | None, str]:
    """The one of `known` most like `name`, and in what alone they differ, where it is only the spelling."""
    for what, plain in DIFFERENCES.items():
        for other in known:
            if plain(name) == plain(other):
                return other, f", which differs in {what} alone"
    plainest = {_plain(other): other for other in known}
    if _plain(name) in plainest:
        return plainest[_plain(name)], ", which differs in spelling alone"
    return nearest(name, known), ""


def twins(names: Sequence[str]) -> tuple[str, str] | None:
    """The first two of `names` that may well be one label; None where all are different.

    Not those that may well be meant: single letters in two cases (pictures of characters), codes with leading zeros.
    """
    known: dict[str, str] = {}
    for name in names:
        letter = len(name.strip()) == 1 and name.strip().isalpha()
        plain = _spaced(name) if letter or CODE.match(name) else _plain(name)
        if plain in known:
            return known[plain], name
        known[plain] = name
    return None


def _spaced(name: str) -> str:
    return unicodedata.normalize("NFKC", " ".join(name.split()))


def _plain(name: str) -> str:
    for plain in DIFFERENCES.values():
        name = plain(name)
    return name
