"""What tables say of their intervals, verdicts and power, simulated: scores with a known truth, thousands of studies.

Each line has what is said, what was found, and the Monte Carlo error of that (one standard error). `python
benchmarks/intervals.py` prints them all; tests/results/statistics/test_intervals.py holds each to 2 points.
"""

from collections.abc import Callable, Iterator
from math import log2, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, stdtr

from tlx.results.best import WORSE, against_best
from tlx.results.cells import Cell
from tlx.results.collect import Run
from tlx.results.gains import gains
from tlx.results.statistics import holm_intervals, paired_t, t_quantile
from tlx.results.statistics.crossing import crossing
from tlx.results.statistics.examples import Scored, example_interval
from tlx.results.statistics.over_datasets import improvement_interval, mean_interval
from tlx.results.statistics.power import detectable_difference
from tlx.results.statistics.resampling import seed_interval
from tlx.results.statistics.several import interquartile_mean

SEED, NOISE = 0.03, 0.01  # deviation of what all methods share in a seed, and of what each has for itself
RESAMPLES = 500


class Line(NamedTuple):
    """`said` is a share of studies: exactly ("="), at least ("≥") or at most ("≤") so many."""

    what: str
    sign: str
    said: float
    found: float
    studies: int

    @property
    def error(self) -> float:
        return sqrt(self.found * (1 - self.found) / self.studies)

    @property
    def right(self) -> bool:
        """Within two points of what is said."""
        below, above = self.found < self.said - 0.02, self.found > self.said + 0.02
        return not {"=": below or above, "≥": below, "≤": above}[self.sign]


def share(hits: list[bool]) -> float:
    return float(np.mean(hits))


def seeds_and_corrections(rng: np.random.Generator) -> Iterator[Line]:
    """Tables of 8 methods over one baseline, of which 0, 3 or all gain; what one seed does to all of them cancels."""
    for n in (3, 5, 10):
        for helping in (0, 3, 8):
            truth = np.where(np.arange(8) < helping, 0.04, 0.0)
            plain, corrected, right, agree = [], [], [], []
            for _ in range(2000):
                baseline = rng.normal(0, NOISE, n)
                scores = truth[:, None] + rng.normal(0, NOISE, (8, n)) * rng.uniform(0.5, 2, (8, 1))
                samples = (scores - baseline).tolist()
                found = holm_intervals(samples)
                plain.append((t := paired_t(samples[0])).low <= truth[0] <= t.high)
                corrected.append(found[0].low <= truth[0] <= found[0].high)
                right.append(not any(one.sure for one, gain in zip(found, truth, strict=True) if gain == 0))
                agree.append(all(one.sure == (not one.low <= 0 <= one.high) for one in found))
            where = f"{n} seeds, {helping} of 8 gain"
            yield Line(f"paired t interval, {where}", "=", 0.95, share(plain), len(plain))
            yield Line(f"corrected interval, each by itself, {where}", "≥", 0.95, share(corrected), len(plain))
            yield Line(f"no false verdict in a table, {where}", "≥", 0.95, share(right), len(plain))
            yield Line(f"verdict and interval agree, {where}", "=", 1.0, share(agree), len(plain))


def cell(strategy: str, scores: np.ndarray) -> Cell:
    choices = {"model": "m", "dataset": "d", "train_size": 10, "strategy": strategy}
    runs = [
        Run(
            f"{strategy}{seed}", strategy, "completed", {**choices, "seed": seed}, {}, Path(), {"metrics": {"a": score}}
        )
        for seed, score in enumerate(scores.tolist())
    ]
    return Cell(strategy, tuple(runs))


def the_best(rng: np.random.Generator) -> Iterator[Line]:
    """Eight rows, of which the first k are as good as the best: is any of them called worse?"""
    for baseline in (False, True):
        for n in (3, 5, 10):
            for ties in (8, 3):
                right = []
                for _ in range(1000):
                    means = np.where(np.arange(8) < ties, 0.0, -0.03)
                    noise = rng.normal(0, NOISE, (8, n)) * rng.uniform(0.5, 2, (8, 1))
                    rows = [cell(f"s{i}", s) for i, s in enumerate(means[:, None] + rng.normal(0, SEED, n) + noise)]
                    over = gains([(row, rows[0]) for row in rows[1:]], "a", "higher") if baseline else []
                    found = against_best(rows, "a", "higher", {gain.cell.id: gain for gain in over})
                    right.append(not any(found.get(row.id) == WORSE for row in rows[:ties]))
                what = f"none as good as the best is called worse, {ties} of 8 alike, {n} seeds"
                yield Line(f"{what}{', gains of a table' * baseline}", "≥", 0.95, share(right), len(right))


def power(rng: np.random.Generator) -> Iterator[Line]:
    """Studies that state by their own spread what another one would find: does that one find it?"""
    studies = 20_000
    for comparisons in (1, 8, 21):
        for n in (2, 3, 5, 10):
            level = 0.05 / comparisons
            stated = detectable_difference(1.0, n, level) * rng.normal(0, NOISE, (studies, n)).std(axis=1, ddof=1)
            other = stated[:, None] + rng.normal(0, NOISE, (studies, n))
            t = np.abs(other.mean(axis=1)) * sqrt(n) / other.std(axis=1, ddof=1)
            assert np.isclose(2 * stdtr(n - 1, -t_quantile(1 - level, n - 1)), level)
            found = float(np.mean(t >= t_quantile(1 - level, n - 1)))
            yield Line(
                f"the stated gain is found, {n} seeds, {comparisons} gains in the table", "=", 0.8, found, studies
            )


def over_data_sets(rng: np.random.Generator) -> Iterator[Line]:
    """Tasks whose means are the same or far apart; two sides that share nothing, or most, of a seed's luck."""
    for n, tasks in ((3, 4), (5, 2), (5, 4), (5, 10), (10, 4)):
        for apart, means in (("alike", np.full(tasks, 0.7)), ("apart", np.linspace(0.3, 0.95, tasks))):

            def scores(n: int = n, tasks: int = tasks, means: np.ndarray = means) -> np.ndarray:
                return means + rng.normal(0, NOISE, (n, tasks))

            truth = np.mean([interquartile_mean(scores()) for _ in range(4000)])
            hits = [
                low <= truth <= high for low, high in (mean_interval(scores(), 0.95, RESAMPLES) for _ in range(800))
            ]
            where = f"{tasks} tasks {apart}, {n} seeds"
            yield Line(f"interquartile mean, {where}", "≥", 0.95, share(hits), len(hits))
        for shared in (0.0, 0.5, 0.9):
            for size, gain in (("none", np.zeros(tasks)), ("mixed", np.linspace(-0.5, 3, tasks))):
                truth = float(ndtr(gain / sqrt(2)).mean())
                hits = []
                for _ in range(800):
                    luck = sqrt(shared) * rng.normal(size=(n, tasks))
                    first, second = luck + sqrt(1 - shared) * rng.normal(size=(2, n, tasks))
                    low, high = improvement_interval(first + gain, second)
                    hits.append(low <= truth <= high)
                what = f"probability of improvement, gains {size}, {shared:.0%} of the variance shared"
                yield Line(f"{what}, {tasks} tasks, {n} seeds", "≥", 0.95, share(hits), len(hits))


def bootstraps(rng: np.random.Generator) -> Iterator[Line]:
    """Seeds, test examples, and speakers whose examples fail together."""
    for n in (20, 40):
        hits = []
        for _ in range(2000):
            low, high = seed_interval(rng.normal(0.02, NOISE, n), resamples=RESAMPLES)
            hits.append(low <= 0.02 <= high)
        yield Line(f"bootstrap over {n} seeds", "=", 0.95, share(hits), len(hits))
    for examples in (40, 150):
        hits = []
        for _ in range(600):
            kind = rng.choice(4, size=examples, p=[0.6, 0.25, 0.05, 0.1])  # right in both, in one, the other, neither
            hits.append(_holds(kind > 1, np.isin(kind, (1, 3)), None, 0.2))
        yield Line(f"other examples, {examples} of them", "=", 0.95, share(hits), len(hits))
    for speakers in (8, 20):
        hits = []
        for _ in range(600):
            easy = np.clip(0.7 + rng.normal(0, 0.15, (2, speakers)), 0.02, 1)  # clipped in 4 %: the same on both sides
            groups = np.repeat(np.arange(speakers), 25)
            wrong = rng.random((2, len(groups))) > easy[:, groups]
            hits.append(_holds(wrong[0], wrong[1], groups, 0.0))
        yield Line(f"other speakers, {speakers} of 25 examples each", "=", 0.95, share(hits), len(hits))


def _holds(first: np.ndarray, second: np.ndarray, groups: np.ndarray | None, truth: float) -> bool:
    labels, losses = np.zeros(len(first), dtype=int), np.zeros((1, len(first)))
    sides = [Scored(labels, side[None].astype(int), losses, 2, groups) for side in (first, second)]
    found = example_interval("accuracy", *sides, "higher")
    return found is not None and found[0] <= truth <= found[1]


def curves(rng: np.random.Generator) -> Iterator[Line]:
    """The labels at which curves that rise by 0.1 with each doubling reach a goal of 64."""
    for n in (3, 5):
        hits = []
        for _ in range(400):
            values = {
                float(size): {seed: 0.1 * (log2(size) - 6) + rng.normal(0, 0.04) for seed in range(n)}
                for size in (8, 32, 128, 512)
            }
            found = crossing(values)
            hits.append((found.low or 0) <= 64 <= (found.high or np.inf))
        yield Line(f"labels needed, {n} seeds", "≥", 0.95, share(hits), len(hits))


PARTS: dict[str, Callable[[np.random.Generator], Iterator[Line]]] = {
    "seeds and corrections": seeds_and_corrections,
    "the best": the_best,
    "power": power,
    "over data sets": over_data_sets,
    "bootstraps": bootstraps,
    "curves": curves,
}


def main() -> None:
    wrong = 0
    for name, part in PARTS.items():
        print(f"\n{name}: {part.__doc__}\n")
        for line in part(np.random.default_rng(0)):
            wrong += not line.right
            mark = "" if line.right else "  ← off by more than two points"
            print(
                f"  {line.what:86} said {line.sign} {line.said:.2f}, found {line.found:.3f} ± {line.error:.3f} "
                f"in {line.studies} studies{mark}"
            )
    raise SystemExit(f"{wrong} lines are not as said" if wrong else 0)


if __name__ == "__main__":
    main()
