"""Sample efficiency: how many labels a strategy needs for a score, and how many times as many scratch needs."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tlx.errors import UserError
from tlx.results.baseline import OWN
from tlx.results.cells import CHOICES, Cell, cells, distinguishing, look, seed_names
from tlx.results.collect import Run
from tlx.results.metric_names import direction_of, metric_names
from tlx.results.naming import under
from tlx.results.statistics.crossing import Crossing, crossing
from tlx.results.survivors import failed_seeds

if TYPE_CHECKING:
    import pandas

SIZE = ("train_size", "dataset.train_size")


@dataclass(frozen=True)
class LabelsNeeded:
    """One strategy's learning curve over `train_size` and where it reaches the goal.

    `goal` is a score, or None where each seed's goal is scratch's own score on `most` labels, the most that scratch was
    given; then `ratio` (with an interval) says how many times as many labels scratch needs as this strategy. `failed`
    names the points of the curve, and that of the goal, of which seeds failed: there the curve is of survivors.
    """

    settings: dict[str, Any]
    metric: str
    curve: dict[float, float]
    goal: float | None
    most: float | None
    crossing: Crossing
    failed: tuple[str, ...] = ()

    @property
    def ratio(self) -> tuple[float | None, float | None, float | None]:
        """(ratio, low, high), None where the labels are not known; a lower bound where `crossing.at_most`."""
        if self.most is None:
            return None, None, None
        c = self.crossing
        return tuple(self.most / labels if labels else None for labels in (c.labels, c.high, c.low))  # type: ignore[return-value]

    @property
    def sentence(self) -> str:
        """The finding in words; ≤, ≥, > and < mark ends of the 95 % interval that lie outside the sizes measured."""
        doubt = f" This is of survivors: seeds failed in {', '.join(self.failed)}." if self.failed else ""
        return self._finding + doubt

    @property
    def _finding(self) -> str:
        who, c = str(self.settings["strategy"]), self.crossing
        what = f"scratch's score on {self.most:.0f} labels" if self.goal is None else f"{self.metric} {self.goal:g}"
        least, most = min(self.curve), max(self.curve)
        if c.labels is None:
            open_ = f" by its mean; its 95 % interval allows for it from {c.low:.0f} on" if c.low is not None else ""
            return f"{who} does not reach {what} with up to {most:.0f} labels{open_}."
        shown = c.low is not None and not (c.at_most and c.high == least)
        # An end at the smallest size or beyond the largest is where measuring stopped, not where the interval does.
        low = f"{'≤ ' if c.low == least else ''}{c.low or 0:.0f}"
        high = f"> {most:.0f}" if c.high is None else f"{c.high:.0f}"
        text = f"{who} reaches {what} with {'at most ' if c.at_most else ''}{c.labels:.0f} labels"
        text += f" [{low}, {high}]" if shown else ""
        ratio, ratio_low, ratio_high = self.ratio
        if ratio is None or self.most is None:
            return f"{text}."
        low = f"< {self.most / most:.1f}" if ratio_low is None else f"{ratio_low:.1f}"
        high = f"{'≥ ' if c.low == least else ''}{ratio_high or 0:.1f}"
        bounds = f" [{low}, {high}]" if shown else ""
        return f"{text}: scratch needs {'at least ' if c.at_most else ''}{ratio:.1f}{bounds} times as many."


def sample_efficiency(
    runs: Iterable[Run], metric: str = "test/accuracy", baseline: str = "scratch", goal: float | None = None
) -> list[LabelsNeeded]:
    """The labels that each strategy needs, from runs that differ in `train_size`; sizes are labels as counted.

    Args:
        metric: as in the records; `accuracy` is taken for `test/accuracy`.
        baseline: the strategy whose score on its most labels is the goal, seed by seed, where no `goal` is given.
        goal: a score to reach; the baseline is then one curve among the others.

    Raises:
        UserError: no curve of two sizes or more; no baseline to compare with; a metric without a direction.
    """
    found = [cell for cell in cells(runs) if cell.completed]
    (name,) = metric_names(found, [metric])
    direction = direction_of(found, name)
    if direction is None:
        raise UserError(f"the records do not say whether higher or lower {name} is better: no score is a goal.")
    sign = 1.0 if direction == "higher" else -1.0
    keys = [key for key in [*CHOICES, *distinguishing(found, seed_names(found))] if key not in SIZE]
    curves: dict[tuple, dict[float, Cell]] = defaultdict(dict)
    for cell in found:
        labels = _labels(cell)
        if cell.scores(name) and labels:  # a curve over the logarithm of the labels has no place for none
            curves[look(cell, keys)][labels] = cell
    curves = {key: by_size for key, by_size in curves.items() if len(by_size) > 1}
    if not curves:
        raise UserError(
            "sample efficiency needs the same cells with two numbers of labels or more: sweep "
            "dataset.train_size=2_per_class,10_per_class."
        )
    result = []
    for by_size in curves.values():
        example = next(iter(by_size.values()))
        reference = None if goal is not None else _reference(example, curves.values(), keys, baseline)
        if goal is None and reference is None:
            continue
        most = max(reference) if reference else None
        goals = reference[most].scores(name) if reference and most else {}
        distances = {
            size: {
                seed: sign * (score - (goal if goal is not None else goals[seed]))
                for seed, score in cell.scores(name).items()
                if goal is not None or seed in goals
            }
            for size, cell in by_size.items()
        }
        means = {size: fmean(cell.scores(name).values()) for size, cell in sorted(by_size.items())}
        settings = {key: example.value(key) for key in keys}
        doubted = [*sorted(by_size.items()), *([(most, reference[most])] if reference and most else [])]
        failed = tuple(told for size, cell in doubted if (told := _failed(size, cell, name)))
        result.append(LabelsNeeded(settings, name, means, goal, most, crossing(distances), failed))
    if not result:
        raise UserError(
            f"no {baseline} runs to take a goal from: add strategy={baseline} to the sweep, or give a score as goal."
        )
    return sorted(result, key=lambda one: [str(value) for value in one.settings.values()])


def efficiency_frame(found: Sequence[LabelsNeeded]) -> "pandas.DataFrame":
    """One row a curve: its settings, labels, labels_low, labels_high, at_most, ratio, ratio_low, ratio_high, n.

    Where labels_low is the smallest size, the interval may begin below it; None: it ends beyond the largest.
    """
    import pandas

    rows = []
    for one in found:
        ratio, low, high = one.ratio
        c = one.crossing
        row = one.settings | {"labels": c.labels, "labels_low": c.low, "labels_high": c.high, "at_most": c.at_most}
        rows.append(row | {"ratio": ratio, "ratio_low": low, "ratio_high": high, "n": c.n})
    return pandas.DataFrame(rows)


def _reference(cell: Cell, curves: Iterable[dict[float, Cell]], keys: Sequence[str], baseline: str) -> dict | None:
    """The curve of the baseline of `cell`: equal in everything but the strategy's own settings."""
    if cell.value("strategy") == baseline:
        return None
    shared = [key for key in keys if not under(key, OWN)]
    fitting = [
        by_size
        for by_size in curves
        if (other := next(iter(by_size.values()))).value("strategy") == baseline
        and look(other, shared) == look(cell, shared)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _failed(size: float, cell: Cell, metric: str) -> str:
    """`full on 40 labels (2 of 5)`; "" where no seed failed."""
    bad = len(failed_seeds(cell, metric))
    return f"{cell.value('strategy')} on {size:.0f} labels ({bad} of {bad + len(cell.scores(metric))})" if bad else ""


def _labels(cell: Cell) -> float:
    """The training labels of the cell's runs, as they counted them; 0 where they did not."""
    return fmean(run.record.get("counts", {}).get("train_labels") or 0 for run in cell.completed)
