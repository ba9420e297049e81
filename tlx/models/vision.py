"""Image backbones: any timm network that describes its layer groups, or whose yaml does."""

from pathlib import Path
from typing import Any, ClassVar

import timm
from timm.data import resolve_data_config
from torch import Tensor

from tlx.config.trusted import refuse_loading
from tlx.data.image import ImagePreprocessing
from tlx.errors import UserError, unknown
from tlx.layer_groups import LayerGroup, Layers, divide
from tlx.models.backbone import Backbone, folder_of
from tlx.models.weights import read_json
from tlx.private import group_with_matcher

# A name that no expression of timm matches, to find out which group that makes.
_UNMATCHED = "\0"

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

    `arch` is a timm name, with its tag where the preprocessing depends on it (`resnet18.a1_in1k`). `size` is the height
    and width of images in pixels (default: the checkpoint's). `options` go to `timm.create_model` (drop_path_rate, …).
    Preprocessing comes from the folder's config.json where the weights are a folder saved by timm, else from the
    architecture's tag; `mean`, `std`, `channels` override it.

    Raises:
        UserError: no such architecture, options that load weights (`tlx.config.trusted`), or an architecture that
            describes no layer groups while the yaml states none.
    """

    modality: ClassVar[str] = "image"
    network: Any

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
        for key, value in (("size", size), ("channels", channels)):
            if value is not None and value < 1:
                raise UserError(f"model.{key}={value} is not allowed: give a whole number ≥ 1, or null.")
        if not timm.is_model(arch):
            raise unknown("timm architecture", arch, timm.list_models(), "See timm.list_models().")
        name = arch.split(".")[0]
        if name != arch and arch not in (tags := timm.list_pretrained(f"{name}.*")):
            raise unknown(f"tag of the timm architecture {name}", arch, [*tags, name])
        extra: dict[str, Any] = dict(options or {})
        refuse_loading(extra, "model.options")
        if channels:
            extra["in_chans"] = channels
        if pooling:
            extra["global_pool"] = pooling
        known = timm.get_pretrained_cfg(arch)
        if size and known is not None and known.fixed_input_size:
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
        family = name.removeprefix("test_").split("_")[0].rstrip("0123456789")
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
        saved = read_json(folder_of(source) / "config.json") if source else {}
        have, want = saved.get("architecture"), self.network.pretrained_cfg.get("architecture")
        if have and have != want:
            raise UserError(
                f"{source} holds a '{have}' network, but this model is '{want}': choose another model or path."
            )
        stated = {**self.network.pretrained_cfg, **saved.get("pretrained_cfg", {})}
        config = resolve_data_config({}, pretrained_cfg=stated)
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
        # timm's own division into blocks: {0: stem parameters, 1: first block, …}.
        parameters = [*self.network.named_parameters(), (_UNMATCHED, None)]
        *by_depth, rest = group_with_matcher(iter(parameters), self.network.group_matcher(coarse=False)).values()
        keys = {name: (depth, 0) for depth, names in enumerate(by_depth) for name in names}
        # timm gives what its expressions do not match a group of its own above all blocks. What comes after them in the
        # network (final norm, last convolution) joins the last block, as in transformers; anything else has no depth.
        tail = [name for name in rest if name != _UNMATCHED]
        order = [name for name, _ in parameters[:-1]]
        if tail != order[len(order) - len(tail) :]:
            raise UserError(f"timm puts {', '.join(tail[:8])} into no layer group: list `layer_groups` in the yaml.")
        keys |= {name: (len(by_depth) - 1, 0) for name in tail}
        names = {k: "stem" if k[0] == 0 else f"block{k[0]}" for k in keys.values()}
        return [g.within("network") for g in divide(self.network, keys, names)]

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.network(batch["pixel_values"])
