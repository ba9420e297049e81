"""Runs that learnt nothing: they predict one class only, or score no better than guessing.

A gain over such a run says that it failed, not that another one transfers. What tells them is noted in the record when
a run ends; of earlier records the predictions beside them are read, and without those the score alone has to tell.
"""

from functools import lru_cache
from math import sqrt
from pathlib import Path
from typing import Any

from tlx.record.predictions_summary import predictions_summary
from tlx.results.collect import Run
from tlx.results.statistics.outliers import chance_score

ONE_CLASS = "predicts one class only"
MAJORITY = "no better than always answering the commonest label"
GUESSING = "no better than guessing"


def known_predictions(run: Run) -> dict[str, Any] | None:
    """The summary of the run's test predictions; None where nothing is left of them."""
    noted = run.record.get("predictions")
    if noted or run.status != "completed":
        return noted or None
    return _read(run.folder)


def why_collapsed(run: Run, metric: str) -> str | None:
    """Why the run's score in a metric of the test part stands for nothing learnt; None where it does not.

    A score is no better than guessing when it is at most two standard errors sqrt(g(1 − g)/n) above what guessing gets,
    g: in accuracy the share of the commonest label, in its balanced kind and in macro F1 one ÷ the classes that there
    are among the labels, in Matthews' coefficient 0. Where the labels are not known, g is one ÷ all classes.
    """
    split, _, name = metric.rpartition("/")
    score = run.metric(metric)
    if split != "test" or score is None:
        return None
    known = known_predictions(run) or {}
    if known.get("predicted_classes") == 1 and known.get("classes", 0) > 1:
        return ONE_CLASS
    examples = known.get("examples") or run.record.get("counts", {}).get("test_labels")
    guess = chance_score(name, known.get("classes") or len(run.record.get("labels") or ()))
    why = GUESSING
    if name == "accuracy" and known.get("majority"):
        guess, why = known["majority"], MAJORITY
    if guess is None or not examples or guess >= 1:
        return None
    margin = 2 * sqrt((guess * (1 - guess) or 1) / examples)  # guessing at Matthews' 0 has deviation 1/sqrt(n)
    return why if score <= guess + margin else None


@lru_cache(maxsize=100_000)
def _read(folder: Path) -> dict[str, Any] | None:
    """The summary of an earlier record's predictions, from the file beside it."""
    path = folder / "predictions.parquet"
    if not path.is_file():
        return None
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path, columns=["label", "predicted"])
    except (OSError, pyarrow.ArrowException):
        return None  # a damaged file is as good as none; --examples says what is wrong with it
    if not len(table):
        return None
    return predictions_summary(table.column("label").to_numpy(), table.column("predicted").to_numpy())
