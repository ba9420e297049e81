"""The head of a run found by its strategy's solver, from the features of all training examples."""

from typing import Any

import torch

from tlx.evaluation import device_of, features_of, moved
from tlx.instantiate import instantiate
from tlx.module import TransferModule, known_score
from tlx.probes.logistic import Logistic, Solution
from tlx.tasks.metrics import direction, rank


def solve_head(
    config: dict[str, Any], module: TransferModule, loaders: dict[str, Any]
) -> tuple[Solution, dict[str, float]]:
    """Put the solver's head into the module; returns it, and its scores on validation, by which it was chosen."""
    solver: Logistic = instantiate(config["strategy"], "strategy").solver
    task, monitor = module.task, config["dataset"]["monitor"]
    with moved(module, device_of(config)):
        parts = ("train", "validation")
        features = {part: features_of(module, loaders, part) for part in parts}
    labels = {part: loaders[part].dataset.labels for part in parts}

    def put(solution: Solution) -> dict[str, float]:
        task.linear.weight.data, task.linear.bias.data = solution.weight, solution.bias
        return known_score(task, features["validation"], labels["validation"]).compute()

    found = solver.solve(
        features["train"],
        torch.from_numpy(labels["train"]),
        task.classes,
        lambda solution: rank(put(solution)[monitor], direction(monitor)),
    )
    return found, put(found)
