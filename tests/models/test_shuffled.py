"""Shuffled weights: the same values in each tensor, in another order; what is not learned stays."""

import torch
from torch import nn

from tlx.models.shuffled import shuffle


def test_each_tensor_keeps_its_values_and_loses_their_order() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Embedding(9, 4))
    network[1].running_mean.normal_()
    network[2].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    shuffle(network)
    after = network.state_dict()
    for name in ("0.weight", "0.bias", "1.running_mean"):
        assert not torch.equal(before[name], after[name])
        assert torch.equal(before[name].flatten().sort().values, after[name].flatten().sort().values)
    assert torch.equal(before["2.weight"], after["2.weight"])
    assert torch.equal(before["1.num_batches_tracked"], after["1.num_batches_tracked"])
