"""Seeds that failed are results, too: what a cell's other seeds say alone is said of survivors.

A method that diverges in one run of five and wins in the other four has not been shown to help. Medicine knows two
readings, per protocol (those that finished) and intention to treat (all that began); here a run that failed scores what
guessing scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tlx.record.record import left_unfinished
from tlx.results.cells import Cell
from tlx.results.collapse import known_predictions
from tlx.results.gains import LEVEL, Gain
from tlx.results.statistics import PairedT, differences, paired_t
from tlx.results.statistics.outliers import chance_score
from tlx.results.statistics.verdict import HELPS, HURTS, OPEN


@dataclass(frozen=True)
class Intended:
    """A gain over all seeds that began, a failed one scoring `guess`; `t` as for the others."""

    t: PairedT
    guess: float
    failed: int


def failed_seeds(cell: Cell, metric: str) -> dict[Any, str]:
    """Seed → the kind of error of its run, or "no finite …" where it completed without the metric.

    Runs that were cut short from outside are none: they can be taken up again.
    """
    found = {}
    for run in cell.runs:
        if run.status == "failed" and not left_unfinished(run.record):
            found[run.seed] = str((run.record.get("error") or {}).get("type") or "failed")
        elif run.status == "completed" and run.metric(metric) is None and metric in run.record.get("metrics", {}):
            found[run.seed] = f"no finite {metric}"
    return found


def guess_score(cells: Sequence[Cell], metric: str) -> float | None:
    """What guessing scores in a metric of the test part, as far as the records of these cells say; else None.

    In accuracy that is one ÷ the classes: what a network with random weights gets, not what the commonest label gives.
    """
    split, _, name = metric.rpartition("/")
    runs = [run for cell in cells for run in cell.runs]
    classes = max((len(run.record.get("labels") or ()) for run in runs), default=0)
    if not classes:
        classes = max((known["classes"] for run in runs if (known := known_predictions(run))), default=0)
    return chance_score(name, classes) if split in ("test", "val") else None


def intention_to_treat(gain: Gain, metric: str, direction: str) -> Intended | None:
    """The gain over all seeds that began on both sides, those that failed at the score of guessing.

    None where no seed failed, or where the score of guessing is not known.
    """
    lost = [failed_seeds(cell, metric) for cell in (gain.cell, gain.partner)]
    guess = guess_score((gain.cell, gain.partner), metric)
    if not any(lost) or guess is None:
        return None
    mine, theirs = (
        cell.scores(metric) | dict.fromkeys(seeds, guess)
        for cell, seeds in zip((gain.cell, gain.partner), lost, strict=True)
    )
    # A seed that failed on both sides says nothing of a difference.
    both = lost[0].keys() & lost[1].keys()
    values = differences({seed: score for seed, score in mine.items() if seed not in both}, theirs, direction)
    level = 1 - (gain.level if gain.family else LEVEL)
    return Intended(paired_t(list(values.values()), level), guess, len(lost[0].keys() | lost[1].keys()))


def with_failures(gains: Sequence[Gain], metric: str, direction: str) -> list[Gain]:
    """The gains, none of which "helps" or "hurts" by survivors alone.

    Where runs failed on the side that would win, the verdict stands only if intention to treat gives the same one, at
    the level of Holm's strictest step; else it is "no evidence".
    """
    found = []
    for gain in gains:
        winner = {HELPS: gain.cell, HURTS: gain.partner}.get(gain.verdict or "")
        if winner is not None and failed_seeds(winner, metric):
            intended = intention_to_treat(gain, metric, direction)
            low, high = (intended.t.low, intended.t.high) if intended else (None, None)
            stands = low is not None and high is not None and (low > 0 if gain.verdict == HELPS else high < 0)
            gain = gain if stands else replace(gain, verdict=OPEN)
        found.append(gain)
    return found
