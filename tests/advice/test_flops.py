"""Operations of a training: known layers by hand, frozen layers without their share of the backward pass."""

import pytest
import torch
from torch import nn

from tlx.advice.flops import flops_per_example, training_flops
from tlx.layer_groups import group_layers
from tlx.plan import ParameterPlan, Phase
from tlx.tasks.classification import Classification


class Small(nn.Module):
    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.body, self.task = nn.Linear(10, 20), Classification(20, ["a", "b", "c"])
        groups = group_layers(self, [("body", "body"), ("head", "task")])
        self.plan = ParameterPlan.of(self, groups)
        self.plan.phases = [Phase(frozenset({"head"}), steps=2), Phase(frozenset({"body", "head"}))]

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.task(self.body(batch["x"]))


BATCH = {"x": torch.randn(6, 10), "label": torch.tensor([0, 1, 2, 0, 1, 2])}


def test_each_pass_is_counted() -> None:
    module = Small()
    forward = 2 * (10 * 20 + 20 * 3)
    assert flops_per_example(module, BATCH, None) == forward
    assert flops_per_example(module, BATCH, 0) == forward + 2 * 20 * 3  # the head's weights
    assert flops_per_example(module, BATCH, 1) == forward + 2 * 20 * 3 * 2 + 2 * 10 * 20  # and what lies below
    whole = training_flops(module, BATCH, [2, 5], 4)
    assert whole == pytest.approx(4 * (2 * (forward + 120) + 5 * (forward + 240 + 400)))
    assert training_flops(module, BATCH, [2, 0], 4) == pytest.approx(4 * 2 * (forward + 120))


def test_nothing_is_left_behind() -> None:
    module = Small().train()
    module.body.eval()
    flops_per_example(module, BATCH, 0)
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert module.training and not module.body.training
