"""Image backbones from timm: layer groups, preprocessing, weights, what is refused."""

import json

import numpy as np
import pytest
import timm
import torch

from tlx.errors import UserError
from tlx.models.vision import VisionBackbone

PICTURE = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)


def build(arch="test_resnet", **changes):
    torch.manual_seed(0)
    return VisionBackbone(arch, **changes).eval()


def batch_of(backbone):
    return backbone.preprocessing.collate([backbone.preprocessing.encode(PICTURE)])


def on_meta(arch, **changes):
    with torch.device("meta"):
        return VisionBackbone(arch, **changes)


@pytest.fixture
def folder(tmp_path):
    """A network as timm saves it for the hub: config.json with its preprocessing, and weights with a classifier."""
    network = timm.create_model("test_resnet", num_classes=7)
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    config = {
        "architecture": "test_resnet",
        "num_classes": 7,
        "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 48, 48], "crop_pct": 0.5},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_an_unknown_architecture_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown timm architecture 'resnet_18'\. Did you mean 'resnet\w*18'\?"):
        build("resnet_18")
    with pytest.raises(UserError, match=r"unknown tag .* 'resnet18\.a9_in1k'\. Did you mean 'resnet18\.a\d_in1k'\?"):
        build("resnet18.a9_in1k")


def test_a_network_that_does_not_describe_its_layers_needs_them_in_the_yaml():
    with pytest.raises(UserError, match=r"'poolformer_s12' does not describe its layer groups.*`layer_groups: \[\["):
        on_meta("poolformer_s12")
    groups = [["stem", r"stem\."], ["stage", r"stages\.(\d+)\."], ["+", r"head\."]]
    described = on_meta("poolformer_s12", layer_groups=groups).layer_groups()
    assert [g.name for g in described] == ["stem", "stage0", "stage1", "stage2", "stage3"]


@pytest.mark.parametrize(
    ("arch", "last", "tail"),
    [
        ("convnext_tiny", "block18", "head.norm.weight"),  # no expression of timm matches these four
        ("vit_base_patch16_reg4_gap_256", "block12", "fc_norm.weight"),
        ("mobilenetv3_small_100", "block12", "conv_head.weight"),
        ("densenet121", "block58", "features.norm5.weight"),
        ("vit_small_patch16_224", "block12", "norm.weight"),
        ("efficientnet_b0", "block16", "conv_head.weight"),
    ],
)
def test_what_follows_the_last_block_belongs_to_it(arch, last, tail):
    groups = on_meta(arch).layer_groups()
    assert groups[-1].name == last
    assert f"network.{tail}" in groups[-1].parameters
    assert len(groups[-1].parameters) > 2, "a final norm is no layer of its own"


@pytest.mark.parametrize("arch", ["vit_base_patch16_reg4_gap_256", "deit_tiny_distilled_patch16_224"])
def test_tokens_and_positions_belong_to_the_stem(arch):
    stem = on_meta(arch).layer_groups()[0]
    tokens = {n for n in dict(on_meta(arch).named_parameters()) if n.endswith(("token", "pos_embed"))}
    assert tokens
    assert tokens <= set(stem.parameters)


def test_parameters_that_timm_forgets_are_an_error_unless_they_come_last():
    with pytest.raises(UserError, match=r"timm puts shared_rel_pos\.mlp\.fc1\.weight.*`layer_groups`"):
        on_meta("vit_srelpos_medium_patch16_224").layer_groups()


def test_preprocessing_comes_from_the_tag_the_folder_and_the_yaml_in_rising_order(folder):
    tag = build().preprocessing
    assert tag.mean == timm.get_pretrained_cfg("test_resnet").mean
    for source in (folder, folder / "pytorch_model.bin"):
        saved = build(source=source).preprocessing
        assert (saved.mean, saved.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        assert (saved.size, saved.crop_pct) == ((48, 48), 0.5)
    stated = build(source=folder, mean=[0.5], std=[0.5], size=32, channels=1).preprocessing
    assert (stated.mean, stated.std, stated.size, stated.channels) == ((0.5,), (0.5,), (32, 32), 1)
    assert stated.crop_pct == 1.0, "the crop belongs to the checkpoint's size"


def test_a_folder_with_a_classifier_loads_completely(folder):
    backbone = build(source=folder)
    report = backbone.load(folder)
    assert (report.share, report.unused) == (1.0, ("fc.weight", "fc.bias"))
    assert backbone(batch_of(backbone)).shape == (1, backbone.feature_dim)


def test_a_folder_of_another_architecture_is_refused(folder):
    # By name: ResNet-34 has all tensors of ResNet-18, so that only config.json tells.
    with pytest.raises(UserError, match="holds a 'test_resnet' network, but this model is 'test_vit'"):
        build("test_vit", source=folder)
    (folder / "config.json").write_text("broken")
    with pytest.raises(UserError, match=r"config\.json"):
        build(source=folder)


def test_weights_for_other_channels_and_sizes_are_refused(folder, tmp_path):
    # One random tensor among pretrained ones is less than 5 % and still ruins the features.
    with pytest.raises(UserError, match=r"of another shape.*conv1\.0\.weight.*channels"):
        build(channels=1).load(folder)
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "vit.pt")
    assert build("test_vit").load(tmp_path / "vit.pt").share == 1.0
    with pytest.raises(UserError, match=r"of another shape.*pos_embed.*image size"):
        build("test_vit", size=64).load(tmp_path / "vit.pt")


@pytest.mark.parametrize("arch", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
@pytest.mark.parametrize("pooling", [None, "max"])
def test_the_feature_width_is_what_the_network_gives(arch, pooling):
    backbone = build(arch, pooling=pooling)
    assert backbone(batch_of(backbone)).shape == (1, backbone.feature_dim)


def test_options_reach_the_constructor():
    assert build("test_vit", options={"depth": 2}).layer_groups()[-1].name == "block2"
