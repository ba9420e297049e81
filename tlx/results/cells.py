"""Cells: runs that differ in nothing but the seed, and the settings by which cells differ from each other."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tlx.errors import UserError, unknown
from tlx.identity import MEASURED, WITHOUT_EFFECT
from tlx.results.collapse import why_collapsed
from tlx.results.collect import Run
from tlx.results.naming import comparable, differing, flatten, lookup, setting, under
from tlx.results.statistics.outliers import chance_score, outliers

CHOICES = ("model", "strategy", "dataset", "train_size")
SHOWN = 4  # cells, seeds or files named in one sentence


@dataclass(frozen=True)
class Cell:
    """The runs of one point of the grid, in the order of collection."""

    id: str
    runs: tuple[Run, ...]
    undecided: tuple[str, ...] = ()  # settings that tuning has yet to choose: they have no value

    @cached_property
    def example(self) -> Run:
        """The run whose settings stand for the cell's: one with a record, if there is one."""
        return next((run for run in self.runs if run.record), self.runs[0])

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The config's leaves by dotted name, and the choices by plain name (the seed among both)."""
        return flatten(self.example.config) | self.choices

    @cached_property
    def choices(self) -> dict[str, Any]:
        """The choices by name, `train_size` taken from the dataset's settings when it is not among them."""
        dataset = self.example.config.get("dataset")
        size = dataset.get("train_size") if isinstance(dataset, dict) else None
        return {"train_size": size, **self.example.choices}

    @cached_property
    def fingerprints(self) -> dict[str, Any]:
        return flatten(self.example.record.get("fingerprints", {}), "fingerprints")

    def value(self, key: str) -> Any:
        """The cell's setting of that name; None when it has none."""
        if key in self.undecided:
            return None
        if key == "cell":
            return self.id
        return self.settings.get(key, self.fingerprints.get(key))

    @cached_property
    def completed(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.status == "completed")

    @property
    def failed(self) -> int:
        return sum(run.status == "failed" for run in self.runs)

    @property
    def missing(self) -> int:
        """Runs with no result yet: planned, running, interrupted, or with a damaged record."""
        return len(self.runs) - len(self.completed) - self.failed

    @cached_property
    def splits(self) -> dict[Any, str]:
        """Seed → hash of the ids of the run's examples, over the completed runs whose record has it."""
        found = ((run.seed, run.record.get("split")) for run in self.completed)
        return {seed: split for seed, split in found if split}

    @cached_property
    def test_sets(self) -> tuple[set[Any], set[Any]]:
        """Hashes of the ids of the test examples (newer records know them), and their numbers."""
        hashes = {(run.record.get("splits") or {}).get("test") for run in self.completed}
        numbers = {run.record.get("counts", {}).get("test_labels") for run in self.completed}
        return hashes - {None}, numbers - {None}

    def count(self, name: str) -> int | None:
        """The largest of that count over the completed runs; None where no record has it."""
        found = [run.record.get("counts", {}).get(name) for run in self.completed]
        return max((number for number in found if number is not None), default=None)

    @property
    def unsealed(self) -> bool:
        """Whether a run read the test split more than once, or before its training had ended."""
        counts = [run.record.get("counts", {}) for run in self.runs]
        return any((c.get("test_reads") or 0) > 1 or (c.get("test_reads_early") or 0) > 0 for c in counts)

    def outliers(self, metric: str) -> dict[Any, str]:
        """Seeds whose score does not belong to the others, with the reason (`tlx.results.statistics.outliers`)."""
        split, _, name = metric.rpartition("/")
        counts = {"test": "test_labels", "val": "selection_labels"}  # what the scores of these parts were computed from
        chance = None
        examples = self.count(counts[split]) if split in counts else None
        if examples:
            chance = chance_score(name, len(self.example.record.get("labels") or ()))
        bounded = chance is not None or name.endswith("accuracy")
        return outliers(self.scores(metric), examples if bounded else None, chance)

    def collapsed(self, metric: str) -> dict[Any, str]:
        """Seeds whose run learnt nothing, with the reason (`tlx.results.collapse`)."""
        if metric not in self._collapsed:
            found = ((run.seed, why_collapsed(run, metric)) for run in self.completed)
            self._collapsed[metric] = {seed: why for seed, why in found if why}
        return self._collapsed[metric]

    @cached_property
    def _collapsed(self) -> dict[str, dict[Any, str]]:
        return {}

    def scores(self, metric: str) -> dict[Any, float]:
        """Seed → score over the completed runs that have a finite one."""
        if metric not in self._scores:
            found = ((run.seed, run.metric(metric)) for run in self.completed)
            self._scores[metric] = {seed: score for seed, score in found if score is not None}
        return self._scores[metric]

    @cached_property
    def _scores(self) -> dict[str, dict[Any, float]]:
        return {}


def cells(runs: Iterable[Run]) -> list[Cell]:
    """Group runs by their cell. Runs of which only a damaged record is known belong to none and are left out.

    What is measured makes no other cell, though it did in records of earlier versions: see `_whatever_was_measured`.

    Raises:
        UserError: two runs of one cell have the same seed, so that they differ in something else.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.cell:
            groups[run.cell].append(run)
    for group in groups.values():
        by_seed: dict[Any, Run] = {}
        for run in group:
            other = by_seed.setdefault(comparable(run.seed), run)
            if other is not run:
                raise UserError(
                    f"two runs claim the same cell and the same seed {run.seed}: {other.folder} and {run.folder}. "
                    "They cannot be averaged; remove one of them or give their studies one by one."
                )
    return _whatever_was_measured([Cell(id, tuple(group)) for id, group in groups.items()])


def _whatever_was_measured(cells: list[Cell]) -> list[Cell]:
    """The cells, of which those are one that differ in measures, metrics or evaluation batches alone.

    Where both have a run of the same seed, the one that knows more metrics, or else the later one, stands for both; a
    metric that only the other has is taken from it.
    """

    def asked(cell: Cell) -> tuple:
        return tuple(comparable(cell.settings.get(key)) for key in MEASURED)

    if len({asked(cell) for cell in cells}) < 2:
        return cells
    alike: dict[tuple, list[list[Cell]]] = defaultdict(list)
    for cell in cells:
        groups = alike[look(cell, CHOICES), _outside(cell)]
        fitting = (g for g in groups if _agree(g[0], cell) and asked(cell) not in map(asked, g))
        group = next(fitting, None)
        if group is None:
            groups.append([cell])
        else:
            group.append(cell)
    return [_one(group) for groups in alike.values() for group in groups]


def _outside(cell: Cell) -> frozenset:
    """The settings that make the cell, but for further seeds."""
    return frozenset(
        (name, comparable(value))
        for name, value in flatten(cell.example.config).items()
        if not under(name, WITHOUT_EFFECT) and not name.endswith("seed")
    )


def _agree(one: Cell, other: Cell) -> bool:
    """Whether the fingerprints that both know are equal (a planned run has none), and the further seeds, too, if they
    do not follow the run's.
    """
    names = {name for cell in (one, other) for name in cell.settings if name.endswith("seed") and name != "seed"}
    values = [(one.settings.get(n), other.settings.get(n)) for n in names]
    seeds = one.example.seed, other.example.seed
    return all(
        one.fingerprints[n] == other.fingerprints[n] for n in one.fingerprints.keys() & other.fingerprints.keys()
    ) and all(a == b or (_is_seed(a, seeds[0]) and _is_seed(b, seeds[1])) for a, b in values)


def _one(group: Sequence[Cell]) -> Cell:
    by_seed: dict[Any, list[Run]] = defaultdict(list)
    for run in (run for cell in group for run in cell.runs):
        by_seed[comparable(run.seed)].append(run)
    return Cell(group[0].id, tuple(map(_best_known, by_seed.values())))


def _best_known(runs: list[Run]) -> Run:
    """One run for several of the same training."""

    def order(run: Run) -> tuple:
        return run.status == "completed", len(run.record.get("metrics", {})), str(run.record.get("started", ""))

    first, *others = sorted(runs, key=order, reverse=True)
    for other in others:
        if other.status == first.status == "completed":
            both = {
                key: {**other.record.get(key, {}), **first.record.get(key, {})} for key in ("metrics", "directions")
            }
            first = replace(first, record={**first.record, **both})
    return first


def seed_names(cells: Sequence[Cell]) -> set[str]:
    """Names of settings that vary inside a cell or follow the seed (`dataset.subset_seed`): they tell no cell apart."""
    varying: set[str] = set()
    following: set[str] | None = None
    seeds = set()
    for cell in cells:
        known = [run for run in cell.runs if run.record] or list(cell.runs)
        first = known[0].config
        for run in known:
            if run is not known[0]:
                varying |= set(differing(first, run.config))
            if following is None:
                following = {name for name, value in flatten(run.config).items() if _is_seed(value, run.seed)}
            else:
                following = {name for name in following if _is_seed(lookup(run.config, name), run.seed)}
            seeds.add(comparable(run.seed))
    return varying | (following or set() if len(seeds) > 1 else set())


def _is_seed(value: Any, seed: Any) -> bool:
    return type(value) is int and value == seed


def distinguishing(cells: Sequence[Cell], ignored: set[str]) -> list[str]:
    """Settings, beyond model, strategy, dataset and train_size, that a row must show to be one cell.

    A setting counts when two cells with the same choices differ in it; what merely follows from the choices (a
    strategy's own learning rate) does not. Choices of other groups (`optimizer`, `scheduler`) come first, and what
    follows from them does not count either. Cells that would still look the same get their fingerprints or, at last,
    their hash.
    """
    outside = {name for cell in cells for name in cell.settings if under(name, WITHOUT_EFFECT)}
    hidden = outside | ignored | set(CHOICES)
    names = sorted({name for cell in cells for name in cell.choices} - hidden)
    shown = _telling(cells, names, CHOICES)
    names = sorted({name for cell in cells for name in cell.settings} - hidden - set(shown))
    shown += _telling(cells, names, (*CHOICES, *shown))
    names = sorted({name for cell in cells for name in cell.fingerprints})
    shown += _telling(cells, names, (*CHOICES, *shown), absent_tells=False)  # a planned run has none yet
    return shown + _telling(cells, ["cell"], (*CHOICES, *shown))


def look(cell: Cell, keys: Iterable[str]) -> tuple:
    """The cell's values of `keys`, to compare and group by."""
    return tuple(comparable(cell.value(key)) for key in keys)


def _telling(cells: Sequence[Cell], names: Sequence[str], keys: Sequence[str], absent_tells: bool = True) -> list[str]:
    """Those of `names` whose values differ among cells with the same values of `keys`."""
    groups: dict[tuple, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[look(cell, keys)].append(cell)
    crowds = [group for group in groups.values() if len(group) > 1]

    def values(crowd: Sequence[Cell], name: str) -> set:
        found = {comparable(cell.value(name)) for cell in crowd}
        return found if absent_tells else found - {None}

    return [name for name in names if any(len(values(crowd, name)) > 1 for crowd in crowds)]


def check_key(cells: Sequence[Cell], key: str, option: str, seed_names: set[str]) -> None:
    """Raises UserError when `key`, given to `option`, is no setting of a cell; the message says the nearest one."""
    if key == "seed" or key in seed_names:
        raise UserError(
            f"{option}: '{key}' varies from seed to seed; a row is the mean over its seeds and has no value."
        )
    names = {name for cell in cells for name in [*cell.settings, *cell.fingerprints]} | set(CHOICES)
    known = sorted(names - seed_names - {"seed"}, key=lambda name: (name not in CHOICES, "." in name, name))
    if key not in known:
        raise unknown(f"setting for {option}", key, known)


def named(cells: Sequence[Cell]) -> str:
    """The cells by their choices, the first few of them."""
    names = [" × ".join(setting(key, cell.value(key)) for key in CHOICES) for cell in cells]
    names = list(dict.fromkeys(names))
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
