"""The residual networks for CIFAR of He et al. 2016 (arXiv:1512.03385, section 4.2): depth 20, 32, 44, 56, 110, …"""

import torch.nn.functional as F
from torch import Tensor, nn

from tlx.errors import UserError
from tlx.layer_groups import Layers

WIDTHS = (16, 32, 64)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut without parameters (the paper's option A).

    Where the block halves the resolution, the shortcut takes every second pixel and puts zeros into the new channels,
    half of them before the old ones and half after.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.zeros = (width - width_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.zeros:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, self.zeros, self.zeros))
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + shortcut)


class CifarResNet(nn.Module):
    """Stem and three stages of (depth − 2) / 6 basic blocks with 16, 32 and 64 channels; no classifier.

    Maps (B, 3, H, W) to the last feature map (B, 64, ⌈H/4⌉, ⌈W/4⌉). Parameter names are those of the published
    checkpoints (akamaster/pytorch_resnet_cifar10), whose final linear layer is not used.

    Raises:
        UserError: a depth that is not 6n + 2.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise UserError(f"a CIFAR ResNet cannot have depth {depth}: allowed are 6n + 2, such as 20, 32, 56, 110.")
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = _stage(WIDTHS[0], WIDTHS[0], blocks, stride=1)
        self.layer2 = _stage(WIDTHS[0], WIDTHS[1], blocks, stride=2)
        self.layer3 = _stage(WIDTHS[1], WIDTHS[2], blocks, stride=2)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x)))


def _stage(width_in: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(width_in, width, stride)
    return nn.Sequential(first, *(BasicBlock(width, width, 1) for _ in range(blocks - 1)))


def layer_groups(module: nn.Module) -> Layers:
    """The stem, then each basic block: stem, layer1.0, layer1.1, …, layer3.8."""
    groups = [("stem", r"(?:conv1|bn1)\.")]
    for stage in ("layer1", "layer2", "layer3"):
        groups += [(f"{stage}.{i}", rf"{stage}\.{i}\.") for i, _ in module.get_submodule(stage).named_children()]
    return groups
