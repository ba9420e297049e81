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
# A feature that varies by less, of its own size or of the largest variation, varies by rounding: to give that unit
# variance would make the head one of noise.
OWN_NOISE, NOISE = 1e-5, 1e-6
FLOOR = 1e-13  # of the gradient: sums in double precision know no smaller one


@dataclass(frozen=True)
class Solution:
    """A solved head: weight (classes, D), bias (classes,), its C, the iterations, and how near it is to the optimum.

    `gradient` is the largest entry of the objective's gradient there, `converged` whether that is as small as asked.
    """

    weight: Tensor
    bias: Tensor
    C: float
    iterations: int
    gradient: float
    converged: bool


@dataclass(frozen=True)
class Logistic:
    """scikit-learn's `LogisticRegression` (L2, Newton's method, double precision) on standardised features.

    `C` is the inverse strength of the penalty, or several, of which the best on validation is taken, the smallest of
    equals. No seed, learning rate, batch or epoch has a say in it, nor have the features' last bits: the objective,
    mean cross-entropy + |weight|² / (2 C n) for n examples, is 1/(C n)-strongly convex in the weights, so a gradient of
    `tol` · min(1, 1/(C n)) leaves them an error of about `tol`. Features that vary by rounding alone have no weight.

    Raises:
        UserError: a C or tolerance that is not positive, or no room for an iteration.
    """

    C: float | Sequence[float] = 1.0
    max_iter: int = 1000
    tol: float = 1e-6

    def __post_init__(self) -> None:
        given = self.C if isinstance(self.C, Sequence) else [self.C]
        if not given or not all(isinstance(c, int | float) and not isinstance(c, bool) and c > 0 for c in given):
            raise UserError(f"strategy.solver.C={self.C} must be a positive number, or a list of them.")
        if self.max_iter < 1:
            raise UserError(f"strategy.solver.max_iter={self.max_iter} must be at least 1.")
        if not self.tol > 0:
            raise UserError(f"strategy.solver.tol={self.tol} must be a positive number.")

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

    def solve(self, features: Tensor, labels: Tensor, classes: int, score: Callable[[Solution], Any]) -> Solution:
        """The head for features (n, D) and labels (n,); of several `score` on validation chooses, higher is better.

        Raises:
            UserError: the labels are all the same.
        """
        inputs, targets = features.cpu().double().numpy(), labels.cpu().numpy()
        if len(np.unique(targets)) < 2:
            raise UserError(f"all {len(targets)} training examples are of one class: there is no head to solve for.")
        mean, scale = standardisation(inputs)
        found = [self._solve(inputs, mean, scale, targets, classes, c) for c in self.choices]
        return found[0] if len(found) == 1 else max(found, key=score)  # the first of equals

    def doubts(self, found: Solution) -> list[str]:
        """What to mind of a solution, in sentences."""
        said = []
        if not found.converged:
            said.append(
                f"the solver had not converged after {found.iterations} iterations (gradient {found.gradient:.1e}): "
                "raise strategy.solver.max_iter."
            )
        if len(self.choices) > 1 and found.C in (self.choices[0], self.choices[-1]):
            end, more = ("largest", "larger") if self.choices[0] < found.C else ("smallest", "smaller")
            said.append(
                f"validation chose C={found.C:g}, the {end} of strategy.solver.C: a {more} one may be better yet."
            )
        return said

    def _solve(
        self, inputs: np.ndarray, mean: np.ndarray, scale: np.ndarray, labels: np.ndarray, classes: int, c: float
    ) -> Solution:
        from sklearn.linear_model import LogisticRegression

        standard = (inputs - mean) / scale
        tolerance = max(FLOOR, self.tol * min(1.0, 1 / (c * len(labels))))
        solver = LogisticRegression(C=c, max_iter=self.max_iter, tol=tolerance, solver="newton-cg")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of not converging, which the gradient says
            solver.fit(standard, labels)
        coefficients, intercepts = solver.coef_, solver.intercept_
        gradient = _gradient(standard, np.searchsorted(solver.classes_, labels), coefficients, intercepts, c)
        if len(solver.classes_) == 2:  # one logit, the second class's against the first's
            coefficients, intercepts = (np.concatenate([-x, x]) / 2 for x in (coefficients, intercepts))
        own = coefficients / scale
        weight, bias = np.zeros((classes, inputs.shape[1])), np.zeros(classes)
        weight[solver.classes_], bias[solver.classes_] = own, intercepts - own @ mean
        unseen = np.setdiff1d(np.arange(classes), solver.classes_)
        bias[unseen] = (inputs @ own.T + bias[solver.classes_]).min() + UNSEEN if len(unseen) else 0.0
        head = torch.from_numpy(weight).float(), torch.from_numpy(bias).float()
        return Solution(*head, c, int(solver.n_iter_.max()), gradient, gradient <= 2 * tolerance)


def standardisation(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and standard deviation (D,) of features (n, D); infinite where they vary by rounding alone."""
    mean, scale = inputs.mean(0), inputs.std(0)
    noise = (scale <= OWN_NOISE * np.abs(inputs).max(0)) | (scale <= NOISE * scale.max())
    return mean, np.where(noise, np.inf, scale)


def _gradient(inputs: np.ndarray, labels: np.ndarray, weight: np.ndarray, bias: np.ndarray, c: float) -> float:
    """The largest entry of the objective's gradient; two classes have one row of weights, and so one logit."""
    from scipy.special import expit, softmax

    logits = inputs @ weight.T + bias
    if len(weight) == 1:
        off = expit(logits) - labels[:, None]
    else:
        off = softmax(logits, axis=1) - np.eye(len(weight))[labels]
    of_weight = (off.T @ inputs + weight / c) / len(inputs)
    return float(max(np.abs(of_weight).max(), np.abs(off.mean(0)).max()))
