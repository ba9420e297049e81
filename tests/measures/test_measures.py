"""Further numbers of a run, by choice; without the choice nothing of a record changes."""

import math

import pytest

WORDS = ("strategy=gradual_unfreezing", "trainer.max_epochs=6", "dataset.train_size=6_per_class")


def test_all_measures_and_the_plan(tlx) -> None:
    full = tlx.record(*WORDS, "measures=[drift,recovery,train,flops]")
    plain = tlx.record(*WORDS, "study=plain")  # in the same study it would be the same run
    metrics = full["metrics"]
    for name, value in plain["metrics"].items():
        assert metrics[name] == value, name
    groups = [group["name"] for group in full["plan"]["groups"] if group["name"] != "head"]
    assert {f"cka/{name}" for name in groups} == {n for n in metrics if n.startswith("cka/")}
    assert all(0 < metrics[f"cka/{name}"] <= 1 + 1e-6 for name in groups)
    assert metrics["gap/accuracy"] == pytest.approx(metrics["train/accuracy"] - metrics["test/accuracy"])
    assert metrics["gap/loss"] == pytest.approx(metrics["test/loss"] - metrics["train/loss"])
    assert metrics["recoverable/accuracy"] > 1 / 26 and math.isfinite(metrics["recovered/loss"])
    cost = full["cost"]
    assert cost["flops_train"] > cost["flops_example"] > 0 and cost["examples_per_second"] > 0
    assert plain["cost"].keys() == {"examples_per_second"}

    plan = full["plan"]
    assert plan["steps"] == full["counts"]["steps"]
    assert plan["phases"][0] == {"start": 0, "trainable": ["head"], "lr_factor": 1.0}
    assert plan["phases"][-1]["trainable"] == [group["name"] for group in plan["groups"]]
    assert all(group["lr"] > 0 for group in plan["groups"])


def test_an_unknown_measure_is_refused(tlx) -> None:
    outcome = tlx.train("measures=[drft]")
    assert outcome.code == 2 and "drift, recovery, train and flops" in outcome.err
