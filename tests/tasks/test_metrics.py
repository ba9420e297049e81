"""Metrics by name, each what scikit-learn makes of its definition, whichever classes occur."""

import math
import warnings
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tlx.errors import UserError
from tlx.tasks import metrics
from tlx.tasks.classification import Classification
from tlx.tasks.metrics import check_metrics, check_monitor, direction, directions, known, rank, undefined

Case = tuple[np.ndarray, np.ndarray]


def scores(names: Iterable[str], logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return metrics.scores(names, torch.from_numpy(logits), torch.from_numpy(labels))


def softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).double().softmax(1).numpy()


def error_of_calibration(chances: np.ndarray, hits: np.ndarray) -> float:
    """Bin by bin, as the definition has it."""
    confidence, total = chances.max(1), 0.0
    for number in range(15):
        last = number == 14
        inside = (confidence * 15 >= number) & ((confidence * 15 < number + 1) | last)
        if inside.any():
            total += inside.sum() / len(hits) * abs(hits[inside].mean() - confidence[inside].mean())
    return total


def one_against_rest(of: Callable, labels: np.ndarray, chances: np.ndarray, classes: np.ndarray) -> float:
    found = [of((labels == c).astype(int), chances[:, c]) for c in classes]
    return float(np.mean(found)) if found else math.nan


def theirs(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Each metric from its definition, by scikit-learn where it has one."""
    chances, guesses, occur = softmax(logits), logits.argmax(1), np.unique(labels)
    average = {"labels": np.union1d(labels, guesses), "average": "macro", "zero_division": 0.0}
    macro_f1 = sk.f1_score(labels, guesses, **average)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kappa, matthews = sk.cohen_kappa_score(labels, guesses), sk.matthews_corrcoef(labels, guesses)
    return {
        "accuracy": sk.accuracy_score(labels, guesses),
        "balanced_accuracy": float(np.mean([(guesses[labels == c] == c).mean() for c in occur])),
        "macro_f1": macro_f1,
        "f1_score": macro_f1,
        "precision": sk.precision_score(labels, guesses, **average),
        "recall": sk.recall_score(labels, guesses, **average),
        "jaccard_index": sk.jaccard_score(labels, guesses, **average),
        "matthews": matthews,
        "matthews_corr_coef": matthews,
        "cohen_kappa": kappa,
        "auroc": one_against_rest(sk.roc_auc_score, labels, chances, occur[: len(occur) * (len(occur) > 1)]),
        "average_precision": one_against_rest(sk.average_precision_score, labels, chances, occur),
        "calibration_error": error_of_calibration(chances, guesses == labels),
        "loss": sk.log_loss(labels, chances, labels=np.arange(logits.shape[1])),
    }


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Logits of 2 to 6 classes, of which only some occur, in units that may tie, lie within [0, 1] or be far apart."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes, examples = draw(st.integers(2, 6)), draw(st.integers(1, 60))
    occurring = rng.permutation(classes)[: draw(st.integers(1, classes))]
    labels = rng.choice(occurring, size=examples)
    logits = rng.random((examples, classes)) + draw(st.sampled_from((0.0, 0.3))) * np.eye(classes)[labels]
    if draw(st.booleans()):
        logits = np.round(logits * 3) / 3  # ties
    scale, shift = draw(st.sampled_from(((1.0, 0.0), (1.0, -0.5), (8.0, -4.0))))
    return (logits * scale + shift).astype(np.float32), labels


@settings(deadline=None, max_examples=60)
@given(cases())
def test_all_names_on_classes_that_do_not_occur_and_ties(case: Case) -> None:
    logits, labels = case
    found, expected = scores(known(), logits, labels), theirs(logits, labels)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value == pytest.approx(expected[name], abs=1e-9, nan_ok=True), name
        assert type(value) is float


def test_logits_within_0_and_1_are_no_probabilities() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.random((300, 2)).astype(np.float32), rng.integers(2, size=300)
    found = scores(["calibration_error", "auroc", "average_precision"], logits, labels)
    moved = scores(["calibration_error", "auroc", "average_precision"], logits - 5, labels)
    assert found == pytest.approx(moved, abs=1e-6), "what is added to all logits changes no probability"
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(labels, softmax(logits)[:, 1]))


def test_a_class_that_does_not_occur_counts_for_nothing() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    logits = 5.0 * np.eye(4)[[0, 3, 1, 1, 2, 2]]  # the fourth class is predicted once, which is wrong
    logits[1, 0] = -1  # nor is any example less probably of class 0
    found = scores(["balanced_accuracy", "auroc", "macro_f1"], logits, labels)
    assert found["balanced_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["auroc"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 + 1 + 0) / 4)


@pytest.mark.parametrize("name", sorted(known()))
def test_the_direction_is_that_of_better_predictions(name: str) -> None:
    labels = np.random.default_rng(1).integers(4, size=200)
    perfect, wrong = (scores([name], 30.0 * np.eye(4)[guess], labels)[name] for guess in (labels, (labels + 1) % 4))
    assert (perfect > wrong) == (direction(name) == "higher")


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 3000), st.data())
def test_accuracies_are_shares_as_doubles(examples: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, examples))
    labels = torch.zeros(examples, dtype=torch.int64)
    logits = torch.tensor([[1.0, 0.0]] * right + [[0.0, 1.0]] * (examples - right))
    found = Classification(3, ["a", "b"]).scored(logits, labels).compute()
    assert found["accuracy"] == right / examples


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_where_a_logit_is_no_number_no_score_is(broken: float) -> None:
    logits = np.eye(3)
    logits[1, 1] = broken
    found = scores(known(), logits, np.arange(3))
    assert all(math.isnan(value) for value in found.values()) and len(found) == len(known()) + 1
    (said,) = undefined({"val/auroc": math.nan, "val/accuracy": 0.5})
    assert "val/auroc" in said and "accuracy" not in said
    assert undefined({"val/accuracy": 0.5}) == []


def test_a_metric_that_compares_cannot_choose_by_one_class() -> None:
    def config(monitor: str, selection: str = "best") -> dict:
        return {"dataset": {"monitor": monitor}, "selection": selection, "trainer": {"patience": None}}

    one, two = np.zeros(5, dtype=int), np.array([0, 1])
    comparing = {name for name, metric in known().items() if metric.compares}
    for name in comparing:
        with pytest.raises(UserError, match=rf"dataset\.monitor={name} .* all 5 examples of validation"):
            check_monitor(config(name), one)
        check_monitor(config(name), two)
        check_monitor(config(name, "last"), one)
    for name in ["loss", *(known().keys() - comparing)]:
        check_monitor(config(name), one)
        assert not math.isnan(scores([], np.eye(2)[one], one)["loss"])
        assert name == "loss" or not math.isnan(scores([name], np.eye(2)[one], one)[name])


def test_directions_of_a_record() -> None:
    found = directions(["accuracy", "calibration_error"])
    assert (found["accuracy"], found["calibration_error"], found["loss"]) == ("higher", "lower", "lower")
    assert found["forgetting/accuracy"] == found["gap/accuracy"] == "lower"
    with pytest.raises(UserError, match=r"unknown metric 'acuracy'. Did you mean 'accuracy'"):
        direction("acuracy")
    with pytest.raises(UserError, match=r"unknown metric 'acuracy'"):
        Classification(3, ["a", "b"], ["acuracy"])


def test_a_rank_is_higher_the_better() -> None:
    assert rank(0.9, "higher") > rank(0.1, "higher") > rank(math.nan, "higher")
    assert rank(0.1, "lower") > rank(0.9, "lower") > rank(math.nan, "lower")


def test_the_scores_of_a_run_are_doubles(tlx) -> None:
    record = tlx.record("strategy=full", "dataset.val_size=77")
    hits = record["metrics"]["val/accuracy"] * 77
    assert hits == pytest.approx(round(hits), abs=1e-9), "as a float32 it is off by 1e-6"


def test_a_misspelt_metric_is_named_before_the_monitor_that_it_was_to_be() -> None:
    with pytest.raises(UserError, match=r"unknown metric in dataset.metrics 'acuracy'\. Did you mean 'accuracy'"):
        check_metrics(["acuracy"], "accuracy")
    with pytest.raises(UserError, match=r"dataset.monitor='acuracy' is not among dataset.metrics=\['accuracy'\]"):
        check_metrics(["accuracy"], "acuracy")
    check_metrics(["accuracy"], "accuracy")
