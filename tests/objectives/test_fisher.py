"""The diagonal Fisher information: its closed form for logistic regression, whatever the batches."""

import pytest
import torch
from torch import Tensor, nn

from tlx.objectives.fisher import diagonal_fisher


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("batch_size", [1, 5, 24])
def test_logistic_regression_has_a_closed_form(batch_size: int) -> None:
    """For logits W x + b that of W[k, d] is the mean of p_k (1 − p_k) x_d², and that of b[k] of p_k (1 − p_k)."""
    x = torch.randn(24, 4, generator=seeded(0))
    layer = nn.Linear(4, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(3, 4, generator=seeded(1)))
        layer.bias.copy_(torch.randn(3, generator=seeded(2)))
        p = layer(x).softmax(1)
        spread = p * (1 - p)
        weight, bias = torch.einsum("nk,nd->kd", spread, x**2) / 24, spread.mean(0)
    passes = 60
    batches = [batch for _ in range(passes) for batch in x.split(batch_size)]
    found = diagonal_fisher(dict(layer.named_parameters()), layer, batches, seeded(3))
    # One draw of (y_k − p_k)² x_d² has a mean of the size of the result, and 24 · 60 of them are averaged.
    torch.testing.assert_close(found["weight"], weight, rtol=0.15, atol=0.01)
    torch.testing.assert_close(found["bias"], bias, rtol=0.15, atol=0.01)


def test_gradients_and_weights_are_left_alone_and_the_seed_decides() -> None:
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    parameters = dict(net.named_parameters()) | {"unused": nn.Parameter(torch.ones(2))}
    before = {n: t.clone() for n, t in net.state_dict().items()}
    x = list(torch.randn(8, 1, 4, generator=seeded(0)))
    with torch.no_grad():  # as in a hook of an optimiser step
        one, other, third = (diagonal_fisher(parameters, net, x, seeded(s)) for s in (1, 1, 2))
    assert all(p.grad is None for p in parameters.values())
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
    assert all(torch.equal(one[n], other[n]) and not one[n].requires_grad for n in parameters)
    assert not torch.equal(one["0.weight"], third["0.weight"])
    assert not one["unused"].any() and one["2.weight"].min() >= 0


def test_where_every_prediction_is_certain_nothing_matters() -> None:
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[50.0, 0.0], [-50.0, 0.0]]))
    x: list[Tensor] = [torch.tensor([[1.0, 1.0]])] * 3
    assert not diagonal_fisher(dict(layer.named_parameters()), layer, x, seeded(0))["weight"].any()


def test_no_examples_are_no_mean() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="there are none"):
        diagonal_fisher(dict(layer.named_parameters()), layer, [], seeded(0))
