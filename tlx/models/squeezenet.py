"""SqueezeNet (Iandola et al. 2016, arXiv:1602.07360) from torchvision, as a backbone without its classifier."""

from collections import OrderedDict

from torch import nn

from tlx.layer_groups import Layers


def build() -> nn.Sequential:
    """SqueezeNet 1.0's convolutions with torchvision's names (`features.0.weight`, …), randomly initialised.

    Maps (B, 3, H, W) to the last feature map (B, 512, h, w), h ≈ H / 16 (H = 224 gives 13). The 1000-class classifier
    is left out, so that the layer groups hold nothing that no forward pass uses.
    """
    from torchvision.models import squeezenet1_0

    return nn.Sequential(OrderedDict(features=squeezenet1_0(weights=None).features))


def layer_groups(module: nn.Module) -> Layers:
    """The stem convolution, then the fire modules in order, numbered from 2 as in the paper: stem, fire2, …, fire9."""
    from torchvision.models.squeezenet import Fire

    features = module.get_submodule("features")
    fires = [name for name, child in features.named_children() if isinstance(child, Fire)]
    return [("stem", r"features\.0\.")] + [(f"fire{i}", rf"features\.{name}\.") for i, name in enumerate(fires, 2)]
