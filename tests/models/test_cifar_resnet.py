"""The CIFAR ResNets against the published weights' outputs, and their layer groups."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tlx.errors import UserError
from tlx.layer_groups import group_layers
from tlx.models.backbone import load_tensors
from tlx.models.cifar_resnet import BasicBlock, CifarResNet, layer_groups
from tlx.models.weights import fit_names, read_state_dict
from tlx.plan import ParameterPlan

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
FILES = {20: "resnet20-12fca82f.th", 56: "resnet56-4bfd9763.th"}
SIZES = {20: 269_072, 56: 852_368}
needs_weights = pytest.mark.skipif(not (DATA / "weights").is_dir(), reason="no ../shared/data/weights")
depths = pytest.mark.parametrize("depth", [20, 56])


def pretrained(depth):
    """The network with its published weights, and the final linear layer that tlx leaves out."""
    net, file = CifarResNet(depth), DATA / "weights" / FILES[depth]
    tensors = read_state_dict(file)
    weight, bias = tensors.pop("linear.weight"), tensors.pop("linear.bias")
    net.load_state_dict(fit_names(tensors, list(net.state_dict())), strict=True)
    return net.eval(), lambda features: features.mean((2, 3)) @ weight.T + bias


@depths
def test_golden_groups(depth):
    net = CifarResNet(depth)
    groups = group_layers(net, layer_groups(net))
    blocks = (depth - 2) // 6
    assert [g.name for g in groups] == ["stem", *(f"layer{s}.{i}" for s in (1, 2, 3) for i in range(blocks))]
    rows = ParameterPlan.of(net, groups).rows(net)
    assert sum(r["size"] for r in rows) == SIZES[depth]
    assert sum(r["size"] for r in rows if r["group"] == "stem") == 3 * 16 * 9 + 32
    assert sum(r["size"] for r in rows if r["group"] == "layer2.0") == (16 + 32) * 32 * 9 + 4 * 32


@needs_weights
@depths
def test_logits_equal_the_reference(depth):
    reference = np.load(DATA / "weights/reference_outputs.npz")
    net, linear = pretrained(depth)
    with torch.no_grad():
        logits = linear(net(torch.from_numpy(reference["cifar_resnet_input"]))).numpy()
    np.testing.assert_allclose(logits, reference[f"resnet{depth}_logits"], atol=1e-4)


@needs_weights
def test_the_weights_of_another_depth_are_refused():
    tensors = read_state_dict(DATA / "weights" / FILES[20])
    with pytest.raises(UserError, match=r"only \d\d% of the backbone's"):
        load_tensors(CifarResNet(56), tensors, Path(FILES[20]))


def test_the_shortcut_keeps_every_second_pixel_between_new_channels_of_zeros():
    block = BasicBlock(4, 8, stride=2).eval()
    torch.nn.init.zeros_(block.conv2.weight)  # only the shortcut is left
    x = torch.rand(2, 4, 7, 7)
    y = block(x)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert not y[:, :2].any()
    assert not y[:, 6:].any()
    assert not [n for n, _ in block.named_parameters() if not n.startswith(("conv", "bn"))]


@pytest.mark.parametrize("depth", [2, 18, 52, -4])
def test_impossible_depths_are_refused(depth):
    with pytest.raises(UserError, match=rf"depth {depth}: allowed are 6n \+ 2"):
        CifarResNet(depth)


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "cifar10").is_dir(), reason="no ../shared/data/cifar10")
def test_accuracy_on_cifar10():
    import pandas as pd

    from tlx.data.image import ImagePreprocessing

    preprocessing = ImagePreprocessing((32, 32), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    table = pd.read_parquet(DATA / "cifar10/test.parquet").sample(2000, random_state=0)
    net, linear = pretrained(20)
    batch = preprocessing.collate([preprocessing.encode(raw) for raw in table["image"]])
    with torch.no_grad():
        guesses = torch.cat([linear(net(part)) for part in batch["pixel_values"].split(250)]).argmax(1)
    # 0.8103 on all 10,000 (these are JPEGs; 0.9178 on the original pixels)
    assert (guesses.numpy() == table["label"].to_numpy()).mean() == pytest.approx(0.81, abs=0.03)
