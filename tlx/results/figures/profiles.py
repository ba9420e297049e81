"""All data sets of a study together: performance profiles and interquartile means (Agarwal et al. 2021)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlx.results.figures.figure import Absent, Figure, NotAsked, Picture, Row
from tlx.results.findings import Findings
from tlx.results.statistics.over_datasets import SEEDS, improvement_interval, mean_interval
from tlx.results.statistics.several import interquartile_mean, performance_profile, probability_of_improvement

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

PLACES = 101  # thresholds of a curve


class Profiles(Figure):
    """Rows: series, threshold, share (of the runs whose score is better than the threshold).

    A task is whatever varies but the series: a data set at one size, with one model. Only series that have scores in
    every task are compared, each with as many runs a task as its task with the fewest.
    """

    kind = "profiles"
    title = "Over several data sets"

    def picture(self, findings: Findings) -> Picture:
        import numpy as np

        if "dataset" not in findings.varying or findings.series_key == "dataset":
            raise NotAsked("all rows to compare are of one data set: sweep them, dataset=NAME,NAME.")
        if findings.direction is None:
            raise Absent(f"the records do not say whether higher or lower {findings.measure} is better.")
        scores, lacking = _matrices(findings)
        if len(scores) < 2:
            raise Absent("no two strategies have scores in every data set and size: run both in all of them.")
        sign = 1 if findings.direction == "higher" else -1
        every = np.concatenate([matrix.ravel() for matrix in scores.values()])
        thresholds = np.linspace(every.min(), every.max(), PLACES)
        rows: list[Row] = []
        for name, matrix in scores.items():
            shares = performance_profile(sign * matrix, [sign * threshold for threshold in thresholds])
            rows += [
                {"panel": "", "series": name, "threshold": float(threshold), "share": float(share)}
                for threshold, share in zip(thresholds, shares, strict=True)
            ]
        tasks = next(iter(scores.values())).shape[1]
        better = "above" if sign > 0 else "below"
        notes = [
            f"Share of the runs of {tasks} tasks (a data set at one size) with {findings.metric} {better} the value on "
            "the axis: the higher curve is better.",
            *_means(scores, findings.table.baseline, sign),
        ]
        if lacking:
            notes.append(f"Without scores in every task, hence left out: {', '.join(lacking)}.")
        return Picture(rows, notes, list(scores), findings.table.baseline, findings.metric, f"share of runs {better}")

    def chart(self, picture: Picture) -> dict[str, Any]:
        import altair as alt

        from tlx.results.figures import marks

        x = alt.X("threshold:Q", **marks.axis(picture.x, picture.span("threshold", pad=0)))
        chart = marks.base(self.height(picture.rows)).encode(x=x, color=marks.colour(picture))
        tips = [
            marks.tip("series:N", "series"),
            marks.tip("threshold:Q", picture.x, ".3f"),
            marks.tip("share:Q", picture.y, ".2f"),
        ]
        y = alt.Y("share:Q", **marks.axis(picture.y, (0, 1.02)))
        line = chart.mark_line(strokeWidth=2).encode(y=y, strokeDash=marks.dash(picture), tooltip=tips)
        return marks.layers(line)

    def draw(self, axes: "Axes", rows: Sequence[Row], picture: Picture) -> None:
        for name, look in picture.looks.items():
            own = [row for row in rows if row["series"] == name]
            (line,) = axes.plot([r["threshold"] for r in own], [r["share"] for r in own], color=look.colour, lw=1.4)
            line.set_dashes(look.dash)
        axes.set(xlabel=picture.x, ylabel=picture.y, ylim=(0, 1.02))


def _matrices(findings: Findings) -> "tuple[dict[str, np.ndarray], list[str]]":
    """Series → scores (runs, tasks) of those with scores in every task, and the names of the others."""
    import numpy as np

    by_series: dict[str, dict[str, list[float]]] = {name: {} for name in findings.series}
    tasks = list(dict.fromkeys(point.panel for point in findings.points))
    for point in findings.points:
        if point.scores:
            by_series[point.series][point.panel] = list(point.scores.values())
    found, lacking = {}, []
    for name, by_task in by_series.items():
        if any(task not in by_task for task in tasks):
            lacking.append(name)
            continue
        runs = min(map(len, by_task.values()))
        found[name] = np.array([by_task[task][:runs] for task in tasks]).T
    return found, lacking


def _means(scores: "dict[str, np.ndarray]", baseline: str | None, sign: int) -> list[str]:
    """The interquartile mean of each series, and how probably a run of it is better than one of the baseline."""

    def shown(value: float, interval: tuple[float, float] | None) -> str:
        return f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")

    seeds = min(len(matrix) for matrix in scores.values())
    none = f"; fewer than {SEEDS} seeds a task, so no intervals" if seeds < SEEDS else " [95 %, for these tasks]"
    means = [f"{name} {shown(interquartile_mean(matrix), mean_interval(matrix))}" for name, matrix in scores.items()]
    said = [f"Interquartile mean over all runs{none}: {', '.join(means)}."]
    if baseline in scores:
        chances = []
        for name, matrix in scores.items():
            if name != baseline:
                runs = min(len(matrix), len(scores[baseline]))
                mine, base = sign * matrix[:runs], sign * scores[baseline][:runs]
                chance = probability_of_improvement(mine, base, paired=True)
                chances.append(f"{name} {shown(chance, improvement_interval(mine, base))}")
        said.append(f"Probability that a run is better than one of {baseline}: {', '.join(chances)}.")
    return said
