"""Layer groups proposed from the network alone: every parameter once, blocks as groups, the head on top."""

import lightning as L
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tlx.errors import UserError
from tlx.network.proposed_groups import propose_groups
from tlx.plan import ParameterPlan


def named(module: nn.Module) -> dict[str, list[str]]:
    groups = propose_groups(module)
    ParameterPlan.of(module, groups)  # every parameter once
    return {g.name: list(g.parameters) for g in groups}


def test_a_residual_network() -> None:
    from torchvision.models import resnet18

    module = nn.ModuleDict({"net": resnet18()})
    found = named(module)
    blocks = [f"net.layer{i}.{k}" for i in (1, 2, 3, 4) for k in (0, 1)]
    assert list(found) == ["net.conv1", *blocks, "net.fc"]
    assert found["net.conv1"] == ["net.conv1.weight", "net.bn1.weight", "net.bn1.bias"]


def test_a_vision_transformer_and_its_tokens() -> None:
    from torchvision.models import VisionTransformer

    found = named(VisionTransformer(32, 16, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=3))
    layers = [f"encoder.layers.encoder_layer_{i}" for i in range(2)]
    assert list(found) == ["conv_proj", *layers, "heads"]
    assert {"class_token", "conv_proj.weight"} <= set(found["conv_proj"])
    assert "encoder.pos_embedding" in found[layers[0]] and "encoder.ln.weight" in found[layers[1]]


def test_a_text_encoder() -> None:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=8,
    )  # fmt: skip
    found = named(nn.ModuleDict({"model": BertForSequenceClassification(config)}))
    layers = [f"model.bert.encoder.layer.{i}" for i in range(3)]
    assert list(found) == ["model.bert.embeddings", *layers, "model.bert.pooler", "model.classifier"]


def test_stages_of_blocks_and_a_head_of_several_layers() -> None:
    def block() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())

    backbone = nn.Sequential(
        nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)),
        nn.Sequential(block(), block()),
        nn.Sequential(block(), block()),
    )
    head = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    found = named(nn.ModuleDict({"backbone": backbone, "head": head}))
    assert list(found) == ["backbone.0", "backbone.1.0", "backbone.1.1", "backbone.2.0", "backbone.2.1", "head"]
    assert list(named(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)))) == ["1", "3"]


class HeadFirst(L.LightningModule):
    """Its head is made before its backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.dropout = nn.Dropout(0.5)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        return self.head(self.body(x))


def test_the_order_is_that_of_the_calls_where_they_can_be_made() -> None:
    module = HeadFirst()
    assert next(g.name for g in propose_groups(module)) == "head"
    ordered = ["body.0", "body.2", "head"]
    assert [g.name for g in propose_groups(module, lambda m: m(torch.zeros(1, 4)))] == ordered
    module.example_input_array = torch.zeros(2, 4)
    assert [g.name for g in propose_groups(module)] == ordered
    assert module.training and not any(m._forward_pre_hooks for m in module.modules())


def test_a_network_that_is_one_layer_is_refused() -> None:
    for module in (nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), nn.LSTM(2, 2)):
        with pytest.raises(UserError, match="is one layer as far as its modules show"):
            propose_groups(module)
    with pytest.raises(UserError, match=r"is one layer|no parameters"):
        propose_groups(nn.ReLU())


def layers() -> st.SearchStrategy[nn.Module]:
    leaves = st.sampled_from([nn.Linear, nn.LayerNorm, nn.ReLU, nn.Conv2d]).map(
        lambda kind: (
            kind(2, 2, 1)
            if kind is nn.Conv2d
            else kind()
            if kind is nn.ReLU
            else kind(*[2] * (1 + (kind is nn.Linear)))
        )
    )

    def stacks(inner: st.SearchStrategy[nn.Module]) -> st.SearchStrategy[nn.Module]:
        parts = st.lists(inner, max_size=3)
        return parts.map(lambda p: nn.Sequential(*p)) | parts.map(nn.ModuleList)

    return st.recursive(leaves, stacks, max_leaves=12)


@given(layers())
@settings(deadline=None, max_examples=100)
def test_whatever_the_network_every_parameter_is_in_one_group(module: nn.Module) -> None:
    try:
        groups = propose_groups(module)
    except UserError:
        return
    plan = ParameterPlan.of(module, groups)
    assert len(plan.groups) > 1
    assert all(any(module.get_parameter(n).ndim > 1 for n in g.parameters) for g in groups)
    assert sorted(n for g in groups for n in g.modules) == sorted(n for n, _ in module.named_modules())
