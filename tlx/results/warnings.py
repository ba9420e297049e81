"""What speaks against trusting a table: sentences for its caption."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from tlx.record.remarks import largest, remarks
from tlx.results.baseline import Partners, different, seeds_apart
from tlx.results.busy import on_seconds
from tlx.results.cells import SHOWN, Cell, named
from tlx.results.collect import Run
from tlx.results.commands import missing_baseline
from tlx.results.naming import comparable
from tlx.results.seed_warnings import on_seeds
from tlx.results.survivors import failed_seeds
from tlx.results.tuning import monitor


def warnings(
    cells: Sequence[Cell],
    metric: str,
    runs: Sequence[Run],
    direction: str | None,
    baseline: str | None,
    partners: Partners,
    beside: bool = False,
) -> list[str]:
    """Sentences, each beginning with "Warning:", on what a reader must know before believing the numbers.

    Args:
        beside: whether a column beside the gain takes failed seeds at the score of guessing.
    """
    said = []
    if baseline:
        said += _on_baseline(cells, metric, baseline, partners)
        if partners.found and direction is None and any(cell.scores(metric) for cell in cells):
            said.append(f"the records do not say whether higher or lower {metric} is better, so there is no gain.")
    said += on_seeds(cells, metric, partners, beside)
    said += _on_mixtures(cells)
    said += on_seconds(cells)
    lost = [cell for cell in cells if len(cell.scores(metric)) < len(cell.completed)]
    if part := [cell for cell in lost if cell.scores(metric)]:
        said.append(f"some completed runs have no finite {metric} and are left out of {named(part)}.")
    if none := [cell for cell in lost if not cell.scores(metric)]:
        said.append(f"no completed run of {named(none)} has a finite {metric}.")
    chosen = [cell for cell in cells if cell.scores(metric) and metric == f"val/{monitor(cell)}" and _best(cell)]
    if chosen:
        said.append(
            f"{metric} chose the checkpoints of {named(chosen)} (selection=best), so that it is too good: report a "
            "test metric."
        )
    if unsealed := [cell for cell in cells if cell.unsealed]:
        said.append(f"† the test split was read more than once, or before training ended, in {named(unsealed)}.")
    if smaller := [cell for cell in cells if any(run.record.get("halvings") for run in cell.completed)]:
        said.append(f"batches were halved for want of GPU memory (and gradients accumulated) in {named(smaller)}.")
    if short := [cell for cell in cells if any(_ended_early(run.record) for run in cell.completed)]:
        said.append(f"training ended before the last phase of its plan, with layers never trained, in {named(short)}.")
    said += _on_data(cells)
    if damaged := [run for run in runs if run.status == "damaged"]:
        number = f"{len(damaged)} files of these studies" if len(damaged) > 1 else "a file of this study"
        more = f" And {len(damaged) - SHOWN} more." if len(damaged) > SHOWN else ""
        problems = " ".join(str(run.problem) for run in damaged[:SHOWN])
        said.append(f"{number} cannot be read: {problems}{more}")
    return [f"Warning: {text}" for text in said]


def _ended_early(record: dict[str, Any]) -> bool:
    """Whether phases of the run's plan were never reached; earlier versions did not say, and their steps do."""
    plan, steps = record.get("plan") or {}, (record.get("counts") or {}).get("steps")
    last = (plan.get("phases") or [{}])[-1].get("start")
    return isinstance(steps, int) and isinstance(last, int) and 0 < steps <= last


def _best(cell: Cell) -> bool:
    return any(run.record.get("selection") == "best" for run in cell.completed)


def _on_baseline(cells: Sequence[Cell], metric: str, baseline: str, partners: Partners) -> list[str]:
    others = [cell for cell in cells if cell.value("strategy") != baseline]
    if others and not any(cell.value("strategy") == baseline for cell in cells):
        return [
            f"there are no {baseline} runs, so there is no gain. "
            f"{missing_baseline(others, baseline, different(others))}"
        ]
    said = []
    unclear = [cell for cell in partners.unclear if cell.scores(metric)]
    if unclear:
        said.append(
            f"several {baseline} cells could be the baseline of {named(unclear)}, so there is no gain; "
            "--tune-over optimizer.lr picks one by validation."
        )
    apart = [cell for cell in partners.apart if cell.scores(metric)]
    if apart:
        said.append(
            f"{named(apart)} and the {baseline} cell were trained or tested on different examples (their records' "
            "`split` differs), so they are not paired and there is no gain."
        )
    told = {cell.id for cell in (*partners.unclear, *partners.apart)} | partners.found.keys()
    alone = [cell for cell in others if cell.id not in told and cell.scores(metric)]
    if alone:
        said.append(
            f"no {baseline} cell equals {named(alone)} in everything but the strategy's own settings. "
            f"{missing_baseline(alone, baseline, different(alone))}"
        )
    return said + _on_pairs([(cell, partners.found[cell.id]) for cell in others if cell.id in partners.found], metric)


def _on_pairs(pairs: Sequence[tuple[Cell, Cell]], metric: str) -> list[str]:
    """Cells whose seeds are not those of their baseline, and why some share none with it."""
    why: dict[str, list[Cell]] = {
        "the seeds of {} and of the baseline differ; gains use the common ones.": [],
        "the seeds of {} and of the baseline have none in common, so there is no gain.": [],
        "all runs of the baseline of {} failed, so there is no gain: see why they did, and run them again.": [],
        f"no run of the baseline of {{}} has {metric}, so there is no gain.": [],
        "no run of the baseline of {} has completed, so there is no gain yet.": [],
    }
    fewer, apart, failed, lacking, coming = why.values()
    for cell, partner in pairs:
        mine, theirs = cell.scores(metric).keys(), partner.scores(metric).keys()
        if not mine or mine == theirs:
            continue
        if theirs:
            (fewer if mine & theirs else apart).append(cell)
        elif failed_seeds(partner, metric):
            failed.append(cell)
        else:
            (lacking if partner.completed else coming).append(cell)
    return [sentence.replace("{}", named(found), 1) for sentence, found in why.items() if found]


def _on_mixtures(cells: Sequence[Cell]) -> list[str]:
    """Code, threads and devices are recorded, not part of a run's identity: say where a table mixes them."""
    parts: dict[str, Callable[[Run], Any]] = {
        "selection modes": lambda run: run.record.get("selection"),
        "code versions": lambda run: run.record.get("versions", {}).get("code"),
        "thread counts": lambda run: run.record.get("machine", {}).get("threads"),
        "devices": lambda run: run.record.get("machine", {}).get("device"),
    }
    said = []
    for name, part in parts.items():
        counts = Counter(part(run) for cell in cells for run in cell.completed)
        if len(counts) > 1:
            mixed = [cell for cell in cells if len({part(run) for run in cell.completed}) > 1]
            listed = ", ".join(f"{_short(value)} × {number}" for value, number in counts.most_common(SHOWN))
            within = f"; within {named(mixed)}" if mixed else ""
            said.append(f"runs mix {name} ({listed}{', …' if len(counts) > SHOWN else ''}){within}.")
    dirty = sum(run.record.get("versions", {}).get("dirty") is True for cell in cells for run in cell.completed)
    if dirty:
        said.append(f"{dirty} runs were made by code with uncommitted changes.")
    return [*said, *_on_splits(cells), *_on_budgets(cells)]


def _on_splits(cells: Sequence[Cell]) -> list[str]:
    """Where scores were computed from different examples, so that they are not comparable."""
    said = []
    mixed = [
        cell
        for group in _alike(cells, "model", "dataset", "train_size")
        if any(seeds_apart(group[0], other) for other in group)
        for cell in group
    ]
    if mixed:
        said.append(f"runs mix splits: one seed was trained or tested on different examples in {named(mixed)}.")
    tested = [
        cell
        for group in _alike(cells, "dataset")
        if any(len(set().union(*known)) > 1 for known in zip(*(cell.test_sets for cell in group), strict=True))
        for cell in group
    ]
    if tested and not mixed:
        said.append(f"runs mix test sets: {named(tested)} were not all tested on the same examples.")
    return said


def _on_budgets(cells: Sequence[Cell]) -> list[str]:
    """Rows of one data set and size that saw their training examples a different number of times."""
    told = []
    for group in _alike(cells, "model", "dataset", "train_size"):
        budgets: dict[int, list[Cell]] = defaultdict(list)
        for cell in group:
            labels, epochs = cell.count("train_labels"), cell.count("epochs")
            if cell.value("strategy.solver._target_"):
                continue  # it has iterations, each over all examples, and stops when they change nothing
            if labels is not None and epochs is not None:
                budgets[labels * epochs].append(cell)
        if len(budgets) > 1:
            usual = max(sorted(budgets), key=lambda examples: len(budgets[examples]))
            other = [
                f"{_up_to(examples, some)} in {named(some)}"
                for examples, some in sorted(budgets.items())
                if examples != usual
            ]
            told.append(f"{', '.join(other)}, {usual} in the other{'s' if len(budgets[usual]) > 1 else ''}")
    if not told:
        return []
    more = f"; {len(told) - 1} more such groups" if len(told) > 1 else ""
    return [f"rows mix budgets (training examples seen): {told[0]}{more}."]


def _on_data(cells: Sequence[Cell]) -> list[str]:
    """What the runs of each data set found in its examples: overlaps, labels that are never trained, missing labels."""
    groups = _alike(cells, "dataset")
    said, silent = [], 0
    for group in groups:
        found = []
        for run in (run for cell in group for run in cell.completed):
            try:
                found.append(remarks(run.record["data"], run.choices.get("train_size")))
            except (KeyError, TypeError, AttributeError, ValueError):  # an earlier version's record, or an edited one
                silent += 1
        said += [f"{group[0].value('dataset')}: {text}" if len(groups) > 1 else text for text in largest(found)]
    if silent:
        said.append(f"{silent} runs of an earlier version do not say whether training holds examples of other parts.")
    return said


def _up_to(examples: int, cells: Sequence[Cell]) -> str:
    """The most that a run of these cells saw; runs that end by themselves differ."""
    epochs = {run.record.get("counts", {}).get("epochs") for cell in cells for run in cell.completed}
    return f"up to {examples}" if len(epochs) > 1 else f"{examples}"


def _alike(cells: Sequence[Cell], *keys: str) -> list[list[Cell]]:
    """The cells with completed runs, grouped by their values of `keys`."""
    groups: dict[tuple, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.completed:
            groups[tuple(comparable(cell.value(key)) for key in keys)].append(cell)
    return list(groups.values())


def _short(value: Any) -> str:
    return "unknown" if value is None else str(value)[:10]
