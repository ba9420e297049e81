"""Backbones from any nn.Module, and the model yamls that are made so."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from tlx.data.audio import AudioPreprocessing
from tlx.data.image import ImagePreprocessing
from tlx.errors import UserError
from tlx.models.module import ModuleBackbone
from tlx.plan import ParameterPlan, Phase, apply_phase, frozen_hash

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "../shared/data/weights"
GENERIC = ("path", "revision", "lr", "pretrain")  # read by tlx itself, not by the backbone's constructor
# name: (weights file, its tensors that are not used, number of layers that LoRA adapts)
PRESETS = {
    "squeezenet": ("squeezenet1_0_imagenet.npz", ("classifier.1.weight", "classifier.1.bias"), 24),
    "cifar_resnet20": ("resnet20-12fca82f.th", ("linear.weight", "linear.bias"), 18),
    "cifar_resnet56": ("resnet56-4bfd9763.th", ("linear.weight", "linear.bias"), 54),
    "speech_embedding": ("google_speech_embedding.safetensors", (), 19),
}
IMAGES = ImagePreprocessing(size=(16, 16), mean=(0.5,), std=(0.5,))


class Toy(nn.Module):
    """Two convolutions with batch norm and dropout; (B, 3, H, W) to (B, 5, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.blocks = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5))

    def forward(self, x):
        return self.blocks(self.stem(x))


LIST = [["stem", r"stem\."], ["block", r"blocks\.(\d)\."]]


def toy_layers(module):
    return [("stem", r"stem\."), *((f"b{i}", rf"blocks\.{i}\.") for i, _ in enumerate(module.blocks) if i)]


def corner(module, batch):
    return module(batch["pixel_values"])[:, :, 0, 0]


def feature_map(module, batch):
    return module(batch["pixel_values"])


def read_foreign(path):
    return {name.replace("body", "blocks"): tensor for name, tensor in torch.load(path, weights_only=True).items()}


def build(**changes):
    module = changes.pop("module") if "module" in changes else Toy()
    arguments = {"modality": "image", "preprocessing": IMAGES, "layer_groups": LIST} | changes
    return ModuleBackbone(module, **arguments)


def test_the_layer_groups_may_be_a_list_a_mapping_or_a_function():
    names = ["stem", "block1", "block2"]
    for given in (LIST, dict(LIST), OmegaConf.create(LIST), OmegaConf.create(dict(LIST)), tuple(map(tuple, LIST))):
        assert [g.name for g in build(layer_groups=given).layer_groups()] == names
    by_function = build(layer_groups=f"{__name__}.toy_layers").layer_groups()
    assert [g.name for g in by_function] == ["stem", "b1", "b2"]
    assert by_function[0].parameters[0] == "network.stem.0.weight"


def test_images_by_default_give_the_mean_over_their_pixels():
    backbone = build().eval()
    batch = {"pixel_values": torch.randn(3, 3, 8, 6)}
    torch.testing.assert_close(backbone(batch), backbone.network(batch["pixel_values"]).mean((2, 3)))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 7))
    assert build(module=flat, layer_groups=[["all", ""]]).feature_dim == 7


def test_features_by_a_function():
    backbone = build(features=f"{__name__}.corner").eval()
    assert backbone.feature_dim == 5
    batch = {"pixel_values": torch.randn(2, 3, 8, 8)}
    torch.testing.assert_close(backbone(batch), backbone.network(batch["pixel_values"])[:, :, 0, 0])


def test_measuring_the_width_leaves_no_trace():
    torch.manual_seed(0)
    untouched = Toy()
    untouched.stem.eval()
    torch.manual_seed(0)
    module = Toy()
    module.stem.eval()
    state = torch.get_rng_state()
    assert build(module=module).feature_dim == 5
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in module.modules()] == [m.training for m in untouched.modules()]
    assert all(
        torch.equal(a, b) for a, b in zip(module.state_dict().values(), untouched.state_dict().values(), strict=True)
    )


def test_text_and_audio_are_measured_too():
    class Words:
        def encode(self, raw):
            return [len(word) for word in raw.split()]

        def collate(self, examples):
            return {"input_ids": torch.tensor(examples)}

    text = build(
        module=nn.EmbeddingBag(30, 6),
        modality="text",
        preprocessing=Words(),
        layer_groups=[["all", ""]],
        features=f"{__name__}.bag",
    )
    assert (text.feature_dim, text.modality) == (6, "text")
    audio = build(
        module=nn.Conv1d(1, 9, 400),
        modality="audio",
        preprocessing=AudioPreprocessing(sample_rate=8000, max_seconds=2.0),
        layer_groups=[["all", ""]],
        features=f"{__name__}.loudness",
    )
    assert audio.feature_dim == 9


def bag(module, batch):
    return module(batch["input_ids"])


def loudness(module, batch):
    return module(batch["input_values"][:, None]).mean(2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modality": "images"}, "unknown modality 'images'. Did you mean 'image'"),
        ({"modality": "audio"}, "a backbone for audio needs `model.features`"),
        ({"module": {"a": 1}}, "must be a torch.nn.Module, but an object of type dict"),
        ({"features": "no.such.module.f"}, "model.features=no.such.module.f: the module 'no.such.module' cannot be"),
        ({"features": "tlx.models.module.image_featurs"}, "did you mean 'image_features'"),
        ({"features": "features"}, "must be the dotted name of a function"),
        ({"features": "tlx.models.module.MODALITIES"}, "is an object of type tuple, not a function"),
        ({"features": f"{__name__}.feature_map"}, r"one vector per example.*a tensor of shape \(1, 5, 16, 16\)"),
        ({"read_weights": "torch.nope"}, "model.read_weights=torch.nope"),
        ({"layer_groups": []}, "must be a list of"),
        ({"layer_groups": [["stem"]]}, "must be a list of"),
        ({"layer_groups": ["ab"]}, "must be a list of"),
        ({"layer_groups": [["stem", 3]]}, "must be a list of"),
        ({"layer_groups": [["stem", "stem"]]}, "no layer group takes the parameters blocks.1.weight"),
        ({"layer_groups": [["all", "("]]}, "not a regular expression"),
        ({"lora_targets": "("}, "not a regular expression"),
        ({"lora_targets": "conv"}, "matches the whole name of no layer"),
        ({"module": nn.Identity()}, "Identity has no parameters"),
    ],
)
def test_mistakes_in_the_yaml_are_readable_errors(changes, message):
    with pytest.raises(UserError, match=message):
        build(**changes)


def test_a_wrong_width_is_found_at_the_first_batch():
    with pytest.raises(UserError, match=r"5 numbers per example, but `model.feature_dim` says 8"):
        build(feature_dim=8)({"pixel_values": torch.zeros(1, 3, 4, 4)})


def test_weights_come_back_whatever_wrapped_them(tmp_path):
    source = build().network
    wrapped = {f"module._orig_mod.{n}": t for n, t in source.state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 1}, tmp_path / "last.ckpt")
    target = build()
    report = target.load(tmp_path / "last.ckpt")
    assert (report.share, report.missing, report.unused) == (1.0, (), ())
    assert target.load_report == report
    assert torch.equal(target.network.stem[0].weight, source.stem[0].weight)


def test_a_network_whose_own_names_look_wrapped_is_loaded(tmp_path):
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = Toy()

        def forward(self, x):
            return self.model(x)

    source = Holder()
    torch.save(source.state_dict(), tmp_path / "w.pt")
    target = build(module=Holder(), layer_groups=[["all", ""]])
    assert target.load(tmp_path / "w.pt").share == 1.0
    assert torch.equal(target.network.model.stem[0].weight, source.model.stem[0].weight)


def test_a_foreign_format_is_read_by_the_users_function(tmp_path):
    foreign = {n.replace("blocks", "body"): t for n, t in Toy().state_dict().items()}
    torch.save(foreign, tmp_path / "theirs.anything")
    assert build(read_weights=f"{__name__}.read_foreign").load(tmp_path / "theirs.anything").share == 1.0
    with pytest.raises(UserError, match="known endings"):
        build().load(tmp_path / "theirs.anything")


def test_bad_files_are_refused(tmp_path):
    backbone = build()
    with pytest.raises(UserError, match="no such weights file"):
        backbone.load(tmp_path / "absent.pt")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"only 0% of the backbone's 14 tensors .* strategy\.init=scratch"):
        backbone.load(tmp_path / "other.pt")
    torch.save(Toy(), tmp_path / "whole.pt")
    with pytest.raises(UserError, match="was refused"):
        backbone.load(tmp_path / "whole.pt")
    assert backbone.load_report is None


def preset(name):
    config = OmegaConf.load(ROOT / f"configs/model/{name}.yaml")
    for key in GENERIC:
        assert key in config, f"every model yaml has `{key}`"
        config.pop(key)
    return instantiate(config)


def example_batch(backbone):
    rng = np.random.default_rng(0)
    if backbone.modality == "image":
        raw = [rng.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(2)]
    else:
        raw = [(rng.standard_normal(n).astype(np.float32) / 10, 16_000) for n in (9_000, 5_000)]
    return backbone.preprocessing.collate([backbone.preprocessing.encode(value) for value in raw])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_train_freeze_and_name_lora_targets(name):
    torch.manual_seed(0)
    backbone = preset(name)
    plan = ParameterPlan.of(backbone, backbone.layer_groups())
    buffers = [n for g in plan.groups for n in g.buffers]
    assert sorted(buffers) == sorted(n for n, _ in backbone.named_buffers())
    targets = [n for n, _ in backbone.network.named_modules() if re.fullmatch(backbone.lora_targets, n)]
    assert len(targets) == PRESETS[name][2]
    assert all(isinstance(backbone.network.get_submodule(n), nn.Conv2d) for n in targets)

    last = plan.groups[-1].name
    plan.phases = [Phase(frozenset({last}))]
    apply_phase(backbone.train(), plan, 0)
    before = frozen_hash(backbone, plan)
    features = backbone(example_batch(backbone))
    assert features.shape == (2, backbone.feature_dim)
    features.square().mean().backward()
    assert {n for n, p in backbone.named_parameters() if p.grad is not None} == set(plan.group(last).parameters)
    assert frozen_hash(backbone, plan) == before


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="no ../shared/data/weights")
@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_their_weights_completely_and_no_others(name):
    file, unused, _ = PRESETS[name]
    backbone = preset(name)
    report = backbone.load(WEIGHTS / file)
    assert (report.share, report.missing, report.unused) == (1.0, (), unused)
    for other, (foreign, *_) in PRESETS.items():
        if other != name and (name, other) != ("cifar_resnet20", "cifar_resnet56"):
            with pytest.raises(UserError, match=r"only \d+% of the backbone's"):
                backbone.load(WEIGHTS / foreign)


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="no ../shared/data/weights")
def test_a_deeper_networks_file_is_refused():
    # Its first blocks bear the names of the shallower network, so every tensor that is needed is there.
    with pytest.raises(UserError, match="deeper network"):
        preset("cifar_resnet20").load(WEIGHTS / PRESETS["cifar_resnet56"][0])


@pytest.mark.slow  # peft takes seconds to import
@pytest.mark.parametrize("name", PRESETS)
def test_lora_changes_nothing_at_first_and_merges(name):
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    backbone = preset(name).eval()
    batch = example_batch(backbone)
    before = backbone(batch)
    inject_adapter_in_model(LoraConfig(r=4, target_modules=backbone.lora_targets), backbone.network)
    layers = [m for m in backbone.network.modules() if isinstance(m, BaseTunerLayer)]
    assert len(layers) == PRESETS[name][2]
    torch.testing.assert_close(backbone(batch), before)
    ParameterPlan.of(backbone, backbone.layer_groups())  # the adapters' parameters belong to the groups of their layers
    for parameter_name, parameter in backbone.named_parameters():
        if "lora_B" in parameter_name:
            nn.init.normal_(parameter, std=0.02)
    adapted = backbone.eval()(batch)
    assert not torch.allclose(adapted, before, rtol=1e-3)
    for layer in layers:
        layer.merge(safe_merge=True)
    torch.testing.assert_close(backbone(batch), adapted, rtol=1e-3, atol=1e-3)
