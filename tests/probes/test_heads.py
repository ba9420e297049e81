"""Heads that share an optimiser are those that a plain loop would train one by one."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tlx.probes.heads import SEPARABLE, Heads

CLASSES, WIDTH, STEPS = 3, 7, 4


def module(seed: int, lr: float, decay: float, make: Any) -> Any:
    """As much of a TransferModule as a head has to do with."""
    torch.manual_seed(seed)
    linear = nn.Linear(WIDTH, CLASSES)
    groups = [
        {"params": [linear.weight], "name": "head", "lr": lr, "weight_decay": decay},
        {"params": [linear.bias], "name": "head/no_decay", "lr": lr, "weight_decay": 0.0},
    ]
    plan = SimpleNamespace(optimizer_groups=lambda *_: groups)
    return SimpleNamespace(
        task=SimpleNamespace(linear=linear), plan=plan, lr=lr, weight_decay=decay, make_optimizer=make
    )


def plainly(one: Any, batches: list, clip: float | None) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    """The head after a loop as in any tutorial, and its losses."""
    linear, optimizer = one.task.linear, one.make_optimizer(one.plan.optimizer_groups())
    rates, losses = [group["lr"] for group in optimizer.param_groups], []
    for features, labels, factor in batches:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(linear(features), labels)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(linear.parameters(), clip)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        optimizer.step()
        losses.append(loss.item())
    return linear.weight, linear.bias, losses


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(SEPARABLE),
    heads=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([1e-3, 3e-2]), st.sampled_from([0.0, 0.1])), min_size=1, max_size=4
    ),
    sizes=st.lists(st.lists(st.integers(1, 6), min_size=4, max_size=4), min_size=STEPS, max_size=STEPS),
    clip=st.sampled_from([None, 0.05, 1.0]),
)
def test_each_head_is_as_if_alone(kind: Any, heads: list, sizes: list, clip: float | None) -> None:
    modules = [module(*head, make=kind) for head in heads]
    together = Heads(modules, clip, torch.device("cpu"))
    draw = torch.Generator().manual_seed(0)
    batches: list[list] = [[] for _ in heads]
    losses = []
    for step in range(STEPS):
        most = max(sizes[step][: len(heads)])
        features, labels = torch.zeros(len(heads), most, WIDTH), torch.zeros(len(heads), most, dtype=torch.int64)
        share, factor = torch.zeros(len(heads), most), 1 - step / STEPS
        for row, size in enumerate(sizes[step][: len(heads)]):  # batches of unequal size
            features[row, :size] = torch.randn(size, WIDTH, generator=draw)
            labels[row, :size] = torch.randint(CLASSES, (size,), generator=draw)
            share[row, :size] = 1 / size
            batches[row].append((features[row, :size].clone(), labels[row, :size].clone(), factor))
        losses.append(together.step(features, labels, share, factor))
    for row, (one, (weight, bias)) in enumerate(zip(modules, together.values(), strict=True)):
        true_weight, true_bias, true_losses = plainly(one, batches[row], clip)
        torch.testing.assert_close(weight, true_weight.detach(), rtol=1e-4, atol=2e-5)
        torch.testing.assert_close(bias, true_bias.detach(), rtol=1e-4, atol=2e-5)
        assert torch.stack(losses)[:, row].tolist() == pytest.approx(true_losses, abs=1e-5)


def test_values_are_kept_as_they_were() -> None:
    one = module(0, 0.1, 0.0, torch.optim.SGD)
    heads = Heads([one], None, torch.device("cpu"))
    (before,) = heads.values()
    kept = before[0].clone()
    heads.step(torch.ones(1, 2, WIDTH), torch.zeros(1, 2, dtype=torch.int64), torch.full((1, 2), 0.5), 1.0)
    assert torch.equal(before[0], kept)
    assert not torch.equal(heads.values()[0][0], kept)
    assert torch.equal(one.task.linear.weight, kept), "the module's own head is set when its training ends"
