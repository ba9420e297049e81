"""The diagonal of the Fisher information: how much a network's predictions hang on each of its weights."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def diagonal_fisher(
    parameters: Mapping[str, nn.Parameter],
    logits: Callable[[Any], Tensor],
    batches: Iterable[Any],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """F = mean over examples x of (∂ log p(y | x) / ∂w)², with one y per example drawn from p(y | x) itself.

    An unbiased estimate of the true Fisher: labels of the data play no part (with these it would be the empirical one).
    `logits(batch)` gives (B, classes), p being its softmax. Each example's gradient is squared by itself, however many
    a batch holds; batches of one are the fastest. `parameters` need gradients; no `.grad` is touched. The caller puts
    the network into eval mode.

    Raises:
        ValueError: no examples.
    """
    weights = list(parameters.values())
    squares = [torch.zeros_like(weight) for weight in weights]
    examples = 0
    for batch in batches:
        with torch.enable_grad():
            likelihoods = logits(batch).float().log_softmax(1)
            drawn = torch.multinomial(likelihoods.detach().exp().cpu(), 1, generator=generator).flatten().tolist()
            each = [likelihoods[row, label] for row, label in enumerate(drawn)]
        for likelihood in each:
            found = torch.autograd.grad(likelihood, weights, retain_graph=likelihood is not each[-1], allow_unused=True)
            gradients = [gradient for gradient in found if gradient is not None]
            totals = [total for total, gradient in zip(squares, found, strict=True) if gradient is not None]
            torch._foreach_addcmul_(totals, gradients, gradients)
        examples += len(each)
    if not examples:
        raise ValueError("the Fisher information is a mean over examples, and there are none.")
    torch._foreach_div_(squares, examples)
    return dict(zip(parameters, squares, strict=True))
