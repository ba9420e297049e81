"""Metrics by name: torchmetrics' own, each with its direction."""

import math

import pytest
import torch
import torchmetrics.functional.classification as tmf

from tlx.errors import UserError
from tlx.tasks.metrics import direction, directions, known, make, rank

LOGITS = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(4, (200,), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", sorted(known()))
def test_every_metric_is_one_number_with_a_direction(name: str) -> None:
    value = make(name, 4)(LOGITS, LABELS)
    assert value.ndim == 0 and torch.isfinite(value)
    perfect, wrong = (make(name, 4)(30 * torch.eye(4)[labels], LABELS) for labels in (LABELS, (LABELS + 1) % 4))
    assert (perfect > wrong) == (direction(name) == "higher")


def test_what_the_names_stand_for() -> None:
    assert len(known()) >= 14 and {"auroc", "cohen_kappa", "calibration_error"} <= known().keys()
    assert make("calibration_error", 4)(LOGITS, LABELS) == tmf.multiclass_calibration_error(
        LOGITS, LABELS, 4, n_bins=15
    )
    assert make("accuracy", 4)(LOGITS, LABELS) == (LOGITS.argmax(1) == LABELS).float().mean()


def test_directions_of_a_record() -> None:
    found = directions(["accuracy", "calibration_error"])
    assert (found["accuracy"], found["calibration_error"], found["loss"]) == ("higher", "lower", "lower")
    assert found["forgetting/accuracy"] == found["gap/accuracy"] == "lower"
    with pytest.raises(UserError, match=r"unknown metric 'acuracy'. Did you mean 'accuracy'"):
        direction("acuracy")


def test_a_rank_is_higher_the_better() -> None:
    assert rank(0.9, "higher") > rank(0.1, "higher") > rank(math.nan, "higher")
    assert rank(0.1, "lower") > rank(0.9, "lower") > rank(math.nan, "lower")
