"""The validation metric over optimiser steps: the mean over seeds with a band."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlx.results.figures.figure import Absent, Figure, Picture, Row
from tlx.results.findings import Findings
from tlx.results.mean_curve import columns, mean_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LearningCurves(Figure):
    """Rows: series, step, mean, low and high (mean ± std; absent for one seed), n."""

    kind = "learning-curves"
    title = "Learning curves"

    def picture(self, findings: Findings) -> Picture:
        column = f"val/{findings.measure}"
        rows: list[Row] = []
        for point in findings.points:
            for step, mean, std, n in mean_curve(point.cell.completed, column):
                row = {"panel": point.panel, "series": point.series, "step": step, "mean": mean, "n": n}
                if std is not None:
                    row |= {"low": mean - std, "high": mean + std}
                rows.append(row)
        if not rows:
            raise Absent(self._why(findings, column))
        notes = [f"{column} after each validation: mean over seeds, band ± one standard deviation (ddof 1)."]
        if not any("low" in row for row in rows):
            notes.append("There is one seed only, hence no band: add seed=0,1,2.")
        if findings.table.baseline and len({row["step"] for row in rows}) == 1:
            notes.append("Every run was validated once only.")
        return Picture(rows, notes, findings.series, findings.table.baseline, "optimiser step", column)

    @staticmethod
    def _why(findings: Findings, column: str) -> str:
        names = {name for run in findings.runs if run.status == "completed" for name in columns(run.folder)}
        held = sorted(name for name in names if name.startswith("val/"))
        if held:
            return (
                f"the runs' metrics.csv hold no {column}, only {', '.join(held)}: choose one with --metric, or add "
                f"{findings.measure} to dataset.metrics."
            )
        return (
            f"no completed run has a metrics.csv with {column} beside its record. Runs write it when they validate: "
            "keep a validation part (dataset.val_size), and copy metrics.csv together with record.json."
        )

    def chart(self, picture: Picture) -> dict[str, Any]:
        import altair as alt

        from tlx.results.figures import marks

        y = marks.axis(picture.y, picture.span("mean", "low", "high"))
        chart = marks.base(self.height(picture.rows)).encode(
            x=alt.X("step:Q", **marks.axis(picture.x)), color=marks.colour(picture)
        )
        tips = [
            marks.tip("series:N", "series"),
            marks.tip("step:Q", "step"),
            marks.tip("mean:Q", "mean", ".3f"),
            marks.tip("low:Q", "mean − std", ".3f"),
            marks.tip("high:Q", "mean + std", ".3f"),
            marks.tip("n:Q", "seeds"),
        ]
        band = chart.mark_area(opacity=0.15, line=False).encode(
            y=alt.Y("low:Q", **y), y2="high:Q", fill=marks.colour(picture)
        )
        line = chart.mark_line(strokeWidth=2).encode(y=alt.Y("mean:Q", **y), strokeDash=marks.dash(picture))
        touch = chart.mark_point(opacity=0, size=120, filled=True).encode(y="mean:Q", tooltip=tips)
        return marks.layers(band, line, touch)

    def draw(self, axes: "Axes", rows: Sequence[Row], picture: Picture) -> None:
        for name, look in picture.looks.items():
            own = [row for row in rows if row["series"] == name]
            steps = [row["step"] for row in own]
            axes.plot(steps, [row["mean"] for row in own], color=look.colour, dashes=look.dash, linewidth=1.4)
            if own and all("low" in row for row in own):
                low, high = [row["low"] for row in own], [row["high"] for row in own]
                axes.fill_between(steps, low, high, color=look.colour, alpha=0.15, linewidth=0)
        axes.set(xlabel=picture.x, ylabel=picture.y)
        axes.set_ylim(picture.span("mean", "low", "high"))
