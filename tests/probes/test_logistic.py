"""The solved head is scikit-learn's, in the place of the trained one."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlx.errors import UserError
from tlx.probes.logistic import Logistic, Solution

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
    theirs = LogisticRegression(C=0.3, tol=1e-10, max_iter=10_000)
    pipeline = make_pipeline(StandardScaler(), theirs).fit(features.double().numpy(), labels.numpy())
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


@pytest.mark.parametrize("classes", [[0, 1], [0, 1, 2]])
@pytest.mark.parametrize("c", [1e-5, 1e-2, 1.0, 100.0])
def test_converged_means_the_optimum(c: float, classes: list[int]) -> None:
    """The gradient is that of autograd, and vanishes: a strongly convex function has no other such place."""
    features, labels = clusters(classes)
    found = Logistic(C=c).solve(features, labels, len(classes), score=lambda _: 0.0)
    assert found.converged and found.gradient <= 2e-6 * min(1.0, 1 / (c * len(labels)))
    inputs = torch.from_numpy(StandardScaler().fit_transform(features.double().numpy()))
    scale = features.double().std(0, correction=0)
    weight = (found.weight.double() * scale).requires_grad_()
    bias = (found.bias.double() + found.weight.double() @ features.double().mean(0)).requires_grad_()
    # Two classes have one logit, whose weight's square counts once: half of what the two rows' squares are together.
    penalty = weight.square().sum() / (2 * c * len(labels)) * (2 if len(classes) == 2 else 1)
    (torch.nn.functional.cross_entropy(inputs @ weight.T + bias, labels) + penalty).backward()
    assert weight.grad.abs().max() < 1e-6 and bias.grad.abs().max() < 1e-6  # the head is in single precision


@pytest.mark.parametrize("per_class", [2, 12])
def test_the_last_bits_have_no_say(per_class: int) -> None:
    """Features that differ by 1e-7, some of them constant but for that: the same C, the same score on validation."""
    draw = np.random.default_rng(4)
    labels = np.repeat(np.arange(5), per_class)
    features = np.eye(40)[labels] + draw.normal(size=(len(labels), 40)) * 0.7
    features[:, 30:35], features[:, 35:] = 0.0, 7.0
    own = np.repeat(np.arange(5), 40)
    held_out = torch.from_numpy(np.eye(40)[own] + draw.normal(size=(200, 40)) * 0.7).float()

    def score(solution: Solution) -> tuple[float, float]:
        logits, targets = held_out @ solution.weight.T + solution.bias, torch.from_numpy(own)
        hits = (logits.argmax(1) == targets).double().mean()
        return float(hits), -float(torch.nn.functional.cross_entropy(logits.double(), targets))

    found = []
    for number in range(4):
        noise = np.random.default_rng(number).normal(size=features.shape) * 1e-7 * (number > 0)
        inputs = torch.from_numpy(features * (1 + noise) + noise).float()
        solution = Logistic(C=[10.0**e for e in range(-5, 3)]).solve(inputs, torch.from_numpy(labels), 5, score)
        found.append((solution.C, score(solution)[0]))
        assert solution.converged and solution.weight[:, 30:].abs().max() == 0
    assert len(set(found)) == 1, found


def test_a_choice_at_the_end_of_the_grid_is_doubted() -> None:
    features, labels = clusters([0, 1, 2])
    solver = Logistic(C=[0.1, 1.0, 10.0])
    for best, word in ((0.1, "smallest"), (10.0, "largest")):
        found = solver.solve(features, labels, 3, score=lambda solution, best=best: -abs(solution.C - best))
        (said,) = solver.doubts(found)
        assert f"C={best:g}, the {word} of strategy.solver.C" in said
    assert solver.doubts(solver.solve(features, labels, 3, score=lambda s: -abs(s.C - 1))) == []
    alone = Logistic(C=1.0)
    assert alone.doubts(alone.solve(features, labels, 3, score=lambda _: 0.0)) == []


def test_one_class_leaves_nothing_to_solve() -> None:
    with pytest.raises(UserError, match="all 7 training examples are of one class"):
        Logistic().solve(torch.randn(7, 3), torch.ones(7, dtype=torch.int64), 2, score=lambda _: 0.0)


def test_too_few_iterations_are_said() -> None:
    features, labels = clusters([0, 1, 2])
    solver = Logistic(C=1e4, max_iter=2)
    found = solver.solve(features, labels, 3, score=lambda _: 0.0)
    assert not found.converged and found.gradient > 1e-4
    (said,) = solver.doubts(found)
    assert "had not converged after 2 iterations" in said


@pytest.mark.parametrize(
    "wrong", [{"C": 0}, {"C": True}, {"C": [0.1, "1"]}, {"C": [1.0, -1.0]}, {"C": []}, {"max_iter": 0}, {"tol": 0.0}]
)
def test_impossible_settings(wrong: dict) -> None:
    with pytest.raises(UserError, match=r"strategy\.solver"):
        Logistic(**wrong)


def test_settings_that_leave_nothing_to_solve(tlx) -> None:
    augmented = tlx.train(*SOLVE, "+dataset.augmentation.flip=true")
    assert augmented.code == 2 and "augmentation" in augmented.complaint
    last = tlx.train(*SOLVE, "selection=last")
    assert "strategy.solver.C has 8 values" in last.complaint
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
    assert first["solver"]["C"] in [10.0**e for e in range(-5, 3)] and first["solver"]["converged"]
    assert ("strategy.solver.C" in " ".join(first["warnings"])) == (first["solver"]["C"] in (1e-5, 100.0))
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
