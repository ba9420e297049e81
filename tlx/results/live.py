"""What is known of runs that are going on: whether their process lives, how far they are, how long they still take."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tlx.record.running import held, read_progress
from tlx.results.collect import Run, run_in

GONE = "its process is gone; the same command takes it up again"


def judged(runs: Sequence[Run]) -> list[Run]:
    """The runs, but those that say "running" while no process holds their folder are "interrupted" (`problem`: GONE).

    One look at one lock for each running run.
    """
    return [_judge(run) if run.status == "running" else run for run in runs]


def _judge(run: Run) -> Run:
    if held(run.folder):
        return run
    now = run_in(run.folder) or run  # it may have ended since its record was read
    return replace(now, status="interrupted", problem=GONE) if now.status == "running" else now


def progress(run: Run) -> dict[str, Any] | None:
    """How far a running run's training is: epoch (epochs done), epochs, loss, seconds, left (seconds, None: unknown).

    `seconds` are those since it began or was last taken up. None when the run is not running or not training.
    """
    state = read_progress(run.folder) if run.status == "running" else {}
    if not state:
        return None
    loss = state["loss"]
    return {
        "epoch": state["epoch"],
        "epochs": state["epochs"],
        "loss": loss if loss is not None and math.isfinite(loss) else None,
        "seconds": state["seconds"],
        "left": time_left(state),
    }


def time_left(state: dict[str, Any]) -> float | None:
    """Seconds of training that remain at the pace up to now, or None before a step was made.

    `state` is what `tlx.record.running.read_progress` gives; `first_step` is where this sitting began.
    """
    done = state["step"] - state.get("first_step", 0)
    return state["seconds"] / done * max(0, state["steps"] - state["step"]) if done > 0 else None


def duration(seconds: float | None) -> str:
    """`3.2 s`, `4 min 05 s`, `2 h 07 min`; "" for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
