"""The score over the number of training labels, one curve a strategy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlx.errors import UserError
from tlx.results.control_names import CONTROLS
from tlx.results.figures.figure import Absent, Figure, Picture, Row
from tlx.results.findings import Findings, named
from tlx.results.sample_efficiency import sample_efficiency

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SENTENCES = 8  # more than that nobody reads under a figure


class SampleEfficiency(Figure):
    """Rows: series, labels, size (as it was chosen), mean, low and high (mean ± std; absent for one seed), n."""

    kind = "sample-efficiency"
    title = "Score over the number of training labels"

    def picture(self, findings: Findings) -> Picture:
        rows: list[Row] = []
        for point in findings.points:
            labels, mean, std = point.over("counts", "train_labels"), point.row["mean"], point.row["std"]
            if labels is None or mean is None or labels <= 0:
                continue
            panel = [named(k, point.row[k]) for k in findings.varying if k not in (findings.series_key, "train_size")]
            series = point.series if findings.series_key != "train_size" else named("strategy", point.row["strategy"])
            row = {"panel": ", ".join(panel), "series": series, "labels": labels, "mean": mean, "n": point.row["n"]}
            row["size"] = named("train_size", point.row["train_size"])
            if std is not None:
                row |= {"low": mean - std, "high": mean + std}
            rows.append(row)
        curves: dict[tuple[str, str], set[float]] = {}
        for row in rows:
            curves.setdefault((row["panel"], row["series"]), set()).add(row["labels"])
        if not any(len(sizes) > 1 for sizes in curves.values()):
            raise Absent(
                "every row has one training set size only: sweep it, dataset.train_size=2_per_class,10_per_class."
            )
        rows.sort(key=lambda row: row["labels"])
        notes = [f"{findings.metric} by training labels (log scale): mean over seeds, bar ± one standard deviation."]
        notes += _labels_needed(findings)
        names = list(dict.fromkeys(row["series"] for row in rows))
        names.sort(key=lambda name: findings.series.index(name) if name in findings.series else 0)
        return Picture(rows, notes, names, findings.table.baseline, "training labels", findings.metric)

    def chart(self, picture: Picture) -> dict[str, Any]:
        import altair as alt

        from tlx.results.figures import marks

        y = marks.axis(picture.y, picture.span("mean", "low", "high"))
        scale = alt.Scale(type="log", nice=False, padding=12)
        values = sorted({row["labels"] for row in picture.rows})
        # One axis serves all panels: ticks at the sizes would mark those of other panels, too.
        same = all({row["labels"] for row in rows} == {*values} for rows in picture.panels.values())
        few = same and len(values) < 9
        axis = alt.Axis(values=values, labelOverlap=True, grid=False) if few else alt.Axis(grid=False)
        chart = marks.base(self.height(picture.rows)).encode(
            x=alt.X("labels:Q", title=picture.x, scale=scale, axis=axis), color=marks.colour(picture)
        )
        tips = [
            marks.tip("series:N", "series"),
            marks.tip("labels:Q", "training labels"),
            marks.tip("size:N", "train_size"),
            marks.tip("mean:Q", "mean", ".3f"),
            marks.tip("low:Q", "mean − std", ".3f"),
            marks.tip("high:Q", "mean + std", ".3f"),
            marks.tip("n:Q", "seeds"),
        ]
        bar = chart.mark_rule(opacity=0.5, strokeWidth=1.5).encode(y=alt.Y("low:Q", **y), y2="high:Q")
        line = chart.mark_line(strokeWidth=2).encode(y=alt.Y("mean:Q", **y), strokeDash=marks.dash(picture))
        dot = chart.mark_point(filled=True, size=60, opacity=1).encode(
            y="mean:Q", shape=marks.mark(picture), tooltip=tips
        )
        return marks.layers(bar, line, dot)

    def draw(self, axes: "Axes", rows: Sequence[Row], picture: Picture) -> None:
        for name, look in picture.looks.items():
            own = [row for row in rows if row["series"] == name]
            half = [row.get("high", row["mean"]) - row["mean"] for row in own]
            (line, *_) = axes.errorbar(
                [row["labels"] for row in own],
                [row["mean"] for row in own],
                yerr=half,
                color=look.colour,
                marker=look.marker,
                markersize=4,
                linewidth=1.4,
                elinewidth=0.8,
                capsize=2,
            )
            line.set_dashes(look.dash)
        axes.set_xscale("log")
        values = sorted({row["labels"] for row in rows})
        if len(values) < 9:
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.minorticks_off()
        axes.set(xlabel=picture.x, ylabel=picture.y)
        axes.set_ylim(picture.span("mean", "low", "high"))


def _labels_needed(findings: Findings) -> list[str]:
    """How many labels each strategy needs for what the baseline makes of all of its own; [] where nothing tells."""
    if findings.table.baseline is None or findings.series_key != "strategy":
        return []
    runs = [run for point in findings.points for run in point.cell.runs]
    try:
        found = sample_efficiency(runs, findings.metric, findings.table.baseline)
    except UserError:
        return []
    several = [k for k in findings.varying if k not in ("strategy", "train_size")]
    found = [one for one in found if str(one.settings["strategy"]) not in CONTROLS]
    if len(found) > SENTENCES:
        return [f"tlx.results.sample_efficiency tells for each of {len(found)} curves how many labels it needs."]
    said = [
        ": ".join([*(named(k, one.settings[k]) for k in several if k in one.settings), one.sentence]) for one in found
    ]
    if any("[" in sentence for sentence in said):
        said.append("Brackets: 95 % intervals; ≤, ≥, > and < mark ends that lie outside the sizes measured.")
    return said
