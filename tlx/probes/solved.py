"""The head of a run found by its strategy's solver, from the features of all training examples."""

from typing import Any

import torch

from tlx.config.instantiate import instantiate
from tlx.fit.evaluation import device_of, features_of, moved
from tlx.module import TransferModule, known_score
from tlx.probes.logistic import Logistic, Solution
from tlx.tasks.metrics import direction, rank


def solve_head(
    config: dict[str, Any], module: TransferModule, loaders: dict[str, Any]
) -> tuple[Solution, dict[str, float], list[str]]:
    """Put the solver's head into the module; returns it, its scores on validation, and what to mind of it.

    Of several the best by the monitored metric is taken, and of those with the same score the one of the lowest loss:
    with few labels many are equal.
    """
    solver: Logistic = instantiate(config["strategy"], "strategy").solver
    task, monitor = module.task, config["dataset"]["monitor"]
    with moved(module, device_of(config)):
        parts = ("train", "validation")
        features = {part: features_of(module, loaders, part) for part in parts}
    labels = {part: loaders[part].dataset.labels for part in parts}

    def put(solution: Solution) -> dict[str, float]:
        task.linear.weight.data, task.linear.bias.data = solution.weight, solution.bias
        return known_score(task, features["validation"], labels["validation"]).compute()

    def place(solution: Solution) -> tuple[float, float]:
        scores = put(solution)
        return rank(scores[monitor], direction(monitor)), rank(scores["loss"], "lower")

    found = solver.solve(features["train"], torch.from_numpy(labels["train"]), task.classes, place)
    return found, put(found), solver.doubts(found)
