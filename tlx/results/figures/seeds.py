"""A strip plot: the score of every seed, with the mean of each row."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlx.results.figures.figure import Absent, Figure, Picture, Row
from tlx.results.findings import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Seeds(Figure):
    """Rows: series, seed, score, mean (of the row's seeds), why (it is flagged as an outlier; absent otherwise)."""

    kind = "seeds"
    title = "Every seed"
    legend = False

    def picture(self, findings: Findings) -> Picture:
        rows = []
        flagged = False
        for point in findings.points:
            outliers = point.row.get("outliers") or {}
            for seed, score in point.scores.items():
                row = {"panel": point.panel, "series": point.series, "seed": str(seed), "score": score}
                row["mean"] = point.row["mean"]
                if why := outliers.get(seed):
                    row["why"] = str(why)
                    flagged = True
                rows.append(row)
        if not rows:
            raise Absent(f"no completed run has a finite {findings.metric} yet: see `tlx runs`.")
        notes = [f"{findings.metric} of each seed; the upright line is the mean."]
        if flagged:
            notes.append("Ringed: a seed that does not belong to the others (it is flagged, never left out).")
        return Picture(rows, notes, findings.series, findings.table.baseline, findings.metric)

    def height(self, rows: Sequence[Row]) -> float:
        return 0.5 + 0.28 * len({row["series"] for row in rows})

    def chart(self, picture: Picture) -> dict[str, Any]:
        import altair as alt

        from tlx.results.figures import marks

        tallest = max(picture.panels.values(), key=lambda rows: len({row["series"] for row in rows}))
        x = marks.axis(picture.x, picture.span("score"))
        order = picture.series
        chart = marks.base(self.height(tallest)).encode(
            y=alt.Y("series:N", sort=order, title=None, axis=alt.Axis(labelLimit=150, grid=True, ticks=False)),
            color=marks.colour(picture),
        )
        tips = [
            marks.tip("series:N", "series"),
            marks.tip("seed:N", "seed"),
            marks.tip("score:Q", "score", ".4f"),
            marks.tip("mean:Q", "mean", ".4f"),
            marks.tip("why:N", "flagged"),
        ]
        mean = chart.mark_tick(thickness=2, size=18, opacity=1).encode(x=alt.X("mean(score):Q", **x))
        ring = (
            chart.transform_filter(alt.datum.why)
            .mark_point(size=190, filled=False, strokeWidth=1.5)
            .encode(x="score:Q", color=alt.value("#D55E00"))
        )
        dot = chart.mark_point(filled=True, size=55, opacity=0.7).encode(x="score:Q", tooltip=tips)
        return marks.layers(mean, ring, dot)

    def draw(self, axes: "Axes", rows: Sequence[Row], picture: Picture) -> None:
        names = [name for name in picture.series if any(row["series"] == name for row in rows)]
        for place, name in enumerate(names):
            own = [row for row in rows if row["series"] == name]
            look = picture.looks[name]
            scores = [row["score"] for row in own]
            axes.plot(scores, [place] * len(own), "o", color=look.colour, markersize=4.5, alpha=0.7, mew=0)
            axes.plot([own[0]["mean"]], [place], "|", color=look.colour, markersize=11, mew=1.6)
            ringed = [row["score"] for row in own if "why" in row]
            axes.plot(ringed, [place] * len(ringed), "o", mfc="none", mec="#D55E00", markersize=9)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(picture.span("score"))
        axes.set_xlabel(picture.x)
