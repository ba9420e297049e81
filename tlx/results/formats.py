"""Write a table as Markdown, LaTeX, HTML, CSV or JSON.

Markdown, LaTeX and HTML are for people: scores with three decimals, sections, only the columns that hold something. CSV
and JSON carry the rows with all their digits; JSON is one object whose keys are a contract (see `Table`).
"""

import csv
import io
import json
from collections.abc import Callable

from tlx.errors import unknown
from tlx.results.html import to_html
from tlx.results.latex import to_latex
from tlx.results.layout import blocks
from tlx.results.table import Table


def render(table: Table, format: str = "md") -> str:
    """The table as text, ending in a line break.

    Raises:
        UserError: a format that does not exist.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    return FORMATS[format](table)


def to_markdown(table: Table) -> str:
    parts = []
    for block in blocks(table):
        lines = [[_md(cell) for cell in line] for line in [block.header, *block.lines]]
        widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(block.header))]
        padded = [
            [cell.ljust(width) if i < block.keys else cell.rjust(width) for i, (cell, width) in enumerate(pairs)]
            for pairs in (list(zip(line, widths, strict=True)) for line in lines)
        ]
        rule = ["-" * width if i < block.keys else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
        padded.insert(1, rule)
        title = f"**{_md(block.title)}**\n\n" if block.title else ""
        parts.append(title + "\n".join("| " + " | ".join(line) + " |" for line in padded) + "\n")
    return "\n".join([*parts, "\n".join(table.notes) + "\n"])


def _md(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "\\<")  # no name opens a tag or a column


def to_csv(table: Table) -> str:
    """The rows, one line each, empty where a thing does not exist; with --rows or --columns the grid as it is shown."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if table.pivot:
        for block in blocks(table):
            writer.writerow(["metric", *block.header])
            writer.writerows([block.metric, *line] for line in block.lines)
        return out.getvalue()
    writer.writerow(table.rows[0])
    for row in table.rows:
        writer.writerow([json.dumps(v) if isinstance(v, list | dict) else v for v in row.values()])
    return out.getvalue()


def to_json(table: Table) -> str:
    data: dict = {
        "metric": table.metric,
        "baseline": table.baseline,
        "rows": table.rows,
        "caption": table.caption,
        "metrics": table.metrics,
        "directions": table.directions,
        "keys": table.keys,
        "warnings": [note for note in table.notes if note.startswith("Warning:")],
    }
    if grid := table.pivot:
        places = [[None if row is None else table.rows.index(row) for row in line] for line in grid.places]
        data["grid"] = {
            "rows": [dict(zip(grid.down, values, strict=True)) for values in grid.down_values],
            "columns": [dict(zip(grid.across, values, strict=True)) for values in grid.across_values],
            "places": places,  # [i][j]: the number of the row that stands there, or null
        }
    return json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


FORMATS: dict[str, Callable[[Table], str]] = {
    "md": to_markdown,
    "latex": to_latex,
    "html": to_html,
    "csv": to_csv,
    "json": to_json,
}
