"""Write a table as Markdown, LaTeX (booktabs), CSV or JSON.

Markdown and LaTeX are for people: scores with three decimals, sections, only the columns that hold something. CSV and
JSON carry the rows with all their digits; JSON is one object whose keys are a contract (see `Table`).
"""

import csv
import io
import json
import re
from collections.abc import Callable
from itertools import groupby

from tlx.errors import unknown
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
    return text.replace("\\", "\\\\").replace("|", "\\|")


def to_latex(table: Table) -> str:
    """A `table` environment for `\\usepackage{booktabs}`; sections are set inside one tabular."""
    lines = [r"% needs \usepackage{booktabs}"]
    for header, group in groupby(blocks(table), key=lambda block: block.header):
        parts = list(group)
        keys = parts[0].keys
        lines += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(table.caption)}}}",
            rf"\begin{{tabular}}{{{'l' * keys}{'r' * (len(header) - keys)}}}",
            r"\toprule",
            _tex_line(header),
        ]
        for block in parts:
            lines.append(r"\midrule")
            if block.title:
                lines += [rf"\multicolumn{{{len(header)}}}{{l}}{{\textit{{{_tex(block.title)}}}}} \\", r"\midrule"]
            lines += [_tex_line(line, block.keys) for line in block.lines]
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _tex_line(cells: list[str], keys: int | None = None) -> str:
    """One line of a tabular; in the columns after the first `keys` signed numbers are set as mathematics."""
    texts = [_tex(cell) for cell in cells]
    if keys is not None:
        texts[keys:] = [re.sub(r"[+-]\d+(\.\d+)?", r"$\g<0>$", text) for text in texts[keys:]]
    return " & ".join("{" + text + "}" if text.startswith("[") else text for text in texts) + r" \\"


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "…": r"\dots{}",
    "≤": r"$\leq$",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "<": "$<$",
    ">": "$>$",
} | {character: "\\" + character for character in "&%$#_{}"}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)


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


FORMATS: dict[str, Callable[[Table], str]] = {"md": to_markdown, "latex": to_latex, "csv": to_csv, "json": to_json}
