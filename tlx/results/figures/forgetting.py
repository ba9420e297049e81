"""What was forgotten of the source task against what was gained on the target task."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlx.results.figures.figure import Absent, Figure, Picture, Row
from tlx.results.findings import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Forgetting(Figure):
    """Rows: series, forgetting, gain, low and high (the verdict's interval, or absent), recovered (or absent)."""

    kind = "forgetting"
    title = "Forgetting against gain"

    def picture(self, findings: Findings) -> Picture:
        rows: list[Row] = []
        for point in findings.points:
            forgotten, gain = point.row["forgetting"], point.row["gain"]
            if forgotten is None or gain is None:
                continue
            row = {"panel": point.panel, "series": point.series, "forgetting": forgotten, "gain": gain}
            if point.row["gain_low_holm"] is not None:
                row |= {"low": point.row["gain_low_holm"], "high": point.row["gain_high_holm"]}
            if (recovered := point.mean(f"recovered/{findings.measure}")) is not None:
                row["recovered"] = recovered
            rows.append(row)
        if not rows:
            raise Absent(self._why(findings))
        notes = [
            f"Gain in {findings.metric} over {findings.table.baseline} against the source score lost (before − after). "
            "Up and to the left is better; bars: the paired t intervals that "
            "belong to the verdicts of the table, corrected like those."
        ]
        series = [name for name in findings.series if any(row["series"] == name for row in rows)]
        return Picture(rows, notes, series, findings.table.baseline, "forgetting (source score lost)", "gain")

    @staticmethod
    def _why(findings: Findings) -> str:
        if not any(point.row["forgetting"] is not None for point in findings.points):
            return (
                "no record says what was forgotten: start from a backbone whose source task is known, "
                "model.path=registry:NAME or strategy.init=registry:NAME."
            )
        return "no row has both forgetting and a gain: add strategy=scratch, or name another --baseline."

    def chart(self, picture: Picture) -> dict[str, Any]:
        import altair as alt

        from tlx.results.figures import marks

        x = marks.axis(picture.x, picture.span("forgetting", pad=0.12))
        y = marks.axis(picture.y, picture.span("gain", "low", "high"))
        chart = marks.base(self.height(picture.rows)).encode(x=alt.X("forgetting:Q", **x), color=marks.colour(picture))
        tips = [
            marks.tip("series:N", "series"),
            marks.tip("gain:Q", "gain", "+.3f"),
            marks.tip("low:Q", "interval from", "+.3f"),
            marks.tip("high:Q", "to", "+.3f"),
            marks.tip("forgetting:Q", "forgetting", "+.3f"),
            marks.tip("recovered:Q", "a fresh probe recovers", ".3f"),
        ]
        zero = marks.base(self.height(picture.rows)).mark_rule(strokeDash=[4, 4], opacity=0.6, color="#7f7f7f")
        lines = [zero.encode(y=alt.datum(0))] if _inside(picture, "gain", "low", "high") else []
        if _inside(picture, "forgetting", pad=0.12):
            lines.append(zero.encode(x=alt.datum(0)))
        bar = chart.mark_rule(opacity=0.5, strokeWidth=1.5).encode(y=alt.Y("low:Q", **y), y2="high:Q")
        dot = chart.mark_point(filled=True, size=90, opacity=1).encode(
            y=alt.Y("gain:Q", **y), shape=marks.mark(picture), tooltip=tips
        )
        return marks.layers(*lines, bar, dot)

    def draw(self, axes: "Axes", rows: Sequence[Row], picture: Picture) -> None:
        axes.axhline(0, color="#7f7f7f", linewidth=0.7, linestyle="--")
        axes.axvline(0, color="#7f7f7f", linewidth=0.7, linestyle="--")
        for row in rows:
            look = picture.looks[row["series"]]
            gain = row["gain"]
            error = [[gain - row.get("low", gain)], [row.get("high", gain) - gain]]
            axes.errorbar(
                [row["forgetting"]],
                [gain],
                yerr=error,
                color=look.colour,
                marker=look.marker,
                capsize=2,
                elinewidth=0.8,
            )
        axes.set_xlim(picture.span("forgetting", pad=0.12))
        axes.set_ylim(picture.span("gain", "low", "high"))
        axes.set(xlabel=picture.x, ylabel=picture.y)


def _inside(picture: Picture, *names: str, pad: float = 0.05) -> bool:
    low, high = picture.span(*names, pad=pad)
    return low <= 0 <= high
