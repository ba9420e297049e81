"""What speaks against the seeds behind a table's rows: too few, alike, collapsed, failed, or no replicates at all."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tlx.results.baseline import Partners
from tlx.results.cells import SHOWN, Cell, named
from tlx.results.collapse import known_predictions
from tlx.results.metric_names import direction_of
from tlx.results.naming import lookup
from tlx.results.survivors import failed_seeds


def on_seeds(cells: Sequence[Cell], metric: str, partners: Partners, beside: bool = False) -> list[str]:
    """Sentences on the seeds of these rows, whose baselines are `partners`.

    Args:
        beside: whether a column beside the gain takes failed seeds at the score of guessing.
    """
    said = []
    scored = [(cell, cell.scores(metric)) for cell in cells]
    if single := [cell for cell, scores in scored if len(scores) == 1]:
        said.append(
            f"one seed only in {named(single)}: no spread, no interval, no test. Run more, e.g. seed=0,1,2,3,4."
        )
    said += _on_collapse(cells, metric, partners)
    said += _on_failures(cells, metric, beside)
    said += _on_replicates(cells, metric)
    said += _on_equal_scores(cells, metric)
    strays = [(cell, scores, cell.outliers(metric)) for cell, scores in scored]
    told = [
        f"{named([cell])} seed {seed} ({scores[seed]:.3f}, {why}{'' if why == 'at chance' else ' the others'})"
        for cell, scores, found in strays
        for seed, why in found.items()
    ]
    if told:
        more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        said.append(
            f"‡ outlier seeds, kept in every number: {', '.join(told[:SHOWN])}{more}. Far: a modified z-score that a "
            "clean cell of this size reaches in 1 % of cases; at chance: no better than guessing."
        )
    return said


def unseen_collapses(cells: Sequence[Cell], metric: str) -> list[str]:
    """How often runs may collapse or fail without any of these seeds showing it, and of which runs it is not known."""
    said = []
    clean = [
        len(cell.scores(metric))
        for cell in cells
        if len(cell.scores(metric)) > 1 and not cell.collapsed(metric) and not failed_seeds(cell, metric)
    ]
    if clean and metric.startswith("test/"):
        seeds = sorted(set(clean))
        few, many = (f"{100 * unseen_rate(n):.0f} %" for n in (seeds[0], seeds[-1]))
        number = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        share = (
            f"up to {few}" if few == many else f"up to {few} (at {seeds[0]} seeds) and up to {many} (at {seeds[-1]})"
        )
        said.append(
            f"Rare collapses: {number} seeds without one leave open that {share} of runs collapse or fail (95 %)."
        )
    runs = [run for cell in cells for run in cell.completed]
    unknown = [run for run in runs if known_predictions(run) is None]
    if unknown and metric.startswith("test/"):
        said.append(
            f"Not known of {len(unknown)} of {len(runs)} runs, whose records are of an earlier version and have no "
            "predictions beside them: how common the commonest label is, and whether they predict one class only."
        )
    return said


def unseen_rate(n: int, level: float = 0.95) -> float:
    """The largest share of bad runs of which n runs show none with probability 1 − level: 1 − (1 − level)^(1/n).

    The exact upper limit of Clopper & Pearson (1934) for none of n; at n = 5 it is 0.45, for large n near 3/n.
    """
    return float(1 - (1 - level) ** (1 / n))


def _on_collapse(cells: Sequence[Cell], metric: str, partners: Partners) -> list[str]:
    said = []
    found = [(cell, cell.collapsed(metric)) for cell in cells]
    if told := [f"{named([cell])} {_by_reason(bad, len(cell.scores(metric)))}" for cell, bad in found if bad]:
        said.append(f"§ collapsed runs, kept in every number: {_few(told)}.")
    mostly, partly = [], defaultdict(list)
    for cell in cells:
        partner = partners.found.get(cell.id)
        common = cell.scores(metric).keys() & partner.scores(metric).keys() if partner else set()
        bad = partner.collapsed(metric).keys() & common if partner else set()
        if bad and 2 * len(bad) >= len(common):
            mostly.append(cell)
        elif bad:
            partly[len(bad), len(common)].append(cell)
    if mostly:
        said.append(
            f"the baseline of {named(mostly)} collapsed, in half of its seeds or more: a gain over it says that the "
            "baseline failed, not that transfer helps. Give it another learning rate or more steps before believing "
            "the gain."
        )
    for (bad_n, n), some in sorted(partly.items()):
        said.append(
            f"{bad_n} of {n} baseline seeds of {named(some)} collapsed: part of a gain over them says that "
            "these failed."
        )
    return said


def _by_reason(bad: Mapping[Any, str], n: int) -> str:
    """`seeds 0, 1 of 5 (why)`; all that a cell has: `all 5 seeds (why)`."""
    parts = []
    for why in dict.fromkeys(bad.values()):
        seeds = [str(seed) for seed, reason in bad.items() if reason == why]
        word = "seed" if len(seeds) == 1 else "seeds"
        parts.append(f"all {n} seeds ({why})" if 1 < len(seeds) == n else f"{word} {', '.join(seeds)} of {n} ({why})")
    return " and ".join(parts)


def _on_failures(cells: Sequence[Cell], metric: str, beside: bool) -> list[str]:
    """Cells of which some seeds failed and others did not: the others are survivors."""
    told = []
    for cell in cells:
        lost = failed_seeds(cell, metric)
        if lost and cell.scores(metric):
            told.append(f"{named([cell])} {_by_reason(lost, len(lost) + len(cell.scores(metric)))}")
    if not told:
        return []
    where = " The column beside the gain takes them at the score of guessing." if beside else ""
    return [
        f"seeds failed in {_few(told)}; mean, deviation and gain are of the survivors, and no verdict rests on those "
        f"alone.{where}"
    ]


def _on_replicates(cells: Sequence[Cell], metric: str) -> list[str]:
    """Cells whose seeds gave the same weights: one run, counted several times."""
    same = []
    for cell in cells:
        runs = [run for run in cell.completed if run.metric(metric) is not None]
        distinct = len({_made_by(run.record, run.seed) for run in runs})
        if distinct < len(runs):
            same.append((cell, distinct, len(runs)))
    if not same:
        return []
    numbers = sorted({f"{distinct} of {n}" for _, distinct, n in same})
    return [
        f"seeds are no replicates in {named([cell for cell, _, _ in same])}: on the same examples the method does not "
        f"depend on them ({', '.join(numbers)} runs are of their own). Deviation and interval are not of the method; "
        "let the training examples follow the seed, or count such a cell as one run."
    ]


def _made_by(record: Mapping[str, Any], seed: Any) -> Any:
    """What decides a run's weights, where the record can tell that seeds do not; else the seed itself."""
    solver = lookup(dict(record.get("config") or {}), "strategy.solver._target_")
    fixed = lookup(dict(record.get("config") or {}), "strategy.init") == "pretrained"
    if solver and fixed and record.get("split"):
        return "solved", record["split"]
    return record.get("checkpoint") or ("seed", seed)


def _on_equal_scores(cells: Sequence[Cell], metric: str) -> list[str]:
    """Cells whose seeds all have the same score for a reason that is not said elsewhere."""
    still = [
        cell
        for cell in cells
        if len(scores := cell.scores(metric)) > 2 and len(set(scores.values())) == 1 and not cell.collapsed(metric)
    ]
    still = [cell for cell in still if not _has_nothing_to_forget(cell, metric)]
    bounded = (
        direction_of(cells, metric) == "higher"
        and not metric.startswith("forgetting/")
        and all(score <= 1 for cell in cells for score in cell.scores(metric).values())
    )
    ceiling = [cell for cell in still if bounded and set(cell.scores(metric).values()) == {1.0}]
    said = []
    if ceiling:
        said.append(f"all seeds have the same {metric} in {named(ceiling)}: 1, its ceiling.")
    other = [cell for cell in still if cell not in ceiling and not _on_replicates([cell], metric)]
    if other:
        below = ", below its ceiling" if bounded else ""
        said.append(
            f"all seeds have the same {metric} in {named(other)}{below}, and their weights differ or are not known: "
            "that is no spread to judge by, and a reason to look at these runs."
        )
    return said


def _has_nothing_to_forget(cell: Cell, metric: str) -> bool:
    """Whether a forgetting of exactly 0 is what it must be: in no run of the cell anything but the head was trained."""
    if not metric.startswith("forgetting/") or any(cell.scores(metric).values()):
        return False
    plans = [(run.record.get("plan") or {}).get("phases") for run in cell.completed]
    return all(
        "solver" in run.record or (phases and all(set(phase.get("trainable", ())) <= {"head"} for phase in phases))
        for run, phases in zip(cell.completed, plans, strict=True)
    )


def _few(told: Sequence[str]) -> str:
    return ", ".join(told[:SHOWN]) + (f" and {len(told) - SHOWN} more" if len(told) > SHOWN else "")
