"""What a score costs: training time (or FLOPs) against the score, with the Pareto front."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlx.results.figures.figure import Absent, Figure, Picture, Row
from tlx.results.findings import Findings, Point, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# In this order of preference: section and name in the record, the title of the axis, and what the notes say of it.
# Seconds are those of the whole run: those of training alone leave out the frozen layers' work of a probe.
COSTS = (
    ("cost", "flops_train", "FLOPs of training", "as counted"),
    ("seconds_alone", "total", "seconds of a run", "measured, median run, what others had done for it included"),
    ("seconds", "total", "seconds of a run", "measured, median run"),
)


class Cost(Figure):
    """Rows: series, other (settings besides panel and series; absent when there are none), cost, score, low, high,
    front ("yes" or "no"), and for the tooltip seconds, share and memory (GiB).
    """

    kind = "cost"
    title = "Cost against score"

    def picture(self, findings: Findings) -> Picture:
        points = [point for point in findings.points if point.row["mean"] is not None]
        chosen = next((cost for cost in COSTS if points and all(point.over(*cost[:2]) for point in points)), None)
        if chosen is None:
            raise Absent("not every record says what its run cost: run them again with force=true to have it measured.")
        place = [key for key in ("dataset", "train_size") if key in findings.varying and key != findings.series_key]
        rows = [self._row(point, findings, place, chosen[:2]) for point in points]
        better = 1 if findings.direction != "lower" else -1
        for row in rows:
            rivals = [other for other in rows if other["panel"] == row["panel"]]
            beaten = any(
                other["cost"] <= row["cost"]
                and better * other["score"] >= better * row["score"]
                and (other["cost"], other["score"]) != (row["cost"], row["score"])
                for other in rivals
            )
            row["front"] = "no" if beaten else "yes"
        rows.sort(key=lambda row: row["cost"])
        notes = [
            f"{findings.metric} by {chosen[2]} ({chosen[3]}; log scale). Line and filled marks: the Pareto front, "
            "where nothing cheaper is as good. Bars: ± one standard deviation over seeds."
        ]
        return Picture(rows, notes, findings.series, findings.table.baseline, chosen[2], findings.metric)

    @staticmethod
    def _row(point: Point, findings: Findings, place: Sequence[str], cost: tuple[str, str]) -> Row:
        named_by = {key: named(key, point.row[key]) for key in findings.varying}
        row = {
            "panel": ", ".join(named_by[key] for key in place),
            "series": point.series,
            "other": ", ".join(v for k, v in named_by.items() if k not in (*place, findings.series_key)) or None,
            "cost": point.over(*cost),
            "score": point.row["mean"],
            "seconds": point.row["seconds"],
            "share": point.row["trainable_share"],
            "memory": (point.over("memory", "peak_rss_bytes") or 0) / 2**30 or None,
        }
        if point.row["std"] is not None:
            row |= {"low": row["score"] - point.row["std"], "high": row["score"] + point.row["std"]}
        return {name: value for name, value in row.items() if value is not None}

    def chart(self, picture: Picture) -> dict[str, Any]:
        import altair as alt

        from tlx.results.figures import marks

        y = marks.axis(picture.y, picture.span("score", "low", "high"))
        scale = alt.Scale(type="log", nice=False, padding=20)
        counted = picture.x.startswith("FLOPs")  # 3G operations, but 0.1 seconds, not 100m
        axis = alt.Axis(format="~s" if counted else "~r", labelOverlap=True, tickCount=5)
        x = alt.X("cost:Q", title=picture.x, scale=scale, axis=axis)
        chart = marks.base(self.height(picture.rows)).encode(x=x)
        tips = [
            marks.tip("series:N", "series"),
            marks.tip("other:N", "settings"),
            marks.tip("score:Q", "mean score", ".3f"),
            marks.tip("cost:Q", picture.x, ".3s" if counted else ".3~r"),
            marks.tip("seconds:Q", "seconds of a run", ".1f"),
            marks.tip("share:Q", "trainable", ".3%"),
            marks.tip("memory:Q", "peak memory (GiB)", ".2f"),
            marks.tip("front:N", "on the Pareto front"),
        ]
        front = (
            chart.transform_filter(alt.datum.front == "yes")
            .mark_line(interpolate="step-after", color="#7f7f7f", strokeWidth=1.2, opacity=0.8)
            .encode(y=alt.Y("score:Q", **y))
        )
        bar = chart.mark_rule(opacity=0.4).encode(y=alt.Y("low:Q", **y), y2="high:Q", color=marks.colour(picture))
        dot = chart.mark_point(size=90, opacity=1, strokeWidth=2).encode(
            y="score:Q",
            color=marks.colour(picture),
            shape=marks.mark(picture),
            fillOpacity=alt.condition(alt.datum.front == "yes", alt.value(1), alt.value(0)),
            fill=marks.colour(picture),
            tooltip=tips,
        )
        return marks.layers(front, bar, dot)

    def draw(self, axes: "Axes", rows: Sequence[Row], picture: Picture) -> None:
        from matplotlib.ticker import EngFormatter, FuncFormatter, NullFormatter

        front = [row for row in rows if row["front"] == "yes"]
        axes.plot(
            [row["cost"] for row in front],
            [row["score"] for row in front],
            color="#7f7f7f",
            linewidth=0.9,
            drawstyle="steps-post",
            zorder=1,
        )
        for row in rows:
            look = picture.looks[row["series"]]
            half = row.get("high", row["score"]) - row["score"]
            axes.errorbar(
                [row["cost"]],
                [row["score"]],
                yerr=half,
                color=look.colour,
                marker=look.marker,
                mfc=look.colour if row["front"] == "yes" else "white",
                markersize=5,
                elinewidth=0.8,
                capsize=2,
            )
        axes.set_xscale("log")
        low, high = picture.span("cost", pad=0)
        axes.set_xlim(low / 1.3, high * 1.3)
        counted = picture.x.startswith("FLOPs")
        written = EngFormatter(sep="") if counted else FuncFormatter(lambda seconds, _: f"{seconds:g}")
        axes.xaxis.set_major_formatter(written)
        axes.xaxis.set_minor_formatter(written if high < 10 * low else NullFormatter())
        axes.set(xlabel=picture.x, ylabel=picture.y)
        axes.set_ylim(picture.span("score", "low", "high"))
