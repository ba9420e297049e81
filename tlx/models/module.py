"""A backbone made from any nn.Module: the user's own network, or one of torchvision's."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlx.config.names import resolve
from tlx.data.preprocessing import Preprocessing
from tlx.errors import UserError, unknown
from tlx.layer_groups import Layers
from tlx.models.backbone import Backbone
from tlx.models.weights import read_state_dict
from tlx.network.modes import in_eval_mode

MODALITIES = ("text", "image", "audio")


class ModuleBackbone(Backbone):
    """A network described by its yaml alone.

    Args:
        module: the network without its head, randomly initialised; in the yaml a nested `_target_`.
        modality: "text", "image" or "audio".
        preprocessing: how raw examples become a batch (`tlx.data.preprocessing.Preprocessing`).
        layer_groups: the stem first; a list of [name, regular expression] (see `tlx.layer_groups.group_layers`), a
            mapping of the same, or the dotted name of a function(module) that returns such a list.
        features: dotted name of a function(module, batch) that returns (B, feature_dim). By default, for images only,
            the module's output for `pixel_values`, averaged over its spatial dimensions where it has any.
        feature_dim: width of the features; None: found by one forward pass of an empty example in eval mode.
        read_weights: dotted name of a function(path) that returns tensors by name, for files of a foreign format.
        lora_targets: regular expression over whole module names: what LoRA adapts when the strategy names nothing.

    Raises:
        UserError: a dotted name that leads nowhere, no `features` for text or audio, features of another shape than
            (B, feature_dim), LoRA targets that match no layer, or layer groups that do not fit the network.
    """

    # ClassVar in the base class: only here is it known no sooner than the yaml is read.
    modality: str  # type: ignore[misc]

    def __init__(
        self,
        module: nn.Module,
        modality: str,
        preprocessing: Preprocessing,
        layer_groups: str | Layers | Mapping[str, str],
        features: str | None = None,
        feature_dim: int | None = None,
        read_weights: str | None = None,
        lora_targets: str | None = None,
    ) -> None:
        super().__init__()
        if modality not in MODALITIES:
            raise unknown("modality", modality, MODALITIES, "See to `model.modality`.")
        if not isinstance(module, nn.Module):
            raise UserError(
                f"`model.module` must be a torch.nn.Module, but {_kind(module)} was given: "
                "write `module: {_target_: your.package.YourNetwork}` in the model's yaml."
            )
        if features is None and modality != "image":
            raise UserError(
                f"a backbone for {modality} needs `model.features`: the dotted name of a function(module, batch) that "
                "returns one vector per example, (B, D)."
            )
        self.network = module
        self.modality = modality
        self.preprocessing = preprocessing
        self._features = _function("features", features) if features else image_features
        self._read = _function("read_weights", read_weights) if read_weights else read_state_dict
        self.lora_targets = lora_targets
        if lora_targets:
            _check_targets(lora_targets, module)
        self.layers = _layers(layer_groups, module)
        super().layer_groups()  # a network that the groups do not fit is an error now, not after the data is read
        self.feature_dim = feature_dim or self._measure()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        features = self._vectors(batch)
        if features.shape[1] != self.feature_dim:
            raise UserError(
                f"the features have {features.shape[1]} numbers per example, but `model.feature_dim` says "
                f"{self.feature_dim}. Correct it, or leave it out."
            )
        return features

    def _vectors(self, batch: dict[str, Tensor]) -> Tensor:
        features = self._features(self.network, batch)
        if not isinstance(features, Tensor) or features.ndim != 2:
            raise UserError(
                "`model.features` must return one vector per example, a tensor of shape (B, D), but it returned "
                f"{_kind(features)}."
            )
        return features

    def read_weights(self, path: Path) -> dict[str, Tensor]:
        return self._read(path)

    def _measure(self) -> int:
        """The features' width, from one example without content; the network's modes and buffers stay as they were."""
        raw = _empty_example(self.modality, self.preprocessing)
        batch = self.preprocessing.collate([self.preprocessing.encode(raw)])
        with in_eval_mode(self.network), torch.no_grad():
            return self._vectors(batch).shape[1]


def image_features(module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """(B, D): the module's output for `pixel_values`, (B, D) as it is or (B, D, h, w) averaged over h and w."""
    output = module(batch["pixel_values"])
    if not isinstance(output, Tensor) or output.ndim not in (2, 4):
        raise UserError(
            f"the module returned {_kind(output)}; features need (B, D) or (B, D, h, w). Say how to get there: "
            "`model.features`, the dotted name of a function(module, batch)."
        )
    return output.mean((2, 3)) if output.ndim == 4 else output


def _empty_example(modality: str, preprocessing: Preprocessing) -> Any:
    """A raw value without content: a word, a black image, a second of silence with its rate in Hz."""
    if modality == "text":
        return "text"
    if modality == "image":
        return np.zeros((64, 64, 3), np.uint8)
    rate = int(getattr(preprocessing, "sample_rate", 16_000))
    return np.zeros(rate, np.float32), rate


def _function(key: str, name: str) -> Callable[..., Any]:
    """The function with this dotted name; `key` is the model's key that names it."""
    if "." not in name.strip("."):
        raise UserError(f"model.{key}={name} must be the dotted name of a function: package.module.function.")
    found = resolve(name, f"model.{key}")
    if not callable(found):
        raise UserError(f"model.{key}={name} is {_kind(found)}, not a function.")
    return found


def _layers(given: str | Layers | Mapping[str, str], module: nn.Module) -> Layers:
    """The layer groups as a list of (name, regular expression), however the yaml states them."""
    stated = _function("layer_groups", given)(module) if isinstance(given, str) else given
    pairs = list(stated.items()) if isinstance(stated, Mapping) else stated
    if not (isinstance(pairs, Sequence) and pairs and all(_is_pair(pair) for pair in pairs)):
        raise UserError(
            "`model.layer_groups` must be a list of [name, regular expression], stem first, a mapping of the same or "
            f"the dotted name of a function that returns such a list; it is {pairs!r}."
        )
    return [(name, pattern) for name, pattern in pairs]


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, Sequence)
        and not isinstance(pair, str)
        and len(pair) == 2
        and all(isinstance(word, str) for word in pair)
    )


def _check_targets(pattern: str, module: nn.Module) -> None:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"`model.lora_targets`: '{pattern}' is not a regular expression ({error}).") from error
    if not any(compiled.fullmatch(name) for name, _ in module.named_modules()):
        raise UserError(f"`model.lora_targets`: '{pattern}' matches the whole name of no layer of this network.")


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"an object of type {type(value).__name__}"
