"""How far each layer group moved from where it began: 1 − linear CKA of its features."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tlx.results.cells import Cell
from tlx.results.figures.figure import Absent, Figure, Picture, Row
from tlx.results.findings import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

PREFIX = "cka/"
COLOURS: Any = "cividis"


class Drift(Figure):
    """Rows: series, group, place (0 is the stem), drift (mean of 1 − CKA over seeds, 0 to 1), n."""

    kind = "drift"
    title = "Drift of each layer group"
    legend = False
    colour_title = "drift (1 − CKA)"

    def picture(self, findings: Findings) -> Picture:
        rows: list[Row] = []
        for point in findings.points:
            for place, group in enumerate(_groups(point.cell)):
                scores = list(point.cell.scores(PREFIX + group).values())
                if scores:
                    row = {"panel": point.panel, "series": point.series, "group": group, "place": place}
                    rows.append({**row, "drift": 1 - fmean(scores), "n": len(scores)})
        if not rows:
            raise Absent("no record compares the features before and after adaptation: add measures=[drift].")
        notes = [
            "1 − linear CKA between the features before and after training, mean over seeds: 0 is unchanged. Where "
            "training began with random weights, it is the distance from those."
        ]
        series = [name for name in findings.series if any(row["series"] == name for row in rows)]
        return Picture(rows, notes, series, findings.table.baseline)

    def height(self, rows: Sequence[Row]) -> float:
        return 0.9 + 0.3 * len({row["series"] for row in rows})

    def chart(self, picture: Picture) -> dict[str, Any]:
        import altair as alt

        from tlx.results.figures import marks

        tallest = max(picture.panels.values(), key=lambda rows: len({row["series"] for row in rows}))
        most = _most(picture)
        crowded = max(len({row["group"] for row in rows}) for rows in picture.panels.values()) > 8
        chart = marks.base(self.height(tallest)).encode(
            x=alt.X(
                "group:N",
                sort=alt.EncodingSortField("place"),
                title="layer group, stem first",
                axis=alt.Axis(labelAngle=-40, labelLimit=80, grid=False, ticks=False),
            ),
            y=alt.Y(
                "series:N", sort=picture.series, title=None, axis=alt.Axis(grid=False, ticks=False, labelLimit=150)
            ),
        )
        tips = [
            marks.tip("series:N", "series"),
            marks.tip("group:N", "layer group"),
            marks.tip("drift:Q", "drift", ".3f"),
            marks.tip("n:Q", "seeds"),
        ]
        scale = alt.Scale(scheme=COLOURS, domain=[0, most])
        legend = alt.Legend(title="drift", orient="bottom", gradientLength=160, format=".2f")
        tile = chart.mark_rect().encode(color=alt.Color("drift:Q", scale=scale, legend=legend), tooltip=tips)
        if crowded:
            return marks.layers(tile)
        dark = alt.condition(alt.datum.drift < most * 0.55, alt.value("white"), alt.value("black"))
        return marks.layers(
            tile, chart.mark_text(fontSize=10).encode(text=alt.Text("drift:Q", format=".2f"), color=dark)
        )

    def colours(self, picture: Picture) -> "ScalarMappable":
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        return ScalarMappable(Normalize(0, _most(picture)), COLOURS)

    def draw(self, axes: "Axes", rows: Sequence[Row], picture: Picture) -> None:
        import numpy as np

        groups = [name for _, name in sorted({(row["place"], row["group"]) for row in rows})]
        names = [name for name in picture.series if any(row["series"] == name for row in rows)]
        grid = np.full((len(names), len(groups)), np.nan)
        for row in rows:
            grid[names.index(row["series"]), groups.index(row["group"])] = row["drift"]
        most = _most(picture)
        axes.imshow(grid, cmap=COLOURS, vmin=0, vmax=most, aspect="auto")
        for (i, j), value in np.ndenumerate(grid):
            if len(groups) <= 8 and not np.isnan(value):
                colour = "white" if value < most * 0.55 else "black"
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7)
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(range(len(groups)), groups, rotation=40, ha="right")
        axes.grid(False)


def _most(picture: Picture) -> float:
    """The upper end of the colours."""
    return max(0.01, *(row["drift"] for row in picture.rows))


def _groups(cell: Cell) -> list[str]:
    """The layer groups with a CKA, in the order of the plan, else in the order of the record."""
    found = [n[len(PREFIX) :] for run in cell.completed[:1] for n in run.record.get("metrics", {}) if n[:4] == PREFIX]
    plan: dict[str, Any] = next((run.record["plan"] for run in cell.completed if run.record.get("plan")), {})
    order = [str(group["name"]) for group in plan.get("groups") or []]
    return sorted(found, key=lambda name: order.index(name) if name in order else len(order))
