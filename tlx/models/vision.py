"""Image backbones: any timm network that describes its layer groups, or whose yaml does."""

from pathlib import Path
from typing import Any, ClassVar

import timm
from timm.data import resolve_data_config
from timm.models import group_parameters
from torch import Tensor

from tlx.data.image import ImagePreprocessing
from tlx.errors import UserError, unknown
from tlx.models.backbone import Backbone
from tlx.models.weights import read_json
from tlx.plan import LayerGroup, Layers, divide

# What LoRA adapts, by the first word of the timm name: regular expressions over whole module names.
LORA_TARGETS = {
    "vit": r"blocks\.\d+\.attn\.(qkv|proj)",
    "deit": r"blocks\.\d+\.attn\.(qkv|proj)",
    "swin": r"layers\.\d+\.blocks\.\d+\.attn\.(qkv|proj)",
    "convnext": r"stages\.\d+\.blocks\.\d+\.mlp\.fc[12]",
    "resnet": r"layer\d+\.\d+\.conv\d",
    "resnetv2": r"stages\.\d+\.blocks\.\d+\.conv\d",
    "efficientnet": r"blocks\.\d+\.\d+\.conv_(pw|pwl)",
    "mobilenetv3": r"blocks\.\d+\.\d+\.conv_(pw|pwl)",
}


class VisionBackbone(Backbone):
    """A timm network with its own pooling; input `pixel_values` (B, C, H, W), features (B, feature_dim).

    `arch` is a timm name, with its tag where the preprocessing depends on it (`resnet18.a1_in1k`). `size` is the image's
    height = width in pixels (default: the checkpoint's). `options` go to `timm.create_model` (drop_path_rate, …).
    Preprocessing comes from the folder's config.json where the weights are a folder saved by timm, else from the
    architecture's tag; `mean`, `std`, `channels` override it.

    Raises:
        UserError: no such architecture, or one that describes no layer groups while the yaml states none.
    """

    modality: ClassVar[str] = "image"

    def __init__(
        self,
        arch: str,
        source: Path | None = None,
        size: int | None = None,
        channels: int | None = None,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        crop_pct: float | None = None,
        pooling: str | None = None,
        layer_groups: Layers | None = None,
        lora_targets: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not timm.is_model(arch):
            raise unknown("timm architecture", arch, timm.list_models(), "See timm.list_models().")
        extra: dict[str, Any] = dict(options or {})
        if channels:
            extra["in_chans"] = channels
        if pooling:
            extra["global_pool"] = pooling
        if size and arch.startswith(("vit", "deit", "swin")):
            extra["img_size"] = size
        self.network = timm.create_model(arch, pretrained=False, num_classes=0, **extra)
        self.feature_dim = int(getattr(self.network, "head_hidden_size", None) or self.network.num_features)
        self.preprocessing = self._preprocessing(source, size, channels, mean, std, crop_pct)
        self.layers = layer_groups or ()
        if layer_groups is None and not hasattr(self.network, "group_matcher"):
            raise UserError(
                f"the timm network '{arch}' does not describe its layer groups (it has no group_matcher): "
                "list them in the model's yaml, `layer_groups: [[stem, regex], [block, 'blocks\\.(\\d+)\\.'], …]`."
            )
        family = arch.removeprefix("test_").split(".")[0].split("_")[0].rstrip("0123456789")
        self.lora_targets = lora_targets or LORA_TARGETS.get(family)

    def _preprocessing(
        self,
        source: Path | None,
        size: int | None,
        channels: int | None,
        mean: list[float] | None,
        std: list[float] | None,
        crop_pct: float | None,
    ) -> ImagePreprocessing:
        saved = read_json(source / "config.json").get("pretrained_cfg", {}) if source and source.is_dir() else {}
        config = resolve_data_config({}, pretrained_cfg={**self.network.pretrained_cfg, **saved})
        height, width = (size, size) if size else config["input_size"][1:]
        return ImagePreprocessing(
            size=(height, width),
            mean=tuple(mean or config["mean"]),
            std=tuple(std or config["std"]),
            channels=channels or config["input_size"][0],
            interpolation=config["interpolation"],
            crop_pct=crop_pct or (1.0 if size else config["crop_pct"]),
        )

    def layer_groups(self) -> list[LayerGroup]:
        if self.layers:
            return super().layer_groups()
        # timm's own division into blocks: {0: stem parameters, 1: first block, …}; a final norm joins the last block.
        by_depth = group_parameters(self.network, self.network.group_matcher(coarse=False))
        keys = {name: (int(depth), 0) for depth, names in by_depth.items() for name in names}
        leftover = [n for n, _ in self.network.named_parameters() if n not in keys]
        if leftover:
            raise UserError(f"timm puts {', '.join(leftover[:8])} into no layer group: list `layer_groups` in the yaml.")
        names = {k: "stem" if k[0] == 0 else f"block{k[0]}" for k in keys.values()}
        return [g.within("network") for g in divide(self.network, keys, names)]

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.network(batch["pixel_values"])
