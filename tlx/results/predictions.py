"""The stored predictions of runs, put together for `tlx.results.statistics.examples`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.errors import UserError
from tlx.results.collect import Run
from tlx.results.gains import Gain
from tlx.results.naming import comparable
from tlx.results.statistics.examples import METRICS, Scored, example_interval, metric_of

if TYPE_CHECKING:
    import numpy as np

NAME = "predictions.parquet"
CLOSE = 1e-4  # records hold what single precision gave


class NoPredictions(UserError):
    """What keeps test examples from being resampled."""


def read_predictions(folder: Path) -> "tuple[list[str], np.ndarray, np.ndarray]":
    """Example ids (n), labels (n) and logits (n, classes) of the run's test split, as the run scored them.

    Raises:
        NoPredictions: there is no such file, or it cannot be read.
    """
    import numpy as np
    import pyarrow
    import pyarrow.parquet

    path = folder / NAME
    try:
        table = pyarrow.parquet.read_table(path, columns=["id", "label", "logits"])
    except FileNotFoundError as error:
        raise NoPredictions(f"{folder} has no {NAME}") from error
    except (OSError, pyarrow.ArrowException) as error:
        raise NoPredictions(f"{path} cannot be read: {error}") from error
    ids = table.column("id").to_pylist()
    logits = table.column("logits").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return ids, table.column("label").to_numpy(), np.asarray(logits, dtype=float).reshape(len(ids), -1)


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
    ids, labels, first = parts[0]
    for run, (other, other_labels, logits) in zip(runs, parts, strict=True):
        if other != ids or not np.array_equal(labels, other_labels) or logits.shape != first.shape:
            raise NoPredictions(f"{runs[0].folder} and {run.folder} were tested on different examples")
    every = np.stack([logits for _, _, logits in parts])
    top = every.max(axis=2, keepdims=True)
    sums = np.log(np.exp(every - top).sum(axis=2)) + top[..., 0]
    losses = sums - every[:, np.arange(len(labels)), labels]
    found = Scored(labels, every.argmax(axis=2), losses, every.shape[2])
    for run, value in zip(runs, metric_of(found, name)[0], strict=True):
        recorded = run.metric(metric)
        if recorded is None or abs(value - recorded) > CLOSE * max(1.0, abs(recorded)):
            raise NoPredictions(f"the predictions in {run.folder} give {metric} {value:.4f}, its record {recorded}")
    return ids, found


def over_examples(gain: Gain, metric: str, direction: str) -> tuple[tuple[float, float] | None, str | None, int | None]:
    """The 95 % interval of a gain over draws of test examples or why there is none, and the number of examples."""
    sides = [
        [run for seed in gain.by_seed for run in cell.completed if comparable(run.seed) == comparable(seed)]
        for cell in (gain.cell, gain.partner)
    ]
    try:
        (ids, mine), (others, theirs) = (scored(side, metric) for side in sides)
    except NoPredictions as error:
        return None, str(error), gain.cell.count("test_labels")
    if ids != others:
        return None, "the two sides were tested on different examples", None
    return example_interval(metric.rpartition("/")[2], mine, theirs, direction), None, len(ids)
