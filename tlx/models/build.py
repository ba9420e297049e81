"""From a model's config to a backbone with the weights that the strategy starts from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlx.config.instantiate import instantiate
from tlx.models.backbone import Backbone
from tlx.models.shuffled import shuffle
from tlx.registry.location import weights_place

# Keys of every model yaml that are not arguments of its class; `modality` is one where a class has several.
GENERIC = ("path", "revision", "lr", "pretrain", "modality")


def build_backbone(config: dict[str, Any], texts: Callable[[], list[str]]) -> Backbone:
    """The run's backbone, random or loaded as `strategy.init` says; `texts` gives texts to train a tokenizer on.

    Raises:
        UserError: a key that the model does not take, weights that are not there or do not fit.
    """
    place = weights_place(config)
    backbone = build_network(config["model"], place, texts)
    if config["strategy"]["init"] != "scratch":
        assert place is not None
        backbone.load(place)
    if config["strategy"]["init"] == "shuffled":
        shuffle(backbone.network)
    return backbone


def build_network(model: dict[str, Any], place: Path | None, texts: Callable[[], list[str]]) -> Backbone:
    """The randomly initialised backbone of a model config; `place` brings its tokenizer and settings, if it has any."""
    node = {k: v for k, v in model.items() if k not in GENERIC}
    return instantiate(node, "model", source=place, texts=texts, modality=model["modality"])
