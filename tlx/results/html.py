"""Write a table as HTML: one page without network, or the bare table for a page of one's own. Escapes everything."""

from html import escape

from tlx.results.layout import KEY, Block, best_note, blocks
from tlx.results.table import Table

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:1rem 0}"
    "th,td{padding:.25rem .75rem;text-align:right;white-space:nowrap}.key{text-align:left}"
    "thead,tbody{border-top:2px solid;border-bottom:2px solid}.scroll{overflow-x:auto}.warning{font-weight:600}"
)


def to_html(table: Table) -> str:
    """A whole page with the table and its caption."""
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(table.metric)}</title>\n<style>{STYLE}</style>\n{html_table(table)}</html>\n"
    )


def html_table(table: Table) -> str:
    """The table and its caption as a fragment: one `<table>` a section, notes as paragraphs.

    The best score is in `<strong>`, those not distinguishable from it are in `<u>`.
    """
    found = blocks(table)
    parts = [_block(block) for block in found]
    for note in [*table.notes, *best_note(table, found)]:
        kind = ' class="warning"' if note.startswith("Warning:") else ""
        parts.append(f"<p{kind}>{escape(note)}</p>\n")
    return "".join(parts)


def _block(block: Block) -> str:
    kinds = [' class="key"' if kind == KEY else "" for kind in block.kinds]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(block.header, kinds, strict=True))
    body = []
    for number, line in enumerate(block.lines):
        cells = []
        for column, (text, kind) in enumerate(zip(line, kinds, strict=True)):
            shown = escape(text)
            if (number, column) in block.best:
                shown = f"<strong>{shown}</strong>"
            elif (number, column) in block.near:
                shown = f"<u>{shown}</u>"
            cells.append(f"<td{kind}>{shown}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>\n")
    title = f"<h2>{escape(block.title)}</h2>\n" if block.title else ""
    return (
        f'{title}<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{"".join(body)}</tbody>\n'
        "</table></div>\n"
    )
