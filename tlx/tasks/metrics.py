"""The metrics of classification by name: what scikit-learn makes of probabilities, in double precision."""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlx.errors import UserError, unknown

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

BINS = 15  # of confidence, as in Guo et al. 2017


@dataclass(frozen=True)
class Predicted:
    """Predictions for a part: probabilities (n, classes) in double precision, their classes (n,), and labels (n,).

    The class is that of the largest logit: two large ones may have the same probability as a number.
    """

    chances: "np.ndarray"
    classes: "np.ndarray"
    labels: "np.ndarray"


@dataclass(frozen=True)
class Metric:
    """A metric, which way is better, and whether it compares classes: then examples of one class say nothing."""

    value: Callable[[Predicted], float]
    higher_is_better: bool = True
    compares: bool = False


def known() -> dict[str, Metric]:
    """All metrics by name.

    Averages over classes are plain means, of scikit-learn's own choice of classes: `balanced_accuracy` over those that
    occur, `macro_f1` (`f1_score`), `precision`, `recall` and `jaccard_index` over those that occur or are predicted,
    with 0 where a ratio has no denominator. `auroc` and `average_precision` are means over the classes that occur, each
    against the rest; where all examples are of one class there is no `auroc`. `matthews` (`matthews_corr_coef`) is
    Gorodkin's R_K, and 0 where predictions or labels are of one class; `cohen_kappa` is unweighted.
    `calibration_error` is the expected calibration error of the predicted class in 15 equal bins (Guo et al. 2017).
    """
    return _KNOWN


def _accuracy(predicted: Predicted) -> float:
    return int((predicted.classes == predicted.labels).sum()) / len(predicted.labels)


def _of_classes(name: str, **arguments: Any) -> Callable[[Predicted], float]:
    """A metric of scikit-learn over labels and predicted classes."""

    def value(predicted: Predicted) -> float:
        import sklearn.metrics

        return float(getattr(sklearn.metrics, name)(predicted.labels, predicted.classes, **arguments))

    return value


def _auroc(predicted: Predicted) -> float:
    """The mean over classes of the chance that an example of the class has a higher probability of it than another has.

    By ranks, those of equals being their mean (Mann and Whitney 1947): one sort a class.
    """
    import numpy as np
    from scipy.stats import rankdata

    occur, own = np.unique(predicted.labels, return_counts=True)
    others = len(predicted.labels) - own
    if len(occur) < 2:
        return math.nan
    ranks = rankdata(predicted.chances[:, occur], axis=0)
    above = np.where(predicted.labels[:, None] == occur, ranks, 0.0).sum(0) - own * (own + 1) / 2
    return float(np.mean(above / (own * others)))


def _average_precision(predicted: Predicted) -> float:
    import numpy as np
    from sklearn.metrics import average_precision_score

    occur = np.unique(predicted.labels)
    return float(np.mean([average_precision_score(predicted.labels == c, predicted.chances[:, c]) for c in occur]))


def _calibration_error(predicted: Predicted) -> float:
    """Σ over bins of (share of examples) · |accuracy − mean confidence|; a bin holds its lower end, the last both."""
    import numpy as np

    confidence, hits = predicted.chances.max(1), predicted.classes == predicted.labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, hits - confidence)).sum() / len(hits))


_MACRO = {"average": "macro", "zero_division": 0.0}
_F1 = Metric(_of_classes("f1_score", **_MACRO))
_MATTHEWS = Metric(_of_classes("matthews_corrcoef"), compares=True)
_KNOWN = {
    "accuracy": Metric(_accuracy),
    "balanced_accuracy": Metric(_of_classes("balanced_accuracy_score")),
    "macro_f1": _F1,
    "f1_score": _F1,
    "precision": Metric(_of_classes("precision_score", **_MACRO)),
    "recall": Metric(_of_classes("recall_score", **_MACRO)),
    "jaccard_index": Metric(_of_classes("jaccard_score", **_MACRO)),
    "matthews": _MATTHEWS,
    "matthews_corr_coef": _MATTHEWS,
    "cohen_kappa": Metric(_of_classes("cohen_kappa_score"), compares=True),
    "auroc": Metric(_auroc, compares=True),
    "average_precision": Metric(_average_precision),
    "calibration_error": Metric(_calibration_error, higher_is_better=False),
}


def check(name: str) -> None:
    """See that there is a metric of this name.

    Raises:
        UserError: there is none.
    """
    if name not in known():
        raise unknown("metric", name, known())


def check_metrics(metrics: Sequence[str], monitor: str) -> None:
    """See that there are all metrics of a data set, and that the one it monitors is one of them.

    Raises:
        UserError: the name that is wrong; a misspelt metric comes first, as the monitor may be right.
    """
    for name in metrics:
        if name not in known():
            raise unknown("metric in dataset.metrics", name, known())
    if monitor not in metrics:
        # Which of the two is misspelt is not known here.
        listed = ", ".join(f"'{name}'" for name in metrics)
        raise UserError(
            f"dataset.monitor='{monitor}' is not among dataset.metrics=[{listed}], which it must be one of: "
            "correct the one, or add it to the others (dataset.monitor is accuracy unless you say otherwise)."
        )


def scores(names: Iterable[str], logits: "Tensor", labels: "Tensor") -> dict[str, float]:
    """The metrics of logits (n, classes) for labels (n,), and `loss`, the mean cross-entropy in nats.

    NaN is what is not defined: every metric where a logit is no number, a metric where its definition has no value.
    """
    from torch.nn.functional import cross_entropy

    logits = logits.double()
    if not len(labels) or (logits.isnan() | logits.isposinf()).any():
        return dict.fromkeys([*names, "loss"], math.nan)
    predicted = Predicted(logits.softmax(1).numpy(), logits.argmax(1).numpy(), labels.numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that do not occur: `known` says what becomes of them
        found = {name: known()[name].value(predicted) for name in names}
    return found | {"loss": float(cross_entropy(logits, labels))}


def undefined(scores: dict[str, float]) -> list[str]:
    """A sentence that names the scores that are no numbers, if there are any."""
    found = [name for name, score in scores.items() if math.isnan(score)]
    return [f"not defined for these labels and predictions, so no number: {', '.join(found)}."] if found else []


def check_monitor(config: dict[str, Any], labels: "np.ndarray") -> None:
    """See that the metric that a run selects by can choose by examples with these labels (n,), those of validation.

    Raises:
        UserError: it cannot, as they are all of one class.
    """
    import numpy as np

    name = config["dataset"]["monitor"]
    if config["selection"] == "last" and not config["trainer"]["patience"]:
        return
    if name in known() and known()[name].compares and len(np.unique(labels)) < 2:
        others = ", ".join(other for other, metric in known().items() if not metric.compares)
        raise UserError(
            f"dataset.monitor={name} compares classes, but all {len(labels)} examples of validation are of one class: "
            f"it cannot choose. Make validation larger (dataset.val_size), or choose by one of loss, {others}."
        )


def direction(name: str) -> str:
    """Which way is better, "higher" or "lower", by a metric's last name; the loss counts as one.

    Raises:
        UserError: no metric has that name.
    """
    if name == "loss":
        return "lower"
    if name not in known():
        raise unknown("metric", name, [*known(), "loss"])
    return "higher" if known()[name].higher_is_better else "lower"


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
