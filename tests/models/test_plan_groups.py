"""Layer groups, parameter plans and phases, on random networks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tlx.errors import UserError
from tlx.layer_groups import group_layers
from tlx.plan import ParameterPlan, Phase, apply_modes, apply_phase, frozen_hash

PARTS = {
    "linear": lambda: nn.Linear(4, 4),
    "norm": lambda: nn.BatchNorm1d(4),
    "dropout": lambda: nn.Dropout(0.5),
    "nested": lambda: nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 4), nn.BatchNorm1d(4)),
    "empty": lambda: nn.Sequential(nn.Dropout(0.1), nn.Identity()),
    "plain norm": lambda: nn.BatchNorm1d(4, affine=False),
}


def stack(kinds: list[str]) -> nn.Sequential:
    """`kinds` in order, between a stem with parameters and a last layer with parameters."""
    blocks = nn.Sequential(*(PARTS[kind]() for kind in kinds), nn.Linear(4, 4))
    return nn.Sequential(nn.Linear(4, 4), blocks)


STACK_LAYERS = [("stem", r"0\."), ("block", r"1\.(\d+)\.")]
kinds = st.lists(st.sampled_from(sorted(PARTS)), max_size=12)


def occurrences(lists):
    names = [name for names in lists for name in names]
    return sorted(names)


@given(kinds)
@settings(deadline=None, max_examples=60)
def test_everything_belongs_to_exactly_one_group(chosen):
    net = stack(chosen)
    groups = group_layers(net, STACK_LAYERS)
    assert occurrences(g.parameters for g in groups) == sorted(n for n, _ in net.named_parameters())
    assert occurrences(g.buffers for g in groups) == sorted(n for n, _ in net.named_buffers())
    assert occurrences(g.modules for g in groups) == sorted(n for n, _ in net.named_modules())
    assert [g.depth for g in groups] == list(range(len(groups)))
    with_parameters = [i for i, part in enumerate(net[1]) if any(True for _ in part.parameters())]
    assert [g.name for g in groups] == ["stem", *(f"block{i}" for i in with_parameters)]


@given(kinds, st.data())
@settings(deadline=None, max_examples=60)
def test_a_phase_trains_its_groups_and_nothing_else(chosen, data):
    net = stack(chosen).train()
    plan = ParameterPlan.of(net, group_layers(net, STACK_LAYERS))
    names = [g.name for g in plan.groups]
    some = st.sets(st.sampled_from(names), min_size=1).map(frozenset)
    plan.phases = [Phase(trainable) for trainable in data.draw(st.lists(some, min_size=1, max_size=4))]
    parameters, modules = dict(net.named_parameters()), dict(net.named_modules())
    for number, phase in enumerate(plan.phases):
        for parameter in parameters.values():
            parameter.grad = torch.ones_like(parameter)
        apply_phase(net, plan, number)
        for group in plan.groups:
            on = group.name in phase.trainable
            assert all(parameters[n].requires_grad is on for n in group.parameters)
            assert all((parameters[n].grad is not None) is on for n in group.parameters)
            assert all(modules[n].training is on for n in group.modules)


def test_a_phase_leaves_a_network_in_eval_mode_there():
    net = stack(["nested"]).eval()
    plan = ParameterPlan.of(net, group_layers(net, STACK_LAYERS))
    apply_phase(net, plan, 0)
    assert not any(part.training for part in net.modules())
    apply_modes(net, plan, 0)
    assert all(part.training for part in net.modules())


def test_what_the_architecture_never_trains_stays_fixed():
    net = stack([])
    net[0].bias.requires_grad_(False)
    plan = ParameterPlan.of(net, group_layers(net, STACK_LAYERS))
    assert plan.fixed == {"0.bias"}
    apply_phase(net, plan, 0)
    assert not net[0].bias.requires_grad
    assert net[0].weight.requires_grad


def test_frozen_layers_stay_bit_identical_through_training():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 4), nn.BatchNorm1d(4))
    groups = group_layers(net, [("stem", r"0\."), ("norm", r"1\."), ("top", r"[34]\.")])
    plan = ParameterPlan.of(net, groups)
    plan.phases = [Phase(frozenset(g.name for g in groups)), Phase(frozenset({"top"}))]
    optimizer = torch.optim.AdamW(plan.optimizer_groups(net, lr=0.1, weight_decay=0.1))
    inputs = torch.randn(16, 4)

    def train(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            net(inputs).square().mean().backward()
            optimizer.step()

    apply_phase(net, plan, 0)
    train(2)  # so that the moments of the frozen layers are not zero
    plan.phases[0] = plan.phases[1]  # what is hashed: groups that no phase trains
    apply_phase(net, plan, 1)
    before, prefix = frozen_hash(net, plan), net[:2](inputs)
    top = net[3].weight.detach().clone()
    train(3)
    assert frozen_hash(net, plan) == before
    assert torch.equal(net[:2](inputs), prefix)
    assert not torch.equal(net[3].weight, top)
    net[1].running_mean[0] += 1
    assert frozen_hash(net, plan) != before


def test_frozen_hash_reads_every_kind_of_number():
    net = nn.Linear(2, 2, dtype=torch.bfloat16)
    net.register_buffer("steps", torch.tensor(3))
    net.register_buffer("none", torch.zeros(0))
    net.register_buffer("flags", torch.tensor([True, False]))
    plan = ParameterPlan.of(net, group_layers(net, [("all", "")]))
    plan.phases = [Phase(frozenset())]
    before = frozen_hash(net, plan)
    assert before == frozen_hash(net, plan)
    net.flags[1] = True
    assert frozen_hash(net, plan) != before


@given(kinds, st.floats(1e-5, 1.0), st.floats(0.0, 1.0), st.data())
@settings(deadline=None, max_examples=60)
def test_the_optimiser_gets_every_parameter_once_with_its_rate_and_decay(chosen, lr, decay, data):
    net = stack(chosen)
    plan = ParameterPlan.of(net, group_layers(net, STACK_LAYERS))
    plan.lr_factors = {
        g.name: data.draw(st.floats(0.01, 10)) for g in plan.groups if g.name == "stem" or data.draw(st.booleans())
    }
    groups = plan.optimizer_groups(net, lr, decay)
    given_to = {id(p): g for g in groups for p in g["params"]}
    assert sum(len(g["params"]) for g in groups) == len(given_to) == len(list(net.parameters()))
    for row in plan.rows(net):
        parameter = net.get_parameter(row["name"])
        group = given_to[id(parameter)]
        assert group["lr"] == lr * plan.lr_factors.get(row["group"], 1.0)
        assert group["weight_decay"] == (decay if parameter.ndim > 1 else 0.0)
        assert row["decay"] is (parameter.ndim > 1)
        assert row["size"] == parameter.numel()
        assert row["first_phase"] == 0


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6), st.integers(1, 500))
def test_phases_start_in_order_or_are_refused(shares, total):
    plan = ParameterPlan([], [*(Phase(frozenset(), share=s) for s in shares), Phase(frozenset())])
    try:
        starts = plan.boundaries(total, steps_per_epoch=10)
    except UserError as error:
        assert "do not fit" in str(error)
        return
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert starts[-1] < total
    assert starts[-1] == round(sum(shares) * total)


def test_the_three_units_of_a_phase():
    phases = [
        Phase(frozenset(), epochs=2),
        Phase(frozenset(), steps=5),
        Phase(frozenset(), share=0.1),
        Phase(frozenset()),
    ]
    assert ParameterPlan([], phases).boundaries(total_steps=100, steps_per_epoch=10) == [0, 20, 25, 35]
    assert ParameterPlan([], [Phase(frozenset())]).boundaries(1, 1) == [0]
    with pytest.raises(UserError, match="4 phases do not fit into 30 optimiser steps"):
        ParameterPlan([], phases).boundaries(total_steps=27 + 3, steps_per_epoch=15)


def test_captured_numbers_are_sorted_as_numbers():
    net = nn.ModuleDict({str(i): nn.Linear(1, 1) for i in (10, 2, 1)})
    assert [g.name for g in group_layers(net, [("block", r"(\d+)\.")])] == ["block1", "block2", "block10"]


def test_the_first_expression_that_matches_takes_the_parameter():
    net = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    first, second = group_layers(net, [("weight", r"0\.weight"), ("rest", "")])
    assert first.parameters == ("0.weight",)
    assert set(second.parameters) == {"0.bias", "1.weight", "1.bias"}
    assert "0" in first.modules  # whose mode cannot be shared: it follows the lower group


def test_plus_adds_to_the_group_before():
    net = nn.ModuleDict(
        {"stem": nn.Linear(1, 1), "a": nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), "n": nn.LayerNorm(1)}
    )
    groups = group_layers(net, [("stem", "stem"), ("block", r"a\.(\d)\."), ("+", "n")])
    assert [g.name for g in groups] == ["stem", "block0", "block1"]
    assert "n.weight" in groups[-1].parameters


def test_tied_layers_follow_the_group_that_holds_their_weight():
    net = nn.ModuleDict(
        {"stem": nn.Linear(3, 3), "top": nn.Linear(3, 3, bias=False), "tied": nn.Linear(3, 3, bias=False)}
    )
    net["tied"].weight = net["top"].weight
    stem, top = group_layers(net, [("stem", "stem"), ("top", "top")])
    assert top.parameters == ("top.weight",)
    assert set(top.modules) == {"top", "tied"}
    assert set(stem.modules) == {"", "stem"}


def test_groups_seen_from_the_module_around():
    group = group_layers(nn.BatchNorm1d(2), [("all", "")])[0].within("backbone")
    assert group.parameters == ("backbone.weight", "backbone.bias")
    assert set(group.buffers) == {f"backbone.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")}
    assert group.modules == ("backbone",)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([("stem", r"0\.")], "no layer group takes the parameters 1.0.weight, 1.0.bias"),
        ([("all", ""), ("none", "2")], r"none \(2\) match no parameter"),
        ([], "no layer group takes"),
        ([("stem", "(0")], "not a regular expression"),
        ([("stem", r"(\d)\.(weight|bias)"), ("rest", "")], "captures more than one"),
        ([("stem", r"0\.(weight|bias)"), ("rest", "")], "captures 'weight' in 0.weight"),
        ([("stem", r"0\.(\d)?"), ("rest", "")], "captures 'None'"),
        ([("+", "0"), ("rest", "")], "the first of the layer groups"),
    ],
)
def test_layer_groups_that_do_not_work_are_refused(layers, message):
    with pytest.raises(UserError, match=message):
        group_layers(stack([]), layers)


def test_a_network_without_parameters_is_refused():
    with pytest.raises(UserError, match="Identity has no parameters"):
        group_layers(nn.Identity(), [])


def test_a_plan_refuses_what_is_not_covered_exactly_once():
    net = stack(["linear"])
    groups = group_layers(net, STACK_LAYERS)
    with pytest.raises(UserError, match=r"exactly one layer group; see to 1\.1\.bias, 1\.1\.weight"):
        ParameterPlan.of(net, groups[:-1])
    with pytest.raises(UserError, match=r"see to 0\.bias, 0\.weight"):
        ParameterPlan.of(net, [groups[0], *groups])
    twice = group_layers(net, [("a", r"0\."), ("a", r"1\.")])
    with pytest.raises(UserError, match="the same name"):
        ParameterPlan.of(net, twice)
    with pytest.raises(UserError, match="Did you mean 'block1'"):
        ParameterPlan.of(net, groups).group("blok1")
