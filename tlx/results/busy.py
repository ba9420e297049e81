"""How many runs worked at once: the seconds of a run that shared its cores are no price of its method."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate, pairwise
from statistics import median

from tlx.results.cells import Cell, named
from tlx.results.collect import Run

APART = 1.5  # the factor beyond which two cells' seconds are not of equally busy machines
Span = tuple[float, float]


def runs_at_once(runs: Sequence[Run]) -> list[float | None]:
    """For each run the mean number of processes that worked on these runs, on its host and while it was worked on.

    From the times of the sittings in the records; itself counts, and runs that one process did together count as one.
    Other programs, and runs that are not among these, are not seen. None where a record has no such times.
    """
    spans: dict[str, dict[int, list[Span]]] = defaultdict(lambda: defaultdict(list))
    own: list[tuple[str, float, float] | None] = []
    for run in runs:
        last = None
        for sitting in run.record.get("sittings") or []:
            try:
                start, end = (datetime.fromisoformat(sitting[key]).timestamp() for key in ("started", "ended"))
                host, process = str(sitting["host"]), int(sitting["pid"])
            except (KeyError, TypeError, ValueError):
                continue  # it was ended without a word, or is of an earlier version
            if end > start:
                spans[host][process].append((start, end))
                last = (host, start, end)
        own.append(last)
    loads = {host: _Load(span for some in found.values() for span in _union(some)) for host, found in spans.items()}
    return [None if one is None else loads[one[0]].mean(one[1], one[2]) for one in own]


def on_seconds(cells: Sequence[Cell]) -> list[str]:
    """Whether the seconds of some rows are of busier machines than those of others."""
    runs = [run for cell in cells for run in cell.completed]
    known = iter(runs_at_once(runs))
    usual = []
    for cell in cells:
        found = [number for number in (next(known) for _ in cell.completed) if number is not None]
        if found:
            usual.append((median(found), cell))
    if not usual:
        return []
    quiet, busy = min(number for number, _ in usual), max(number for number, _ in usual)
    if busy <= APART * quiet:
        return []
    middle = (quiet * busy) ** 0.5
    return [
        f"seconds are of quieter and busier machines: {busy:.1f} runs at once in "
        f"{named([cell for number, cell in usual if number > middle])}, {quiet:.1f} in "
        f"{named([cell for number, cell in usual if number <= middle])}. They are no prices of the methods."
    ]


class _Load:
    """How many of some spans are open at each time."""

    def __init__(self, spans: Iterable[Span]) -> None:
        changes: dict[float, int] = defaultdict(int)
        for start, end in spans:
            changes[start] += 1
            changes[end] -= 1
        self.times = sorted(changes)
        self.open = list(accumulate(changes[time] for time in self.times))
        pieces = (number * (b - a) for number, (a, b) in zip(self.open, pairwise(self.times), strict=False))
        self.area = list(accumulate(pieces, initial=0.0))  # of the open spans up to each time

    def mean(self, start: float, end: float) -> float:
        return (self._until(end) - self._until(start)) / (end - start)

    def _until(self, time: float) -> float:
        place = bisect_right(self.times, time) - 1
        return self.area[place] + self.open[place] * (time - self.times[place])


def _union(spans: list[Span]) -> list[Span]:
    """The spans without overlaps."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
