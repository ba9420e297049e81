"""The table of a study: one row a cell, mean ± std over its seeds, the gain over the baseline, and what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from tlx.errors import UserError, unknown
from tlx.results import caption
from tlx.results.baseline import Partners, baselines
from tlx.results.best import against_best
from tlx.results.cells import CHOICES, Cell, cells, check_key, distinguishing, seed_names
from tlx.results.collect import Run
from tlx.results.gains import LEVEL, Gain, gains
from tlx.results.metric_names import direction_of, metric_names, words
from tlx.results.naming import place
from tlx.results.pivot import Pivot, span
from tlx.results.predictions import over_examples
from tlx.results.seed_warnings import unseen_collapses
from tlx.results.selection import refuse_selection_on_test
from tlx.results.statistics import PairedT, mean_std
from tlx.results.statistics.power import detectable_difference
from tlx.results.survivors import intention_to_treat, with_failures
from tlx.results.tuning import refuse_choice_as_result, tuned_cells
from tlx.results.warnings import warnings


@dataclass(frozen=True)
class Table:
    """Rows of plain values and what must be said of them; `tlx.results.formats.render` writes it.

    A row maps model, strategy, dataset, train_size and every further setting of `keys` to the cell's choice, and to its
    results, None where a thing does not exist:

    - mean, std, n of the first metric; further metrics M stand as `M.mean`, `M.std` and `M.n`;
    - gain; gain_low, gain_high: its paired t interval of coverage gain_coverage, 0.95, not corrected; gain_n (pairs),
      gain_p (paired t test, not corrected);
    - gain_p_holm, and gain_low_holm, gain_high_holm: the interval that belongs to the verdict, of coverage
      gain_coverage_holm, which is that of its step in Holm's correction over the gain_family gains of the table,
      controls included; and the verdict that follows from it: "helps", "hurts", "inconclusive after correction" (only
      the uncorrected interval leaves out 0), "no evidence" or "cannot be judged" (all seeds gain the same);
    - detectable: the gain that so many seeds find in 80 % of studies at Holm's strictest level, the uncertainty of the
      spread included; None where it is more than there can be;
    - examples_low, examples_high: the gain's 95 % interval over draws of test examples, where these were asked for;
    - gain_itt, gain_itt_low, gain_itt_high, gain_itt_n: where seeds failed, the gain by intention to treat: over all
      seeds that began, the failed ones at the score of guessing (`tlx.results.survivors`), with its interval at Holm's
      strictest level;
    - collapsed: seed → why its run learnt nothing; baseline_collapsed_n: how many of the gain_n runs of the baseline
      did not learn; baseline_collapsed: whether these are half of them or more;
    - against_best: "best" of its model, data set and size, "not distinguishable" from it, or "worse" (None where
      only the verdict on a gain says that it is);
    - transfer_ratio, forgetting (mean), trainable_share (mean), seconds (median a run);
    - failed and missing (numbers of runs), outliers (seed → why its score does not belong to the others) and unsealed
      (whether a run read the test split more than once or before its training had ended).
    """

    metrics: list[str]
    baseline: str | None
    keys: list[str]
    rows: list[dict[str, Any]]
    notes: list[str]
    group_by: list[str]
    pivot: Pivot | None = None
    directions: dict[str, str | None] = field(default_factory=dict)  # metric → "higher" or "lower" is better

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
    tune_seeds: Sequence[str] | str | None = None,
    rows: Sequence[str] | str | None = None,
    columns: Sequence[str] | str | None = None,
    examples: bool = False,
) -> Table:
    """Average the completed runs of each cell and compare each cell with its baseline.

    Lists may be given as one string with commas. A row is always one cell: runs that differ in anything but the seed
    are never averaged.

    Args:
        metrics: names as in the records; `accuracy` is taken for `test/accuracy`. The first one has the gain.
        baseline: the strategy to compare with; None or "none" for no comparison.
        group_by: settings to sort by first; md and latex set a section for each of their values.
        tune_over: settings of which each row keeps the value with the best mean validation score.
        tune_seeds: the seeds that choose this value, and are in no row; without them all seeds choose and are shown.
        rows: settings down a grid of `mean ± std (n)`; where `columns` alone are given, what else varies.
        columns: settings across it; where `rows` alone are given, what else varies.
        examples: read the stored predictions, too, and resample the test examples of each gain.

    Raises:
        UserError: no runs; an unknown metric, strategy or setting; a grid with two cells in one place; a run whose
            checkpoint was chosen by its test score.
    """
    found = cells(runs)
    if not found:
        raise UserError("no runs to make a table of." + "".join(f" {run.problem}" for run in runs if run.problem))
    refuse_selection_on_test(found)
    names = metric_names(found, words(metrics, "--metric") or ["test/accuracy"])
    given = {"--tune-over": tune_over, "--group-by": group_by, "--rows": rows, "--columns": columns}
    options = {option: words(value, option) for option, value in given.items()}
    tuned_keys, sections, down, across = options.values()
    by_seed = seed_names(found)
    for option, keys in options.items():
        for key in keys:
            check_key(found, key, option, by_seed)
    reference = _baseline(found, baseline)
    tuned = tuned_cells(found, tuned_keys, words(tune_seeds, "--tune-seeds"))
    unjudged = refuse_choice_as_result(tuned, names[0])
    kept = tuned.cells
    ignored = by_seed | set(tuned_keys)
    extra = distinguishing(kept, ignored)
    asked = dict.fromkeys(key for keys in options.values() for key in keys)
    extra = [key for key in asked if key not in (*CHOICES, *extra)] + extra
    directions = {name: direction_of(kept, name) for name in names}
    direction = directions[names[0]]
    partners = baselines(kept, reference, ignored) if reference else Partners()
    keys = [*CHOICES, *extra]
    order = sorted(kept, key=lambda cell: _order(cell, sections, keys, reference))
    pairs = [(cell, partners.found[cell.id]) for cell in order if cell.id in partners.found] if direction else []
    pairs = [] if unjudged else pairs
    found_gains = with_failures(gains(pairs, names[0], direction), names[0], direction) if direction else []
    by_cell = {gain.cell.id: gain for gain in found_gains}
    drawn = {}
    if examples and direction:
        drawn = {gain.cell.id: over_examples(gain, names[0], direction) for gain in found_gains if gain.by_seed}
    standing = {} if unjudged else against_best(order, names[0], direction, by_cell)
    table_rows = [_row(cell, keys, names, by_cell.get(cell.id), standing.get(cell.id)) for cell in order]
    for cell, row in zip(order, table_rows, strict=True):
        row |= _doubt_columns(cell, by_cell.get(cell.id), names[0], direction)
        row["examples_low"], row["examples_high"] = (drawn[cell.id].interval if cell.id in drawn else None) or (
            None,
            None,
        )
    if caption.fraction(table_rows, direction):
        for row in table_rows:  # no gain is over 100 points
            row["detectable"] = row["detectable"] if (row["detectable"] or 0) <= 1 else None
    grid = span(table_rows, down, across, keys, reference) if down or across else None
    notes = caption.notes(order, names, directions, table_rows, reference, scores_only=grid is not None) + tuned.notes
    notes += caption.on_draws(list(drawn.values()), grid is not None) if examples else []
    notes += caption.on_best(order, standing, keys)
    notes += unseen_collapses(order, names[0])
    notes += [f"Warning: {unjudged}"] if unjudged else []
    beside = grid is None and any(row["gain_itt"] is not None for row in table_rows)
    notes += warnings(order, names[0], runs, direction, reference, partners, beside)
    return Table(names, reference, keys, table_rows, notes, sections, grid, directions)


def _baseline(cells: Sequence[Cell], asked: str | None) -> str | None:
    """The baseline's name; `scratch`, the default, may be absent, any other must be among the strategies."""
    if asked is None or asked == "none":
        return None
    strategies = sorted({str(cell.value("strategy")) for cell in cells})
    if asked not in strategies and asked != "scratch":
        raise unknown("baseline", asked, [*strategies, "none"], "A baseline is a strategy among these runs.")
    return asked


def _order(cell: Cell, sections: Sequence[str], keys: Sequence[str], baseline: str | None) -> list[tuple]:
    """Sections first; then model, dataset, train_size, the baseline before other strategies, further settings."""
    first = ["model", "dataset", "train_size", "strategy"]
    names = [*sections, *first, *(key for key in keys if key not in first)]
    return [*(place(name, cell.value(name), baseline) for name in names), (cell.id,)]


def _row(
    cell: Cell, keys: Sequence[str], metrics: Sequence[str], gain: Gain | None, standing: str | None
) -> dict[str, Any]:
    spread = mean_std(list(cell.scores(metrics[0]).values()))
    row: dict[str, Any] = {key: cell.value(key) for key in keys}
    row |= {"mean": spread.mean, "std": spread.std, "n": spread.n}
    row |= _gain_columns(gain)
    row["against_best"] = standing
    row["forgetting"] = _forgetting(cell, metrics[0])
    row["trainable_share"] = _over(cell, "counts", "trainable_share", fmean)
    # What earlier runs did for this one counts, or the strategy that happened to come first would look dear.
    alone = _over(cell, "seconds_alone", "total", median)
    row["seconds"] = _over(cell, "seconds", "total", median) if alone is None else alone
    row |= {"failed": cell.failed, "missing": cell.missing}
    row |= {"outliers": cell.outliers(metrics[0]) or None, "unsealed": cell.unsealed}
    for metric in metrics[1:]:
        other = mean_std(list(cell.scores(metric).values()))
        row |= {f"{metric}.mean": other.mean, f"{metric}.std": other.std, f"{metric}.n": other.n}
    return row


def _gain_columns(gain: Gain | None) -> dict[str, Any]:
    t = gain.t if gain else PairedT(None, None, None, 0, None, None)
    corrected = gain.corrected if gain else None
    detectable = None
    if gain and t.p is not None and t.std is not None:
        detectable = detectable_difference(t.std, t.n, gain.level)
    return {
        "gain": t.mean,
        "gain_low": t.low,
        "gain_high": t.high,
        "gain_coverage": None if t.low is None else 1 - LEVEL,
        "gain_n": t.n,
        "gain_p": t.p,
        "gain_p_holm": gain and gain.p_holm,
        "gain_low_holm": corrected and corrected.low,
        "gain_high_holm": corrected and corrected.high,
        "gain_coverage_holm": corrected and corrected.coverage,
        "gain_family": gain.family if gain and corrected else None,
        "verdict": gain and gain.verdict,
        "detectable": detectable,
        "transfer_ratio": gain and gain.transfer_ratio,
    }


def _doubt_columns(cell: Cell, gain: Gain | None, metric: str, direction: str | None) -> dict[str, Any]:
    """What its collapsed and failed seeds say of a row and of its gain."""
    intended = intention_to_treat(gain, metric, direction) if gain and direction else None
    t = intended.t if intended else PairedT(None, None, None, 0, None, None)
    bad = len(gain.partner.collapsed(metric).keys() & gain.by_seed.keys()) if gain and gain.by_seed else None
    return {
        "collapsed": cell.collapsed(metric) or None,
        "baseline_collapsed": None if bad is None or gain is None else 2 * bad >= len(gain.by_seed),
        "baseline_collapsed_n": bad,
        "gain_itt": t.mean,
        "gain_itt_low": t.low,
        "gain_itt_high": t.high,
        "gain_itt_n": t.n if intended else None,
    }


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
