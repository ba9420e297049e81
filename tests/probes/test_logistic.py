"""The solved head is scikit-learn's, in the place of the trained one."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlx.errors import UserError
from tlx.probes.logistic import Logistic

SOLVE = ["strategy=logistic_probe", "dataset.train_size=5_per_class"]


def clusters(classes: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = np.random.default_rng(seed)
    labels = np.repeat(classes, 12)
    scale, shift = draw.uniform(0.1, 20, 6), draw.normal(size=6) * 5
    features = (np.eye(6)[labels] + draw.normal(size=(len(labels), 6))) * scale + shift
    return torch.from_numpy(features).float(), torch.from_numpy(labels)


@pytest.mark.parametrize("classes", [[0, 1], [0, 1, 2, 3], [1, 3], [0, 2, 3]])
def test_the_chances_are_scikit_learns(classes: list[int]) -> None:
    features, labels = clusters(classes)
    found = Logistic(C=0.3).solve(features, labels, 4, score=lambda _: 0.0)
    chances = (features @ found.weight.T + found.bias).softmax(1)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.3)).fit(features.double().numpy(), labels.numpy())
    torch.testing.assert_close(
        chances[:, classes].double(), torch.from_numpy(pipeline.predict_proba(features.double().numpy())),
        atol=1e-5, rtol=1e-4,
    )  # fmt: skip
    unseen = [c for c in range(4) if c not in classes]
    assert (chances[:, unseen] < 1e-12).all() and torch.isfinite(found.bias).all()
    assert found.converged and found.iterations > 1


def test_the_best_on_validation_and_of_equals_the_smallest() -> None:
    features, labels = clusters([0, 1, 2])
    solver = Logistic(C=[10.0, 0.1, 1.0])
    assert solver.solve(features, labels, 3, score=lambda solution: -abs(solution.C - 1)).C == 1.0
    assert solver.solve(features, labels, 3, score=lambda _: 0.5).C == 0.1


def test_too_few_iterations_are_said() -> None:
    features, labels = clusters([0, 1, 2])
    assert not Logistic(C=1e4, max_iter=2).solve(features, labels, 3, score=lambda _: 0.0).converged


@pytest.mark.parametrize("wrong", [{"C": 0}, {"C": [1.0, -1.0]}, {"C": []}, {"max_iter": 0}])
def test_impossible_settings(wrong: dict) -> None:
    with pytest.raises(UserError, match=r"strategy\.solver"):
        Logistic(**wrong)


def test_settings_that_leave_nothing_to_solve(tlx) -> None:
    augmented = tlx.train(*SOLVE, "+dataset.augmentation.flip=true")
    assert augmented.code == 2 and "augmentation" in augmented.complaint
    last = tlx.train(*SOLVE, "selection=last")
    assert "strategy.solver.C has 5 values" in last.complaint
    thawed = tlx.train(*SOLVE, "strategy.freezing._target_=tlx.strategies.freezing.NoFreezing")
    assert "strategy.solver finds a linear head" in thawed.complaint
    check = Logistic(C=1.0)
    check.check({"dataset": SimpleNamespace(get=lambda _: None), "selection": "last"})


@pytest.mark.parametrize("cache", ["on", "off"])
def test_a_run_is_solved_once_and_for_all_seeds(tlx, cache: str) -> None:
    outcome = tlx.train("-m", *SOLVE, f"cache={cache}", "seed=0,1", "dataset.subset_seed=0", "trainer.head_dropout=0.9")
    assert outcome.code == 0, outcome.err
    first, second = tlx.records()
    assert first["metrics"]["test/accuracy"] > 0.5
    assert first["solver"]["C"] in (0.001, 0.01, 0.1, 1.0, 10.0) and first["solver"]["converged"]
    for name in ("val/accuracy", "test/accuracy", "test/loss"):
        assert first["metrics"][name] == pytest.approx(second["metrics"][name], abs=1e-6), "no seed has a say in it"
    assert first["counts"]["steps"] > 0 and first["counts"]["test_reads"] == 1
    assert first["frozen"]["before"] == first["frozen"]["after"]


def test_its_weights_can_be_loaded(tlx) -> None:
    from tlx.results import load_model

    record = tlx.record(*SOLVE, "cache=off", "measures=[flops]")
    (folder,) = (tlx.runs / "adhoc").glob("*logistic*")
    model = load_model(folder)
    assert "flops_train" not in record["cost"] and record["cost"]["flops_example"] > 0
    assert model.task.linear.weight.abs().max() > 0
