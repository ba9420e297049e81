"""One comparison of two strategies (or of any two settings), with its tests: `tlx table --compare A B`."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from tlx.errors import UserError
from tlx.results.baseline import BASELINE, Partners, baselines, partners
from tlx.results.best import UNDECIDED
from tlx.results.caption import selection_note
from tlx.results.cells import CHOICES, Cell, cells, check_key, distinguishing, named, seed_names
from tlx.results.collect import Run
from tlx.results.compared import Compared, Pair, row
from tlx.results.comparison_text import text
from tlx.results.gains import Gain, gains
from tlx.results.metric_names import direction_of, metric_names, words
from tlx.results.naming import natural
from tlx.results.overall import over_datasets
from tlx.results.predictions import over_examples
from tlx.results.selection import refuse_selection_on_test
from tlx.results.sides import choose, may_differ, parse_side, written_side
from tlx.results.statistics import mean_std
from tlx.results.statistics.effect import cohens_dz, hedges_gz
from tlx.results.statistics.exact import can_decide, sign_flip_p, wilcoxon_p
from tlx.results.statistics.power import power_of
from tlx.results.statistics.resampling import seed_interval
from tlx.results.statistics.verdict import AFTER, HELPS, HURTS, UNJUDGED
from tlx.results.survivors import failed_seeds, intention_to_treat, with_failures
from tlx.results.tuning import refuse_choice_as_result, tuned_cells
from tlx.results.warnings import warnings

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Comparison(Compared):
    """What `compare` finds; printed, it is in words."""

    def frame(self) -> "pandas.DataFrame":
        """One row a pair: its settings, then one column for each number (see `Pair`); None where there is none."""
        import pandas

        return pandas.DataFrame([row(pair) for pair in self.pairs])

    def __str__(self) -> str:
        return text(self)


def compare(
    runs: Sequence[Run],
    first: str,
    second: str,
    metric: str = "test/accuracy",
    tune_over: Sequence[str] | str | None = None,
    tune_seeds: Sequence[str] | str | None = None,
) -> Comparison:
    """Compare two strategies seed by seed, in every model, data set and size that both were run in.

    r.compare(r.collect("runs/study"), "lora", "full")

    Args:
        first: a strategy's name, or settings such as "strategy=lora,model=minilm".
        second: what it is compared with; both sides name the same settings. Two cells make a pair when they are equal
            in all others (for strategies: in all but their own learning rate, scheduler and objective) and saw the same
            examples with the same seed.
        metric: as in the records; `accuracy` is taken for `test/accuracy`.
        tune_over: settings of which each cell keeps the value with the best mean validation score.
        tune_seeds: the seeds that choose this value and are not compared.

    Sides that differ in the strategy alone are corrected over all gains of the table that has the same comparison: of
    every strategy over `scratch` where that is a side, else over the second side. So both say the same. Other sides are
    in no table; they are corrected over their own pairs.

    Raises:
        UserError: no runs, unknown names, no two cells that may be compared, a checkpoint chosen by its test score, a
            metric that chose the settings of the very runs that are compared.
    """
    found = cells(runs)
    if not found:
        raise UserError("no runs to compare." + "".join(f" {run.problem}" for run in runs if run.problem))
    refuse_selection_on_test(found)
    (metric,) = metric_names(found, words([metric], "--metric")[:1])
    by_seed, keys = seed_names(found), words(tune_over, "--tune-over")
    for key in keys:
        check_key(found, key, "--tune-over", by_seed)
    tuned = tuned_cells(found, keys, words(tune_seeds, "--tune-seeds"))
    if unjudged := refuse_choice_as_result(tuned, metric):
        raise UserError(unjudged)
    ignored = by_seed | set(keys)
    sides = parse_side(first), parse_side(second)
    mine, theirs = choose(tuned.cells, *sides, by_seed)
    names = written_side(sides[0]), written_side(sides[1])
    direction = direction_of([*mine, *theirs], metric)
    if direction is None:
        raise UserError(f"the records do not say whether higher or lower {metric} is better: nothing can be compared.")
    partner = partners(mine, theirs, (*ignored, *may_differ(list(sides[0]))), (*ignored, *sides[0], "objective"))
    pairs = [(cell, partner.found[cell.id]) for cell in mine if cell.id in partner.found]
    pairs = [(a, b) for a, b in pairs if a.scores(metric).keys() & b.scores(metric).keys()]
    if not pairs:
        raise UserError(_no_pair(mine, theirs, partner, metric, names))
    shown = [key for key in (*CHOICES, *distinguishing([a for a, _ in pairs], ignored)) if key not in sides[0]]
    pairs.sort(key=lambda pair: [natural(pair[0].value(key)) for key in shown])
    beside, family = _family(tuned.cells, sides, pairs, ignored)
    compared = with_failures(gains([*pairs, *beside], metric, direction)[: len(pairs)], metric, direction)
    results = [_pair(gain, metric, direction, shown, names) for gain in compared]
    both = list({cell.id: cell for pair in pairs for cell in pair}.values())
    notes = selection_note(both) + tuned.notes + warnings(both, metric, runs, direction, None, Partners())
    left = [cell for cell in mine if cell.id not in {pair[0].id for pair in pairs} and cell.scores(metric)]
    if left:
        notes.append(f"Warning: {named(left)} has no counterpart and is left out.")
    uneven = [a for a, b in pairs if a.scores(metric).keys() != b.scores(metric).keys()]
    if uneven:
        notes.append(f"Warning: the two sides have different seeds in {named(uneven)}; the common ones are compared.")
    overall = over_datasets([(a.value("dataset"), a, b) for a, b in pairs], metric, direction)
    number = compared[0].family
    if number > 1 or beside:
        family = f"{number} comparison{'s' * (number != 1)}, {family}"
    return Comparison(metric, direction, *names, results, overall, family, notes)


def _family(
    found: Sequence[Cell], sides: tuple[dict[str, str], ...], pairs: Sequence[tuple[Cell, Cell]], ignored: set[str]
) -> tuple[list[tuple[Cell, Cell]], str]:
    """The comparisons that belong to the same family as `pairs`, and which they are all."""
    differing = [key for key in sides[0] if sides[0][key] != sides[1][key]]
    if differing != ["strategy"]:
        return [], "those of these sides"
    reference = BASELINE if BASELINE in (side["strategy"] for side in sides) else sides[1]["strategy"]
    known = {frozenset((a.id, b.id)) for a, b in pairs}
    over = baselines(found, reference, ignored).found
    table = [(cell, over[cell.id]) for cell in found if cell.id in over]
    beside = [pair for pair in table if frozenset((pair[0].id, pair[1].id)) not in known]
    return beside, f"all gains over {reference} in the table of these runs"


def _no_pair(
    mine: Sequence[Cell], theirs: Sequence[Cell], partner: Partners, metric: str, names: tuple[str, str]
) -> str:
    start = f"nothing to compare {names[0]} with {names[1]} by: "
    if partner.apart:
        return (
            f"{start}{named(partner.apart)} and its counterpart were trained or tested on different examples (their "
            "records' `split` differs). Differences between splits are no differences between methods; run both on one."
        )
    if partner.unclear:
        return (
            f"{start}several cells could be the counterpart of {named(partner.unclear)}. Choose one with --tune-over "
            "optimizer.lr, or name the setting on both sides (strategy=…,optimizer.lr=…)."
        )
    if partner.found:
        return f"{start}no two completed runs with the same seed have {metric}. Run both sides with the same seeds."
    return (
        f"{start}no two cells are equal in everything else ({named(mine)} against {named(theirs)}). "
        "Run both with the same model, data and settings."
    )


def _pair(gain: Gain, metric: str, direction: str, keys: Sequence[str], names: tuple[str, str]) -> Pair:
    values, t = list(gain.by_seed.values()), gain.t
    assert t.mean is not None
    mine, theirs = ([cell.scores(metric)[seed] for seed in gain.by_seed] for cell in (gain.cell, gain.partner))
    decides = can_decide(values, gain.level)
    drawn = over_examples(gain, metric, direction)
    said = {HELPS: f"{names[0]} is better", HURTS: f"{names[1]} is better", AFTER: AFTER, UNJUDGED: UNJUDGED}
    varies = t.p is not None
    shares = direction == "higher" and all(0 <= score <= 1 for score in (*mine, *theirs))
    return Pair(
        settings={key: gain.cell.value(key) for key in keys},
        first=mean_std(mine),
        second=mean_std(theirs),
        gain=gain,
        level=gain.level,
        permutation_p=sign_flip_p(values) if decides else None,
        wilcoxon_p=wilcoxon_p(values) if decides else None,
        examples=drawn.interval,
        examples_problem=drawn.problem,
        test_labels=drawn.examples,
        test_groups=drawn.groups,
        bootstrap=seed_interval(values),
        dz=cohens_dz(t.mean, t.std) if varies else None,
        gz=hedges_gz(t.mean, t.std, t.n) if varies else None,
        power=power_of(t.std, t.n, gain.level, 1.0 if shares else inf) if varies else None,
        outliers=(gain.cell.outliers(metric), gain.partner.outliers(metric)),
        failed=(failed_seeds(gain.cell, metric), failed_seeds(gain.partner, metric)),
        intended=intention_to_treat(gain, metric, direction),
        verdict=said.get(gain.verdict or "", UNDECIDED),
    )
