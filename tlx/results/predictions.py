"""The stored predictions of runs, put together for `tlx.results.statistics.examples`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlx.errors import UserError
from tlx.results.collect import Run
from tlx.results.gains import Gain
from tlx.results.naming import comparable
from tlx.results.statistics.examples import METRICS, UNITS, Scored, example_interval, metric_of

if TYPE_CHECKING:
    import numpy as np

NAME = "predictions.parquet"
CLOSE = 1e-4  # records hold what single precision gave


class NoPredictions(UserError):
    """What keeps test examples from being resampled."""


def read_predictions(folder: Path) -> "tuple[list[str], np.ndarray, np.ndarray, list | None]":
    """Example ids (n), labels (n) and logits (n, classes) of the run's test split, as the run scored them.

    Last their groups (n), such as speakers, None for an example that has none; None where the data set names no groups.

    Raises:
        NoPredictions: there is no such file, or it cannot be read.
    """
    import numpy as np
    import pyarrow
    import pyarrow.parquet

    path = folder / NAME
    try:
        grouped = "group" in pyarrow.parquet.read_schema(path).names
        table = pyarrow.parquet.read_table(path, columns=["id", "label", "logits", *["group"] * grouped])
    except FileNotFoundError as error:
        raise NoPredictions(f"{folder} has no {NAME}") from error
    except (OSError, pyarrow.ArrowException) as error:
        raise NoPredictions(f"{path} cannot be read: {error}") from error
    ids = table.column("id").to_pylist()
    logits = table.column("logits").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    groups = table.column("group").to_pylist() if grouped else None
    return ids, table.column("label").to_numpy(), np.asarray(logits, dtype=float).reshape(len(ids), -1), groups


def scored(runs: Sequence[Run], metric: str) -> tuple[list[str], Scored]:
    """The example ids and the predictions of runs that were tested on the same examples.

    Args:
        metric: as in the records, `test/accuracy`; what the predictions give must be what the records say.

    Raises:
        NoPredictions: a metric that cannot be computed from predictions, files that are missing or contradict the
            record, or runs that were tested on different examples.
    """
    import numpy as np

    split, _, name = metric.rpartition("/")
    if split != "test" or name not in METRICS:
        known = ", ".join(f"test/{known}" for known in METRICS)
        raise NoPredictions(f"{metric} is not computed from stored predictions; these are: {known}")
    parts = [read_predictions(run.folder) for run in runs]
    ids, labels, first, _ = parts[0]
    for run, (other, other_labels, logits, _) in zip(runs, parts, strict=True):
        if other != ids or not np.array_equal(labels, other_labels) or logits.shape != first.shape:
            raise NoPredictions(f"{runs[0].folder} and {run.folder} were tested on different examples")
    grouped = [groups for *_, groups in parts if groups is not None]
    if any(groups != grouped[0] for groups in grouped):
        raise NoPredictions(f"the files of {runs[0].folder.parent} put the same test examples into different groups")
    every = np.stack([logits for _, _, logits, _ in parts])
    top = every.max(axis=2, keepdims=True)
    sums = np.log(np.exp(every - top).sum(axis=2)) + top[..., 0]
    losses = sums - every[:, np.arange(len(labels)), labels]
    found = Scored(labels, every.argmax(axis=2), losses, every.shape[2], _numbered(grouped[0]) if grouped else None)
    for run, value in zip(runs, metric_of(found, name)[0], strict=True):
        recorded = run.metric(metric)
        if recorded is None or abs(value - recorded) > CLOSE * max(1.0, abs(recorded)):
            raise NoPredictions(f"the predictions in {run.folder} give {metric} {value:.4f}, its record {recorded}")
    return ids, found


def _numbered(groups: Sequence[Any]) -> "np.ndarray":
    """Groups as numbers from 0, in the order of their first example; an example without a group is one by itself."""
    import numpy as np

    numbers: dict[Any, int] = {}
    keys = [("", i) if group is None else (group,) for i, group in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])


class Drawn(NamedTuple):
    """The 95 % interval of a gain over draws of test examples, or the `problem` that leaves it out.

    `examples` is their number, `groups` that of the groups that were drawn whole; None where they have none.
    """

    interval: tuple[float, float] | None
    problem: str | None
    examples: int | None
    groups: int | None = None


def over_examples(gain: Gain, metric: str, direction: str) -> Drawn:
    """What another draw of test examples would have changed of a gain."""
    sides = [
        [run for seed in gain.by_seed for run in cell.completed if comparable(run.seed) == comparable(seed)]
        for cell in (gain.cell, gain.partner)
    ]
    try:
        (ids, mine), (others, theirs) = (scored(side, metric) for side in sides)
    except NoPredictions as error:
        return Drawn(None, str(error), gain.cell.count("test_labels"))
    if ids != others:
        return Drawn(None, "the two sides were tested on different examples", None)
    if mine.groups is None:
        mine = replace(mine, groups=theirs.groups)
    elif theirs.groups is not None and not (mine.groups == theirs.groups).all():
        return Drawn(None, "the two sides put the same test examples into different groups", len(ids))
    groups = None if mine.groups is None else mine.units
    found = example_interval(metric.rpartition("/")[2], mine, theirs, direction)
    if found is not None:
        return Drawn(found, None, len(ids), groups)
    what = "examples" if groups is None else "groups of examples"
    few = f"{mine.units} {what} are too few to draw from"
    alike = f"no draw of its {mine.units} {what} changes the difference, which says nothing of others"
    return Drawn(None, few if mine.units < UNITS else alike, len(ids), groups)
