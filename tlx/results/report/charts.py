"""The figures of a page: for each a vega-lite chart of one panel, and the rows of all panels in a compact form."""

from dataclasses import dataclass, field
from typing import Any

from tlx.results.figures import FIGURES, Absent, NotAsked
from tlx.results.figures.palette import Look
from tlx.results.findings import Findings


@dataclass(frozen=True)
class PageFigure:
    """One figure on the page; without `data`, `absent` says which option would give it."""

    kind: str
    title: str
    notes: list[str] = field(default_factory=list)
    legend: dict[str, Look] = field(default_factory=dict)
    panels: list[str] = field(default_factory=list)
    data: dict[str, Any] | None = None
    absent: str | None = None


def page_figures(findings: Findings) -> list[PageFigure]:
    """All figures in the order of the page.

    `data` holds `spec` (vega-lite, over data named "rows"), `fields` and `panels`: name → rows as lists of values in
    the order of `fields`, null where a row has no such value.
    """
    found = []
    for kind in FIGURES:
        figure = kind()
        try:
            picture = figure.picture(findings)
        except NotAsked:
            continue
        except Absent as why:
            found.append(PageFigure(figure.kind, figure.title, absent=str(why)))
            continue
        fields = [name for name in dict.fromkeys(n for row in picture.rows for n in row) if name != "panel"]
        panels = {name: [[_short(row.get(f)) for f in fields] for row in rows] for name, rows in picture.panels.items()}
        spec = figure.chart(picture)
        spec.pop("$schema", None)
        spec.pop("config", None)  # the page has one for all
        spec["description"] = f"{figure.title}. {picture.notes[0]}"
        legend = picture.looks if figure.legend else {}
        data = {"spec": spec, "fields": fields, "panels": panels}
        found.append(PageFigure(figure.kind, figure.title, picture.notes, legend, list(picture.panels), data))
    return found


def _short(value: Any) -> Any:
    """Five digits are more than a screen shows, and make the page half as large."""
    return float(f"{value:.5g}") if isinstance(value, float) else value
