"""A linear head in closed form, as far as there is one: multinomial logistic regression, solved to its optimum."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlx.errors import UserError

UNSEEN = -30.0  # below every logit of the training examples: the chance of a class without any is some 1e-13


@dataclass(frozen=True)
class Solution:
    """A solved head: weight (classes, D), bias (classes,), its C, the iterations, and whether they were enough."""

    weight: Tensor
    bias: Tensor
    C: float
    iterations: int
    converged: bool


@dataclass(frozen=True)
class Logistic:
    """scikit-learn's `LogisticRegression` (L2, lbfgs, double precision) on standardised features.

    `C` is the inverse strength of the penalty, or several, of which the best on validation is taken, the smallest of
    equals. No seed, learning rate, batch or epoch has a say in it.

    Raises:
        UserError: a C that is not positive, or no room for an iteration.
    """

    C: float | Sequence[float] = 1.0
    max_iter: int = 1000
    tol: float = 1e-4

    def __post_init__(self) -> None:
        if not self.choices or not all(isinstance(c, int | float) and c > 0 for c in self.choices):
            raise UserError(f"strategy.solver.C={self.C} must be a positive number, or a list of them.")
        if self.max_iter < 1:
            raise UserError(f"strategy.solver.max_iter={self.max_iter} must be at least 1.")

    @property
    def choices(self) -> list[float]:
        """The values of C to choose from, rising."""
        return sorted(self.C) if isinstance(self.C, Sequence) else [self.C]

    def check(self, config: dict[str, Any]) -> None:
        """See that a run's other settings leave something to solve.

        Raises:
            UserError: they do not.
        """
        if config["dataset"].get("augmentation"):
            raise UserError(
                "strategy.solver sees each example once: it excludes dataset.augmentation. "
                "strategy=feature_extraction trains on augmented examples."
            )
        if config["selection"] == "last" and len(self.choices) > 1:
            raise UserError(
                f"selection=last uses no label to select, but strategy.solver.C has {len(self.choices)} values to "
                "choose from: give one."
            )

    def solve(self, features: Tensor, labels: Tensor, classes: int, score: Callable[[Solution], float]) -> Solution:
        """The head for features (n, D) and labels (n,); of several `score` on validation chooses, higher is better."""
        found = [self._solve(features, labels, classes, c) for c in self.choices]
        return found[0] if len(found) == 1 else max(found, key=score)  # the first of equals

    def _solve(self, features: Tensor, labels: Tensor, classes: int, c: float) -> Solution:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        inputs = features.cpu().double().numpy()
        scaler = StandardScaler().fit(inputs)
        solver = LogisticRegression(C=c, max_iter=self.max_iter, tol=self.tol)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", ConvergenceWarning)
            solver.fit(scaler.transform(inputs), labels.cpu().numpy())
        coefficients, intercepts = solver.coef_, solver.intercept_
        if len(solver.classes_) == 2:  # one logit, the second class's against the first's
            coefficients, intercepts = (np.concatenate([-x, x]) / 2 for x in (coefficients, intercepts))
        own = coefficients / scaler.scale_
        weight, bias = np.zeros((classes, inputs.shape[1])), np.zeros(classes)
        weight[solver.classes_], bias[solver.classes_] = own, intercepts - own @ scaler.mean_
        unseen = np.setdiff1d(np.arange(classes), solver.classes_)
        bias[unseen] = (inputs @ own.T + bias[solver.classes_]).min() + UNSEEN if len(unseen) else 0.0
        converged = not any(issubclass(w.category, ConvergenceWarning) for w in said)
        return Solution(
            torch.from_numpy(weight).float(), torch.from_numpy(bias).float(), c, int(solver.n_iter_.max()), converged
        )
