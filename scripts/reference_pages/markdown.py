"""Tables in markdown, of texts that were not written for it."""

import html
import re
from collections.abc import Iterable, Sequence

_MARKED = re.compile(r"(`[^`]*`)")


def cell(text: str) -> str:
    """A comment or help text as a table's cell: what markdown or HTML would take for its own is shown as it is."""
    parts = _MARKED.split(" ".join(text.split()))
    return "".join(code(part[1:-1]) if _MARKED.fullmatch(part) else _plain(part) for part in parts)


def code(text: str) -> str:
    """Text as code, in a table's cell."""
    if "|" in text or "`" in text:
        return f"<code>{html.escape(text, quote=False).replace('|', '&#124;').replace('`', '&#96;')}</code>"
    return f"`{text}`"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table, whose cells are markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines]


def _plain(text: str) -> str:
    return re.sub(r"([\\*_\[\]])", r"\\\1", html.escape(text, quote=False)).replace("|", "&#124;")
