"""The question of a study and its answer, each in a sentence."""

from collections.abc import Sequence
from typing import Any

from tlx.results.control_names import CONTROLS
from tlx.results.findings import Findings, named
from tlx.results.layout import gain
from tlx.results.naming import written
from tlx.results.statistics.verdict import AFTER, HELPS, HURTS, OPEN, UNJUDGED
from tlx.results.survivors import failed_seeds

FEW = 3  # names that a sentence lists
VERDICTS = {  # a verdict, and what one row and several rows are said to do
    HELPS: ("helps", "help"),
    HURTS: ("hurts", "hurt"),
    AFTER: ("is inconclusive after correction", "are inconclusive after correction"),
    OPEN: ("shows no evidence", "show no evidence"),
    UNJUDGED: ("cannot be judged by the spread of its seeds", "cannot be judged by the spread of their seeds"),
}


def question(findings: Findings) -> str:
    """What the runs ask, from what they have in common and what they vary."""
    rows = findings.table.rows
    models, datasets = (_listed(dict.fromkeys(written(row[key]) for row in rows), key) for key in ("model", "dataset"))
    sizes = list(dict.fromkeys(named("train_size", row["train_size"]) for row in rows))
    if all(isinstance(row["train_size"], int) for row in rows):
        sizes = [*(size.split()[0] for size in sizes[:-1]), sizes[-1]]  # 25, 75 and 225 labels
    size = f" with {_listed(sizes, 'training set size')}" if sizes != ["all labels"] else ""
    baseline = findings.table.baseline
    if baseline is None:
        return f"How do {models} do on {datasets}{size}?"
    ways = dict.fromkeys(written(row["strategy"]) for row in rows if _transfers(row, baseline))
    subject = f"transferring {models} to {datasets}" if ways else f"{models} on {datasets}"
    return f"Does {subject}{size} beat {baseline}, and by how much in {findings.metric}?"


def verdict(findings: Findings) -> str:
    """The answer: how many rows help, hurt or leave it open, and the best and the worst of them."""
    baseline = findings.table.baseline
    rows = [row for row in findings.table.rows if row["mean"] is not None]
    if not rows:
        return f"No run has completed with {findings.metric} yet."
    if baseline is None:
        return "Nothing was compared: no baseline was asked for."
    compared = [row for row in rows if row["gain"] is not None and _transfers(row, baseline)]
    if not compared:
        if unknown := _without_baseline(findings, baseline):
            return unknown
        return f"There is nothing to compare with {baseline} yet: add another strategy with the same seeds."
    if all(row["gain_n"] < 2 for row in compared):
        best = max(compared, key=lambda row: row["gain"])
        what = (
            f"the largest gain over {baseline}"
            if best["gain"] > 0
            else f"no row gains over {baseline}, and the least loss"
        )
        return (
            f"One seed cannot tell: {what} is {best['gain']:+.3f} ({_name(best, findings)}), "
            "and nobody knows how much of it is luck. Add seed=0,1,2,3,4."
        )
    counts = {word: [row for row in compared if row["verdict"] == word] for word in VERDICTS}
    if not counts["helps"] and not counts["hurts"]:
        number = _rows(len(compared))
        head = f"No evidence either way: none of {number} differs from {baseline} beyond the noise of the seeds"
        for word in (AFTER, UNJUDGED):
            if found := counts[word]:
                head += f"; {len(found)} {VERDICTS[word][len(found) > 1]}"
    else:
        parts = [f"{len(found)} {VERDICTS[word][len(found) > 1]}" for word, found in counts.items() if found]
        head = f"Of {_rows(len(compared))} compared with {baseline}, {', '.join(parts)}"
    said = f"{head}. {_largest(counts['helps'], compared, findings)}"
    if counts["hurts"]:
        worst = min(counts["hurts"], key=lambda row: row["gain"])
        said += f"; largest loss that is sure: {_gain(worst, findings)}"
    return said + "."


def _without_baseline(findings: Findings, baseline: str) -> str | None:
    """Why there is no score of the baseline, and what to do; None where there is one."""
    cells = [point.cell for point in findings.points if written(point.row["strategy"]) == baseline]
    if any(cell.scores(findings.metric) for cell in cells):
        return None
    failed = sum(len(failed_seeds(cell, findings.metric)) for cell in cells)
    if failed and not any(cell.missing for cell in cells):
        all_ = "the run" if failed == 1 else f"all {failed} runs"
        return f"There is no answer, as {all_} of {baseline} failed: see why, and run {baseline} again."
    if any(cell.completed for cell in cells) and not failed:
        return f"There is no answer in {findings.metric}, which no run of {baseline} has."
    if any(written(row["strategy"]) == baseline for row in findings.table.rows):
        return f"There is no answer yet: no run of {baseline} has completed with {findings.metric}."
    return f"There is no answer without {baseline}: add strategy={baseline} with the same seeds."


def _largest(helping: Sequence[dict[str, Any]], compared: Sequence[dict[str, Any]], findings: Findings) -> str:
    """The largest gain; it is sure where it helps, and over a baseline that learnt something."""
    sound = [row for row in helping if not row["baseline_collapsed"]]
    best = max(sound or helping or compared, key=lambda row: row["gain"])
    if sound:
        said = f"Largest gain that is sure: {_gain(best, findings)}{_partly(best)}"
        left = len(helping) - len(sound)
        return f"{said}, without {_rows(left)} over a baseline that collapsed" if left else said
    if best["gain"] <= 0:
        return f"No row gains; the least loss: {_gain(best, findings)}{_partly(best)}"
    if best["baseline_collapsed"]:
        over = "over a baseline that collapsed, which makes it no gain of transfer"
        return f"Largest gain: {_gain(best, findings)}, {over}"
    return f"Largest gain: {_gain(best, findings)}{_partly(best)}"


def _partly(row: dict[str, Any]) -> str:
    """Of how many of its seeds a baseline that learnt something collapsed; "" where none did."""
    bad = row["baseline_collapsed_n"]
    return f", over a baseline of which {bad} of {row['gain_n']} seeds collapsed" if bad else ""


def _transfers(row: dict[str, Any], baseline: str) -> bool:
    return written(row["strategy"]) not in (baseline, *CONTROLS)


def _gain(row: dict[str, Any], findings: Findings) -> str:
    return f"{gain(row)} ({_name(row, findings)})"


def _name(row: dict[str, Any], findings: Findings) -> str:
    keys = [findings.series_key, *(key for key in findings.varying if key != findings.series_key)]
    return ", ".join(named(key, row[key]) for key in keys)


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number} rows"


def _listed(names: Sequence[str] | dict[str, None], key: str) -> str:
    names = list(names)
    if len(names) > FEW:
        return f"{len(names)} {key}s"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else f"no {key}"
