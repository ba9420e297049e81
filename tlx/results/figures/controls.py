"""The gain taken apart by controls: what came from the scale of the weights, from features, from extra compute."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlx.results.baseline import baselines
from tlx.results.cells import Cell, seed_names
from tlx.results.cells import named as cell_names
from tlx.results.control_names import CONTROLS
from tlx.results.figures.figure import Absent, Figure, Picture, Row
from tlx.results.findings import Findings, named
from tlx.results.gains import LEVEL, gains
from tlx.results.statistics.verdict import HELPS, HURTS
from tlx.results.survivors import failed_seeds, with_failures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What a difference says, the strategy, and the one that lacks just that.
PARTS = (
    ("everything", "full", "scratch"),
    ("scale", "shuffled", "scratch"),
    ("features", "full", "shuffled"),
    ("features, frozen", "feature_extraction", "random_features"),
    ("features, frozen, both heads solved", "logistic_probe", "random_features"),
    ("extra compute", "scratch_long", "scratch"),
)
COLOUR = "#0072B2"


class Controls(Figure):
    """Rows: part, difference ("shuffled − scratch"), gain, n, verdict, low and high (its interval).

    No difference is sure by the seeds that survived on its larger side (`tlx.results.survivors`).
    """

    kind = "controls"
    title = "Where the gain comes from"
    legend = False

    def picture(self, findings: Findings) -> Picture:
        strategies = {str(point.row["strategy"]) for point in findings.points}
        absent = [name for name in CONTROLS if name not in strategies]
        if len(absent) == len(CONTROLS):
            raise Absent(f"there are no controls among the runs: add strategy=scratch,full,{','.join(CONTROLS)}.")
        if findings.direction is None:
            raise Absent(f"the records do not say whether higher or lower {findings.measure} is better.")
        members = [point.cell for point in findings.points]
        ignored = seed_names(members)
        panels = {point.cell.id: _panel(point.row, findings) for point in findings.points}
        table = {point.cell.id: point.row for point in findings.points}
        labels, pairs, rows = [], [], []
        shown: list[Cell] = []
        for part, strategy, without in PARTS:
            found = baselines(members, without, ignored).found
            for cell in members:
                if cell.value("strategy") != strategy or cell.id not in found:
                    continue
                label = {"panel": panels[cell.id], "part": part, "difference": f"{strategy} − {without}"}
                own = table[cell.id]
                if without == findings.table.baseline and own["gain"] is not None:  # the table has judged it already
                    low, high = own["gain_low_holm"], own["gain_high_holm"]
                    rows.append(_row(label, own["gain"], own["gain_n"], own["verdict"], low, high))
                    shown += [cell, found[cell.id]]
                elif without != findings.table.baseline:
                    labels.append(label)
                    pairs.append((cell, found[cell.id]))
        judged = len(rows)
        others = gains(pairs, findings.metric, findings.direction)
        others = with_failures(others, findings.metric, findings.direction)
        for label, gain in zip(labels, others, strict=True):
            if gain.t.mean is not None:
                shown += [gain.cell, gain.partner]
                corrected = gain.corrected
                low, high = (corrected.low, corrected.high) if corrected else (None, None)
                rows.append(_row(label, gain.t.mean, gain.t.n, gain.verdict, low, high))
        if not rows:
            raise Absent("no control shares a seed with the strategy it belongs to: run them with the same seeds.")
        over = []
        if judged:
            over.append(f"the gains of the table for differences to {findings.table.baseline}")
        if len(rows) > judged:
            over.append(f"the {len(rows) - judged} of this figure for {'the others' if judged else 'all of them'}")
        notes = [
            f"Gain in {findings.metric} over common seeds, with the paired t interval that belongs to the verdict; "
            f"filled: sure (it leaves out 0, at {LEVEL} after Holm's correction over {' and over '.join(over)}), "
            "hollow: not."
        ]
        if absent:
            notes.append(f"Not among the runs: {', '.join(absent)} (add strategy={','.join(absent)}).")
        if any(cell.value("strategy") == "random_features" and _trained(cell) for cell in members):
            notes.append(
                "The head of random_features was trained, by an earlier version, on features that nothing had "
                "normalised: such a control is weak, and a gain over it says little. Run it again."
            )
        notes += _on_doubts(list({cell.id: cell for cell in shown}.values()), findings.metric)
        rows.sort(key=lambda row: [part for part, *_ in PARTS].index(row["part"]))
        return Picture(rows, notes)

    def height(self, rows: Sequence[Row]) -> float:
        return 0.6 + 0.3 * len({row["name"] for row in rows})

    def chart(self, picture: Picture) -> dict[str, Any]:
        import altair as alt

        from tlx.results.figures import marks

        tallest = max(picture.panels.values(), key=lambda rows: len({row["name"] for row in rows}))
        order = list(dict.fromkeys(row["name"] for row in picture.rows))
        low, high = picture.span("gain", "low", "high")
        x = marks.axis("gain", (min(low, 0), max(high, 0)))
        axis = alt.Axis(
            labelLimit=230, ticks=False, grid=False, labelExpr="split(datum.label, ': ')", labelLineHeight=12
        )
        chart = marks.base(self.height(tallest) * 1.3).encode(y=alt.Y("name:N", sort=order, title=None, axis=axis))
        tips = [
            marks.tip("part:N", "part"),
            marks.tip("difference:N", "difference"),
            marks.tip("gain:Q", "gain", "+.3f"),
            marks.tip("low:Q", "interval from", "+.3f"),
            marks.tip("high:Q", "to", "+.3f"),
            marks.tip("n:Q", "seeds"),
            marks.tip("verdict:N", "verdict"),
        ]
        zero = marks.base(self.height(tallest) * 1.3).mark_rule(strokeDash=[4, 4], color="#7f7f7f")
        bar = chart.mark_rule(strokeWidth=2, color=COLOUR).encode(x=alt.X("low:Q", **x), x2="high:Q")
        dot = chart.mark_point(size=80, opacity=1, color=COLOUR, fill=COLOUR, strokeWidth=2).encode(
            x="gain:Q",
            fillOpacity=alt.condition(alt.datum.sure, alt.value(1), alt.value(0)),
            tooltip=tips,
        )
        return marks.layers(zero.encode(x=alt.datum(0)), bar, dot)

    def draw(self, axes: "Axes", rows: Sequence[Row], picture: Picture) -> None:
        for place, row in enumerate(rows):
            gain = row["gain"]
            error = [[gain - row.get("low", gain)], [row.get("high", gain) - gain]]
            face = COLOUR if row["sure"] else "white"
            axes.errorbar(
                [gain], [place], xerr=error, fmt="o", color=COLOUR, mfc=face, markersize=5, capsize=2, elinewidth=1
            )
        axes.axvline(0, color="#7f7f7f", linewidth=0.7, linestyle="--")
        axes.set_yticks(range(len(rows)), [row["name"].replace(": ", "\n") for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        low, high = picture.span("gain", "low", "high")
        axes.set_xlim(min(low, 0), max(high, 0))  # the same in all panels, as on the page
        axes.set_xlabel("gain")


def _row(label: Row, gain: float, n: int, verdict: str | None, low: float | None, high: float | None) -> Row:
    name = f"{label['part']}: {label['difference']}"
    row = label | {"gain": gain, "n": n, "name": name, "verdict": verdict, "sure": verdict in (HELPS, HURTS)}
    return row | ({} if low is None else {"low": low, "high": high})


def _on_doubts(shown: Sequence[Cell], metric: str) -> list[str]:
    """What the failed seeds of these cells, and the collapsed ones of those that others are compared with, say."""
    said = []
    if failed := [cell for cell in shown if failed_seeds(cell, metric)]:
        said.append(
            f"Seeds failed in {cell_names(failed)}: differences are of the survivors, and none is sure by those alone."
        )
    compared_with = {without for *_, without in PARTS} | set(CONTROLS)
    for cell in shown:
        bad, n = len(cell.collapsed(metric)), len(cell.scores(metric))
        if bad and cell.value("strategy") in compared_with:
            said.append(
                f"{bad} of {n} seeds of {cell_names([cell])} collapsed: "
                + (
                    "a difference to it says that it learnt nothing, not what the other one has beyond it."
                    if 2 * bad >= n
                    else "part of a difference to it says that these learnt nothing."
                )
            )
    return said


def _trained(cell: Cell) -> bool:
    """Whether the head of some run of this cell took steps: a solver's record says so."""
    return any("solver" not in run.record for run in cell.completed)


def _panel(row: Row, findings: Findings) -> str:
    return ", ".join(named(key, row[key]) for key in findings.varying if key != "strategy" and key != "strategy.init")
