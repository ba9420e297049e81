"""The main table of the page: columns with the text that is shown and the value that is sorted by."""

from dataclasses import dataclass
from typing import Any

from tlx.results import layout
from tlx.results.best import BEST, UNDECIDED
from tlx.results.findings import Findings
from tlx.results.naming import NONE, natural, setting

STANDING = {BEST: "number best", UNDECIDED: "number near"}


@dataclass(frozen=True)
class TableCell:
    """`order` sorts the column: rows are numbered by it, so that the page need not know what a value means."""

    text: str
    order: int
    kind: str = ""


@dataclass(frozen=True)
class PageTable:
    """`common` are the settings that all rows share, as (name, value); `cells` are the ids of the rows' cells."""

    common: list[tuple[str, str]]
    headers: list[tuple[str, str]]  # name, explanation
    rows: list[list[TableCell]]
    cells: list[str]


def page_table(findings: Findings) -> PageTable:
    """The rows of the table, without the settings that they all share."""
    table = findings.table
    points = findings.points
    held = {name for point in points for name, value in point.row.items() if value is not None}
    keys = [findings.series_key] + [key for key in findings.varying if key != findings.series_key]
    common = [(key, setting(key, table.rows[0][key])) for key in table.keys if key not in keys]
    columns: list[tuple[str, str, list[TableCell]]] = []

    def add(name: str, why: str, texts: list[str], values: list[Any], kinds: list[str] | None = None) -> None:
        places = {value: i for i, value in enumerate(sorted({natural(value) for value in values}))}
        kinds = kinds or ["number"] * len(texts)
        kinds = [f"{kind} none" if text == NONE else kind for text, kind in zip(texts, kinds, strict=True)]
        cells = [TableCell(t, places[natural(v)], k) for t, v, k in zip(texts, values, kinds, strict=True)]
        columns.append((name, why, cells))

    rows = [point.row for point in points]
    for key in keys:
        add(key, "", [setting(key, row[key]) for row in rows], [row[key] for row in rows], ["key"] * len(rows))
    scores = [layout.spread(row["mean"], row["std"], row["n"]) + layout.marks(row) for row in rows]
    standing = [STANDING.get(row["against_best"], "number") for row in rows]
    why = "mean ± standard deviation over seeds (seeds); bold: the best of its kind, underlined: not told from it"
    add(findings.metric, why, scores, [row["mean"] for row in rows], standing)
    if "gain" in held:
        gains = [layout.gain(row) for row in rows]
        why = "mean paired difference, positive is better [interval that belongs to the verdict: see the caption]"
        add(layout.gain_header(table), why, gains, [row["gain"] for row in rows])
        if "gain_itt" in held:
            why = "the gain over all seeds that began, those that failed at the score of guessing (intention to treat)"
            add("failed = guessing", why, [layout.intended(row) for row in rows], [row["gain_itt"] for row in rows])
        verdicts = [row["verdict"] or NONE for row in rows]
        kinds = [f"verdict {word.replace(' ', '-')}" for word in verdicts]
        add("verdict", "by whether the interval leaves out 0", verdicts, verdicts, kinds)
    for name, header, why, write in (
        ("forgetting", "forgetting", "source score before minus after", lambda v: layout.number(v, "+.3f")),
        ("trainable_share", "trainable", "share of the parameters", layout.share),
        ("seconds", "seconds", "median of a run", layout.seconds),
    ):
        if name in held:
            add(header, why, [write(row[name]) for row in rows], [row[name] for row in rows])
    lacking = [[f"{row[name]} {name}" for name in ("failed", "missing") if row[name]] for row in rows]
    if any(lacking):
        texts = [", ".join(parts) or NONE for parts in lacking]
        add("not done", "runs", texts, [row["failed"] + row["missing"] for row in rows])
    lines = [[cells[i] for *_, cells in columns] for i in range(len(rows))]
    return PageTable(common, [(name, why) for name, why, _ in columns], lines, [point.cell.id for point in points])
