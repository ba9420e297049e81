"""The table of a study: one row a cell, mean ± std over its seeds, the gain over the baseline, and what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from tlx.errors import UserError, unknown
from tlx.results import caption
from tlx.results.baseline import baselines
from tlx.results.cells import CHOICES, Cell, cells, check_key, distinguishing, seed_names
from tlx.results.collect import Run
from tlx.results.naming import place
from tlx.results.pivot import Pivot, span
from tlx.results.statistics import DIRECTIONS, Gain, mean_std, paired_gain, transfer_ratio
from tlx.results.tuning import Tuned, tune


@dataclass(frozen=True)
class Table:
    """Rows of plain values and what must be said of them; `tlx.results.formats.render` writes it.

    A row maps model, strategy, dataset, train_size and every further setting of `keys` to the cell's choice, and mean,
    std, n (of the first metric), gain, gain_low, gain_high, gain_n, transfer_ratio, forgetting (mean), trainable_share
    (mean), seconds (median a run), failed and missing (numbers of runs) to its results; None where a thing does not
    exist. Further metrics M stand as `M.mean`, `M.std` and `M.n`.
    """

    metrics: list[str]
    baseline: str | None
    keys: list[str]
    rows: list[dict[str, Any]]
    notes: list[str]
    group_by: list[str]
    pivot: Pivot | None = None

    @property
    def metric(self) -> str:
        return self.metrics[0]

    @property
    def caption(self) -> str:
        return " ".join(self.notes)


def build_table(
    runs: Sequence[Run],
    metrics: Sequence[str] | str = ("test/accuracy",),
    baseline: str | None = "scratch",
    group_by: Sequence[str] | str | None = None,
    tune_over: Sequence[str] | str | None = None,
    rows: Sequence[str] | str | None = None,
    columns: Sequence[str] | str | None = None,
) -> Table:
    """Average the completed runs of each cell and compare each cell with its baseline.

    Lists may be given as one string with commas. A row is always one cell: runs that differ in anything but the seed
    are never averaged.

    Args:
        metrics: names as in the records; `accuracy` is taken for `test/accuracy`. The first one has the gain.
        baseline: the strategy to compare with; None or "none" for no comparison.
        group_by: settings to sort by first; md and latex set a section for each of their values.
        tune_over: settings of which each row keeps the value with the best mean validation score.
        rows, columns: settings that span a grid of `mean ± std (n)`; whichever is not given is what else varies.

    Raises:
        UserError: no runs; an unknown metric, strategy or setting; a grid with two cells in one place.
    """
    found = cells(runs)
    if not found:
        raise UserError("no runs to make a table of." + "".join(f" {run.problem}" for run in runs if run.problem))
    names = _metrics(found, words(metrics) or ["test/accuracy"])
    sections, tuned_keys = words(group_by), words(tune_over)
    by_seed = seed_names(found)
    options = {"--tune-over": tuned_keys, "--group-by": sections, "--rows": words(rows), "--columns": words(columns)}
    for option, keys in options.items():
        for key in keys:
            check_key(found, key, option, by_seed)
    reference = _baseline(found, baseline)
    tuned = tune(found, tuned_keys) if tuned_keys else Tuned(found, [])
    kept = tuned.cells
    ignored = by_seed | set(tuned_keys)
    extra = distinguishing(kept, ignored)
    asked = dict.fromkeys(key for keys in options.values() for key in keys)
    extra = [key for key in asked if key not in (*CHOICES, *extra)] + extra
    direction = _direction(kept, names[0])
    partners, unclear = baselines(kept, reference, ignored) if reference else ({}, [])
    keys = [*CHOICES, *extra]
    order = sorted(kept, key=lambda cell: _order(cell, sections, keys, reference))
    table_rows = [_row(cell, keys, names, partners.get(cell.id), direction) for cell in order]
    grid = span(table_rows, words(rows), words(columns), keys, reference) if rows or columns else None
    notes = caption.notes(order, names, direction, table_rows, reference, scores_only=grid is not None) + tuned.notes
    notes += caption.warnings(order, names[0], runs, direction, reference, partners, unclear)
    return Table(names, reference, keys, table_rows, notes, sections, grid)


def words(given: Sequence[str] | str | None) -> list[str]:
    """["a", "b"] from that list, from "a,b", or [] from None; doubles fall away."""
    parts = given.split(",") if isinstance(given, str) else given or []
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _metrics(cells: Sequence[Cell], asked: Sequence[str]) -> list[str]:
    """The full names of the metrics; while no run has completed any name is taken."""
    known = sorted({name for cell in cells for run in cell.completed for name in run.record.get("metrics", {})})
    names = []
    for name in asked:
        full = name if name in known or "/" in name else f"test/{name}"
        if known and full not in known:
            raise unknown("metric", full, known, "These are the metrics of the completed runs.")
        names.append(full)
    return list(dict.fromkeys(names))


def _baseline(cells: Sequence[Cell], asked: str | None) -> str | None:
    """The baseline's name; `scratch`, the default, may be absent, any other must be among the strategies."""
    if asked is None or asked == "none":
        return None
    strategies = sorted({str(cell.value("strategy")) for cell in cells})
    if asked not in strategies and asked != "scratch":
        raise unknown("baseline", asked, [*strategies, "none"], "A baseline is a strategy among these runs.")
    return asked


def _direction(cells: Sequence[Cell], metric: str) -> str | None:
    """Which way is better, as the records say; None when they do not say or do not agree: then there is no gain."""
    part = metric.rsplit("/", 1)[-1]
    runs = [run for cell in cells for run in cell.completed if run.metric(metric) is not None]
    said = [run.record.get("directions", {}) for run in runs]
    found = {directions.get(metric, directions.get(part)) for directions in said}
    return found.pop() if len(found) == 1 and found <= set(DIRECTIONS) else None


def _order(cell: Cell, sections: Sequence[str], keys: Sequence[str], baseline: str | None) -> list[tuple]:
    """Sections first; then model, dataset, train_size, the baseline before other strategies, further settings."""
    first = ["model", "dataset", "train_size", "strategy"]
    names = [*sections, *first, *(key for key in keys if key not in first)]
    return [*(place(name, cell.value(name), baseline) for name in names), (cell.id,)]


def _row(
    cell: Cell, keys: Sequence[str], metrics: Sequence[str], partner: Cell | None, direction: str | None
) -> dict[str, Any]:
    scores = cell.scores(metrics[0])
    spread = mean_std(list(scores.values()))
    gain, ratio = Gain(None, None, None, 0), None
    if partner is not None and direction is not None:
        against = partner.scores(metrics[0])
        gain = paired_gain(scores, against, direction)
        common = [seed for seed in scores if seed in against]
        if common:
            pair = fmean(scores[seed] for seed in common), fmean(against[seed] for seed in common)
            ratio = transfer_ratio(*pair, direction)
    row: dict[str, Any] = {key: cell.value(key) for key in keys}
    row |= {"mean": spread.mean, "std": spread.std, "n": spread.n}
    row |= {"gain": gain.gain, "gain_low": gain.low, "gain_high": gain.high, "gain_n": gain.n}
    row |= {"transfer_ratio": ratio, "forgetting": _forgetting(cell, metrics[0])}
    row["trainable_share"] = _over(cell, "counts", "trainable_share", fmean)
    row["seconds"] = _over(cell, "seconds", "total", median)
    row |= {"failed": cell.failed, "missing": cell.missing}
    for metric in metrics[1:]:
        other = mean_std(list(cell.scores(metric).values()))
        row |= {f"{metric}.mean": other.mean, f"{metric}.std": other.std, f"{metric}.n": other.n}
    return row


def _over(cell: Cell, section: str, name: str, summary: Any) -> float | None:
    """`summary` of one number of the completed runs' records, over those that have it."""
    found = [run.record.get(section, {}).get(name) for run in cell.completed]
    numbers = [number for number in found if number is not None]
    return summary(numbers) if numbers else None


def _forgetting(cell: Cell, metric: str) -> float | None:
    """Mean forgetting: that of the table's metric when the source is scored by it, else of the first there is."""
    names = sorted({n for run in cell.completed for n in run.record.get("metrics", {}) if n.startswith("forgetting/")})
    same = f"forgetting/{metric.rsplit('/', 1)[-1]}"
    if not names:
        return None
    return mean_std(list(cell.scores(same if same in names else names[0]).values())).mean
