"""What a table's caption says: how its numbers were made, and what speaks against trusting them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tlx.results.cells import CHOICES, Cell
from tlx.results.collect import Run
from tlx.results.naming import setting

SHOWN = 4  # rows named in one warning


def notes(
    cells: Sequence[Cell],
    metrics: Sequence[str],
    direction: str | None,
    rows: Sequence[Mapping[str, Any]],
    baseline: str | None,
    scores_only: bool,
) -> list[str]:
    """Sentences on the metric, the spread and the selection, and unless `scores_only` on the other columns."""
    better = f", {direction} is better" if direction else ""
    numbers = sorted({row["n"] for row in rows if row["n"]})
    if not numbers:
        return [f"No completed run has {' or '.join(metrics)} yet."]
    seeds = f"n = {numbers[0]}" if len(numbers) == 1 else f"n = {numbers[0]} to {numbers[-1]}"
    said = [f"{', '.join(metrics)} as mean ± standard deviation over seeds (ddof 1), (n) in brackets; {seeds}{better}."]
    shown = {name for row in rows for name, value in row.items() if value is not None and not scores_only}
    if "gain" in shown:
        said.append(
            f"Gain: mean difference to {baseline} over common seeds, positive = better, [95 % paired t interval]; "
            f"the baseline is the {baseline} cell equal in everything but the strategy's own settings."
        )
    modes = sorted({str(run.record.get("selection")) for cell in cells for run in cell.completed})
    meaning = {"best": "best (checkpoint with the best validation score)", "last": "last (weights after the last step)"}
    if modes:
        said.append(f"Selection: {' and '.join(meaning.get(mode, mode) for mode in modes)}.")
    if "forgetting" in shown:
        said.append("Forgetting: source score before minus after.")
    if "seconds" in shown:
        said.append("Seconds: median of a run.")
    return said


def warnings(
    cells: Sequence[Cell],
    metric: str,
    runs: Sequence[Run],
    direction: str | None,
    baseline: str | None,
    partners: Mapping[str, Cell],
    unclear: Sequence[Cell],
) -> list[str]:
    """Sentences, each beginning with "Warning:", on what a reader must know before believing the numbers."""
    said = []
    if baseline:
        said += _on_baseline(cells, metric, baseline, partners, unclear)
        if partners and direction is None and any(cell.scores(metric) for cell in cells):
            said.append(f"the records do not say whether higher or lower {metric} is better, so there is no gain.")
    said += _on_mixtures(cells)
    still = [cell for cell in cells if len(cell.scores(metric)) > 2 and len(set(cell.scores(metric).values())) == 1]
    if still:
        said.append(
            f"all seeds have the same {metric} in {_named(still)}: a score at its ceiling, or the same weights scored "
            "again and again."
        )
    lost = [cell for cell in cells if cell.scores(metric) and len(cell.scores(metric)) < len(cell.completed)]
    if lost:
        said.append(f"some completed runs have no finite {metric} and are left out of {_named(lost)}.")
    again = [cell for cell in cells if any(run.record.get("counts", {}).get("test_reads", 0) > 1 for run in cell.runs)]
    if again:
        said.append(f"the test split was read more than once in {_named(again)}.")
    if smaller := [cell for cell in cells if any(run.record.get("halvings") for run in cell.completed)]:
        said.append(f"batches were halved for want of GPU memory (and gradients accumulated) in {_named(smaller)}.")
    if damaged := [run for run in runs if run.status == "damaged"]:
        said.append(f"{len(damaged)} records are damaged, among them: {damaged[0].problem}")
    return [f"Warning: {text}" for text in said]


def _on_baseline(
    cells: Sequence[Cell], metric: str, baseline: str, partners: Mapping[str, Cell], unclear: Sequence[Cell]
) -> list[str]:
    others = [cell for cell in cells if cell.value("strategy") != baseline]
    if others and not any(cell.value("strategy") == baseline for cell in cells):
        return [f"there are no {baseline} runs, so there is no gain."]
    said = []
    unclear = [cell for cell in unclear if cell.scores(metric)]
    if unclear:
        said.append(
            f"several {baseline} cells could be the baseline of {_named(unclear)}, so there is no gain; "
            "--tune-over optimizer.lr picks one by validation."
        )
    alone = [cell for cell in others if cell.id not in partners and cell not in unclear and cell.scores(metric)]
    if alone:
        said.append(f"no {baseline} cell equals {_named(alone)} in everything but the strategy's own settings.")
    paired = [cell for cell in others if cell.id in partners and cell.scores(metric)]
    fewer = [cell for cell in paired if cell.scores(metric).keys() != partners[cell.id].scores(metric).keys()]
    if fewer:
        said.append(f"the seeds of {_named(fewer)} and of the baseline differ; gains use the common ones.")
    return said


def _on_mixtures(cells: Sequence[Cell]) -> list[str]:
    """Code, threads and devices are recorded, not part of a run's identity: say where a table mixes them."""
    parts: dict[str, Callable[[Run], Any]] = {
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
            within = f"; within {_named(mixed)}" if mixed else ""
            said.append(f"runs mix {name} ({listed}{', …' if len(counts) > SHOWN else ''}){within}.")
    dirty = sum(run.record.get("versions", {}).get("dirty") is True for cell in cells for run in cell.completed)
    if dirty:
        said.append(f"{dirty} runs were made by code with uncommitted changes.")
    return said


def _short(value: Any) -> str:
    return "unknown" if value is None else str(value)[:10]


def _named(cells: Sequence[Cell]) -> str:
    names = [" × ".join(setting(key, cell.value(key)) for key in CHOICES) for cell in cells]
    names = list(dict.fromkeys(names))
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
