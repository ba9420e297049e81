"""The metrics of classification by name: those of torchmetrics, with their direction."""

import math
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import torchmetrics.classification as tm
from torchmetrics import Metric

from tlx.errors import unknown

PREFIX = "Multiclass"
OTHERWISE = ("exact_match", "fbeta_score", "log_auc")  # of sequences; with an argument; one number a class
# Our names where torchmetrics' need arguments, or are not what the field says.
NAMED: dict[str, tuple[type[Metric], dict[str, Any]]] = {
    "accuracy": (tm.MulticlassAccuracy, {"average": "micro"}),
    "balanced_accuracy": (tm.MulticlassAccuracy, {"average": "macro"}),
    "macro_f1": (tm.MulticlassF1Score, {"average": "macro"}),
    "matthews": (tm.MulticlassMatthewsCorrCoef, {}),
    "calibration_error": (tm.MulticlassCalibrationError, {"n_bins": 15}),  # ECE, Guo et al. 2017
}


@lru_cache
def known() -> dict[str, tuple[type[Metric], dict[str, Any]]]:
    """All metrics by name: ours, and every multiclass metric of torchmetrics that is one number with a direction.

    `MulticlassCohenKappa` is called `cohen_kappa`, as torchmetrics' own functions are; arguments are its defaults.
    """
    found = dict(NAMED)
    for name in dir(tm):
        kind = getattr(tm, name)
        if name.startswith(PREFIX) and kind.higher_is_better is not None:
            words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.removeprefix(PREFIX)).lower()
            found.setdefault(words, (kind, {}))
    return {name: metric for name, metric in found.items() if name not in OTHERWISE}


def make(name: str, classes: int) -> Metric:
    """A fresh metric over logits (n, classes) and labels (n,).

    Raises:
        UserError: no metric has that name.
    """
    if name not in known():
        raise unknown("metric", name, known())
    kind, arguments = known()[name]
    return kind(num_classes=classes, **arguments)


def direction(name: str) -> str:
    """Which way is better, "higher" or "lower", by a metric's last name; the loss counts as one.

    Raises:
        UserError: no metric has that name.
    """
    if name == "loss":
        return "lower"
    if name not in known():
        raise unknown("metric", name, [*known(), "loss"])
    return "higher" if known()[name][0].higher_is_better else "lower"


def rank(score: float, way: str) -> float:
    """A score whose direction is `way`, such that higher is better; one that is no number is the worst."""
    if math.isnan(score):
        return -math.inf
    return score if way == "higher" else -score


def directions(names: Iterable[str]) -> dict[str, str]:
    """Directions for a record, by the last part of a metric's name, or by its whole name where that differs.

    Less forgetting and a smaller gap between training and test are better, whatever the metric.
    """
    found = {name: direction(name) for name in [*names, "loss"]}
    return found | {f"{prefix}/{name}": "lower" for prefix in ("forgetting", "gap") for name in found}
