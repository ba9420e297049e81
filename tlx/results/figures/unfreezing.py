"""The phases of training: which layer group learns when, and how fast."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlx.results.figures.figure import Absent, Figure, Picture, Row
from tlx.results.findings import Findings, Point, named
from tlx.results.naming import lookup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

FROZEN, SOLVED = "#d9d9d9", "#9a9a9a"
COLOURS: Any = "viridis"


class Unfreezing(Figure):
    """Rows: group, place (0 is the stem), start and end (percent of all steps), when (in steps), learns ("yes"; absent
    where frozen), lr (absent where there is none, or it is not known) and state (both in words).
    """

    kind = "unfreezing"
    title = "What learns when"
    legend = False
    colour_title = "learning rate"

    def picture(self, findings: Findings) -> Picture:
        plans: list[tuple[Point, list[Row], list[str]]] = []
        for point in findings.points:
            timeline = next((found for run in point.cell.runs if (found := _timeline(run.record))), [])
            known = [plan for plan in plans if plan[0].row["model"] == point.row["model"] and _alike(plan[1], timeline)]
            if timeline and not known:
                plans.append((point, timeline, []))
            for *_, names in known or plans[-1:] if timeline else []:
                names += [point.series] if point.series not in names else []
        several = [key for key in ("model",) if key in findings.varying and findings.series_key != key]
        rows: list[Row] = []
        for point, timeline, names in plans:
            panel = ", ".join([*(named(key, point.row[key]) for key in several), *names])
            if any(row["panel"] == panel for row in rows):  # the same strategies with another schedule elsewhere
                panel = f"{panel} ({point.panel})"
            rows += [{"panel": panel, **row} for row in timeline]
        if not rows:
            raise Absent(
                "these records hold no plan of phases: run the study again with force=true to have it recorded."
            )
        notes = [
            "Each layer group from the stem (bottom) to the head (top) over training; colour: its learning rate before "
            "warm-up and decay; a thin grey line: frozen. Schedules that are the same are drawn once."
        ]
        if any("learns" in row and "lr" not in row for row in rows):
            notes.append("A grey bar: solved in one go, or trained at a rate that the record does not say.")
        return Picture(rows, notes)

    def height(self, rows: Sequence[Row]) -> float:
        return 0.6 + 0.24 * len({row["group"] for row in rows})

    def chart(self, picture: Picture) -> dict[str, Any]:
        import altair as alt

        from tlx.results.figures import marks

        tallest = max(picture.panels.values(), key=lambda rows: len({row["group"] for row in rows}))
        rates = [row["lr"] for row in picture.rows if row.get("lr")]
        tips = [
            marks.tip("group:N", "layer group"),
            marks.tip("when:N", "optimiser steps"),
            marks.tip("state:N", "learning rate"),
        ]
        order = alt.EncodingSortField("place", order="descending")
        chart = marks.base(self.height(tallest)).encode(
            y=alt.Y("group:N", sort=order, title=None, axis=alt.Axis(grid=False, ticks=False, labelLimit=110)),
            x=alt.X("start:Q", title="% of training", scale=alt.Scale(domain=[0, 100], nice=False)),
            x2="end:Q",
            tooltip=tips,
        )
        frozen = chart.transform_filter("!isValid(datum.learns)").mark_bar(opacity=0.35, color="#999999", height=3)
        solved = chart.transform_filter("isValid(datum.learns) && !isValid(datum.lr)").mark_bar(color=SOLVED)
        if not rates:
            return marks.layers(frozen, solved)
        scale = alt.Scale(type="log", scheme=COLOURS, domain=[min(rates), max(rates)])
        if min(rates) == max(rates):
            colour = alt.Color(
                "lr:Q", scale=alt.Scale(domain=[rates[0]], range=["#35608d"], type="ordinal"), legend=None
            )
        else:
            ends = [min(rates), max(rates)]
            legend = alt.Legend(title="learning rate", orient="bottom", format=".1~e", gradientLength=160, values=ends)
            colour = alt.Color("lr:Q", scale=scale, legend=legend)
        learns = (
            chart.transform_filter("isValid(datum.lr)").mark_bar(stroke="white", strokeWidth=0.5).encode(color=colour)
        )
        return marks.layers(frozen, solved, learns)

    def colours(self, picture: Picture) -> "ScalarMappable | None":
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import LogNorm

        low, high = _rates(picture)
        return ScalarMappable(LogNorm(low, high), COLOURS) if high > 1.01 * low else None

    def draw(self, axes: "Axes", rows: Sequence[Row], picture: Picture) -> None:
        from matplotlib import colormaps
        from matplotlib.colors import LogNorm

        norm = LogNorm(*_rates(picture))
        names = [name for _, name in sorted({(row["place"], row["group"]) for row in rows})]
        for row in rows:
            place, span = names.index(row["group"]), (row["start"], row["end"] - row["start"])
            if row.get("lr"):
                colour = colormaps[COLOURS](norm(row["lr"]))
                axes.broken_barh([span], (place - 0.4, 0.8), facecolor=colour, edgecolor="white", linewidth=0.4)
            elif "learns" in row:
                axes.broken_barh([span], (place - 0.4, 0.8), facecolor=SOLVED)
            else:
                axes.broken_barh([span], (place - 0.08, 0.16), facecolor=FROZEN)
        axes.set_yticks(range(len(names)), names)
        axes.set(xlim=(0, 100), xlabel="% of training")


def _rates(picture: Picture) -> tuple[float, float]:
    """The smallest and the largest learning rate, a little apart."""
    rates = [row["lr"] for row in picture.rows if row.get("lr")] or [1.0]
    return min(rates) / 1.001, max(rates) * 1.001


def _alike(rows: list[Row], others: list[Row]) -> bool:
    """Whether two schedules look the same; phases of short runs are rounded to whole steps and differ a little."""
    return len(rows) == len(others) and all(
        row["group"] == other["group"]
        and (row.get("learns"), row.get("lr")) == (other.get("learns"), other.get("lr"))
        and max(abs(row[edge] - other[edge]) for edge in ("start", "end")) < 3
        for row, other in zip(rows, others, strict=True)
    )


def _timeline(record: dict[str, Any]) -> list[Row]:
    """The rows of one run's plan, without a panel; [] when the record has none that can be drawn."""
    plan = record.get("plan") or {}
    groups, phases, total = plan.get("groups") or [], plan.get("phases") or [], plan.get("steps")
    if not groups or not phases or not total:
        return []
    solved = bool(lookup(record.get("config", {}), "strategy.solver._target_"))
    starts = [phase.get("start") or 0 for phase in phases]
    rows = []
    for phase, start, end in zip(phases, starts, [*starts[1:], total], strict=True):
        for place, group in enumerate(groups):
            row: Row = {"group": str(group["name"]), "place": place}
            row |= {"start": round(100 * start / total, 2), "end": round(100 * end / total, 2)}
            row |= {"when": f"{start} to {end} of {total}", "state": "frozen"}
            if group["name"] in phase.get("trainable", ()):
                rate = None if solved else learning_rate(record, group, phase)
                if rate:
                    row |= {"learns": "yes", "lr": rate, "state": f"{rate:.3g}"}
                elif rate is None:
                    row |= {"learns": "yes", "state": "solved" if solved else "not recorded"}
                else:
                    row["state"] = "0: it stays as it is"
            rows.append(row)
    return rows


def learning_rate(record: dict[str, Any], group: dict[str, Any], phase: dict[str, Any]) -> float | None:
    """The learning rate of a layer group in a phase of the record's plan, before warm-up and decay; None: not known.

    A group's `lr` is the optimiser's times its own factor. The first records had the factor alone, as `lr_factor`.
    """
    rate, factor = group.get("lr"), phase.get("lr_factor")
    if rate is None and group.get("lr_factor") is not None:
        base = lookup(record.get("config", {}), "optimizer.lr")
        rate = base * group["lr_factor"] if isinstance(base, int | float) else None
    return None if rate is None else rate * (1.0 if factor is None else factor)
