"""How long the rest of a sweep takes: from the times of like runs that are done, not from how many are done.

Runs of one sweep differ: a probe takes a second, fine-tuning a minute, and probes often come first.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tlx.record.jsonfile import Damaged
from tlx.record.record import Newer, read_record
from tlx.results.live import duration

if TYPE_CHECKING:
    from tlx.sweeps.study import Planned


class Times:
    """Seconds that finished runs took, by cell and by model and strategy."""

    def __init__(self) -> None:
        self._taken: dict[str, list[float]] = defaultdict(list)

    def add(self, run: "Planned") -> float:
        """Note a finished run, and return its seconds; 0.0 where its record does not say."""
        try:
            record = read_record(run.folder)
        except (Damaged, Newer):
            return 0.0
        seconds = record["seconds"].get("total") if record else None
        if seconds is None:
            return 0.0
        for key in _kinds(run):
            self._taken[key].append(seconds)
        return float(seconds)

    def expected(self, run: "Planned") -> float | None:
        """The median of the finished runs of its cell, else of its model and strategy; None where there are none."""
        return next((median(self._taken[kind]) for kind in _kinds(run) if kind in self._taken), None)

    def of(self, runs: Iterable["Planned"]) -> tuple[float, int]:
        """Seconds of all these runs one after the other, and the number of those of which no like is done."""
        found = [self.expected(run) for run in runs]
        return sum(seconds for seconds in found if seconds is not None), sum(seconds is None for seconds in found)


class Estimate:
    """The time that is left of a sweep of these runs, told as it goes on."""

    def __init__(self, todo: Sequence["Planned"], before: Iterable["Planned"] = ()) -> None:
        """`before` are runs of the study that were done earlier: they tell how long such runs take."""
        self.times, self.left = Times(), {run.folder: run for run in todo}
        self.started: dict[Path, float] = {}
        self.began, self.done = time.monotonic(), 0.0
        for run in before:
            self.times.add(run)

    def start(self, run: "Planned") -> None:
        self.started[run.folder] = time.monotonic()

    def end(self, run: "Planned") -> None:
        """A run ended, one way or the other."""
        self.started.pop(run.folder, None)

    def completed(self, run: "Planned") -> None:
        """It has a result, and tells how long such runs take."""
        if run.folder in self.left:
            del self.left[run.folder]
            self.done += self.times.add(run)

    def failed(self, run: "Planned") -> None:
        """It has none and is not tried again; nor does it say how long such runs take."""
        self.left.pop(run.folder, None)

    def seconds(self, now: float) -> tuple[float, int] | None:
        """Wall-clock seconds left at the pace so far, and how many runs are not in it; None before a run is done.

        The pace is the seconds of finished runs per second of the sweep: with four at once it is about four.
        """
        if not self.done or now <= self.began:
            return None
        work, unknown = self.times.of(self.left.values())
        for folder, start in self.started.items():
            if folder in self.left:
                work -= min(now - start, self.times.expected(self.left[folder]) or 0.0)
        return work * (now - self.began) / self.done, unknown

    def text(self) -> str:
        """`4 min 05 s left`; `over …` where runs are to come of which no like is done."""
        found = self.seconds(time.monotonic())
        if found is None:
            return ""
        seconds, unknown = found
        if not unknown:
            return f"{duration(seconds)} left"
        return f"over {duration(seconds)} left ({unknown} of a kind not yet done)"


def _kinds(run: "Planned") -> tuple[str, str]:
    entry: dict[str, Any] = run.config["run"]
    return entry["cell"], f"{entry['choices']['model']} {entry['choices']['strategy']}"
