"""Reading the pages under docs/: tables, and texts without their code."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def tables(page: str, first: str) -> list[dict[str, str]]:
    """The rows of all tables of docs/`page` whose first column is called `first`, by their columns' names."""
    rows: list[dict[str, str]] = []
    header: list[str] = []
    for line in (DOCS / page).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            header = []
        elif not header:
            header = cells
        elif header[0] == first and not set(line) <= set("|- "):
            assert len(cells) == len(header), f"{page}: a row has {len(cells)} cells: {line}"
            rows.append(dict(zip(header, cells, strict=True)))
    return rows


def sources() -> dict[str, str]:
    """The text of every Python file of tlx, by its path from the root of the repository."""
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted((ROOT / "tlx").rglob("*.py"))}
