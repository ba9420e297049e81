"""What weight decay leaves alone: against timm's own parameter groups, and what other networks say of themselves."""

import pytest
import timm
import torch
from timm.optim import param_groups_weight_decay
from torch import nn

from tlx.layer_groups import LayerGroup
from tlx.network.no_decay import spared_from_decay
from tlx.plan import ParameterPlan

# Of each kind of list that timm has: names, patterns, names of modules within, of a part of the network.
ARCHITECTURES = [
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "beit_base_patch16_224",
    "cait_xxs24_224",
    "crossvit_9_240",
    "levit_128s",
    "mvitv2_tiny",
    "coat_tiny",
    "resnet18",
]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_timm_network_decays_as_timms_own_groups_have_it(name):
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=0)
    spared = getattr(network, "no_weight_decay", set)()
    # Of the parameters outside its list timm spares those of one dimension, as everybody does.
    groups = param_groups_weight_decay(network, 0.1, no_weight_decay_list=spared)
    theirs = {id(p) for group in groups if not group["weight_decay"] for p in group["params"]}
    names = {name for name, p in network.named_parameters() if id(p) in theirs}
    assert spared_from_decay(network) == names
    assert name == "resnet18" or any(p.ndim > 1 for n, p in network.named_parameters() if n in names)
    # Within a run's module, the names begin with where the network is.
    whole = nn.ModuleDict({"backbone": nn.ModuleDict({"network": network}), "task": nn.Linear(2, 2, device="meta")})
    assert spared_from_decay(whole) == {f"backbone.network.{n}" for n in names} | {"task.bias"}


class Speaks(nn.Module):
    def __init__(self, **lists):
        super().__init__()
        self.table, self.inner = nn.Parameter(torch.ones(2, 3)), nn.Linear(3, 3)
        for name, value in lists.items():
            setattr(self, name, value)


def test_other_conventions_of_saying_what_must_not_decay_are_heard():
    marked = Speaks()
    marked.table._no_weight_decay = True
    for network in (
        marked,
        Speaks(no_weight_decay=lambda: {"table"}),
        Speaks(no_weight_decay=["tab*"]),
        Speaks(no_weight_decay_keywords=lambda: {"abl"}),
    ):
        assert spared_from_decay(nn.Sequential(nn.ReLU(), network)) == {"1.table", "1.inner.bias"}
    assert spared_from_decay(Speaks()) == {"inner.bias"}


def test_a_network_answers_for_the_modules_within_it():
    outer = Speaks(no_weight_decay=lambda: {"table"})
    outer.part = Speaks(no_weight_decay=lambda: {"table"})
    assert spared_from_decay(outer) == {"table", "inner.bias", "part.inner.bias"}


def test_norms_and_biases_of_any_shape_do_not_decay():
    class Biased(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(2, 3))

    network = nn.Sequential(nn.LayerNorm([3, 4, 4]), nn.RMSNorm([2, 2]), Biased())
    assert spared_from_decay(network) == {"0.weight", "0.bias", "1.weight", "2.bias"}


def test_the_optimisers_groups_follow_the_networks_list():
    network = timm.create_model("test_vit", num_classes=0)
    names = tuple(n for n, _ in network.named_parameters())
    plan = ParameterPlan.of(network, [LayerGroup("all", names, (), (), 0)])
    decays = {id(p): g["weight_decay"] for g in plan.optimizer_groups(network, 1.0, 0.1) for p in g["params"]}
    assert decays[id(network.pos_embed)] == decays[id(network.cls_token)] == 0
    assert decays[id(network.patch_embed.proj.weight)] == 0.1
