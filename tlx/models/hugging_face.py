"""Building transformers networks from a folder or from a yaml, and reading their checkpoints."""

import inspect
import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_MAPPING, AutoConfig, AutoModel, PretrainedConfig
from transformers.utils import logging as hf_logging

from tlx.errors import UserError, one_line, unknown
from tlx.models.backbone import folder_of
from tlx.models.dropout import ATTENTION, with_cheap_dropout
from tlx.models.weights import read_state_dict
from tlx.private import has_sdpa

hf_logging.disable_progress_bar()
hf_logging.set_verbosity_error()


def build_config(source: Path | None, stated: dict[str, Any] | None) -> PretrainedConfig:
    """The architecture: config.json beside the weights where there is one, else `stated["model_type"]`'s defaults.

    Further keys of `stated` override single settings.

    Raises:
        UserError: neither names an architecture, they contradict each other, or a key is unknown.
    """
    stated = dict(stated or {})
    kind = stated.pop("model_type", None)
    if source is not None and (folder_of(source) / "config.json").is_file():
        try:
            config = AutoConfig.from_pretrained(folder_of(source), local_files_only=True)
        except (ValueError, OSError) as error:
            raise UserError(
                f"{folder_of(source) / 'config.json'} describes no transformers network: {str(error).splitlines()[0]}"
            ) from error
        if kind and config.model_type != kind:
            raise UserError(
                f"{source} holds a '{config.model_type}' network, but this model is '{kind}': "
                "choose another model or path."
            )
    elif kind is None:
        raise UserError(
            "this model names no architecture: set model.config.model_type, or model.path=FOLDER with config.json."
        )
    elif kind not in CONFIG_MAPPING:
        raise unknown("model.config.model_type", kind, CONFIG_MAPPING.keys())
    else:
        config = CONFIG_MAPPING[kind]()
    for key, value in stated.items():
        if not hasattr(config, key):
            raise unknown(f"key of the {config.model_type} architecture", key, config.to_dict())
        setattr(config, key, value)
    return config


def build_network(config: PretrainedConfig) -> nn.Module:
    """A randomly initialised trunk: no pooler, no task head; of an encoder-decoder the encoder alone."""
    if config.is_encoder_decoder:
        # Whole models are built before the encoder is taken; a decoder of one layer keeps that cheap.
        config.num_decoder_layers = config.decoder_layers = 1
    if len(_classes(config)) > 1:  # transformers chooses among them by a list that it leaves None
        config.architectures = config.architectures or []
    try:
        model = AutoModel.from_config(config, attn_implementation=ATTENTION if _has_sdpa(config) else None)
    except (ValueError, ImportError, KeyError) as error:
        raise UserError(f"no '{config.model_type}' network can be built: {one_line(error)}") from error
    return with_cheap_dropout(_trunk(model))


def hidden_size(config: PretrainedConfig) -> int:
    """Width of the last hidden states.

    Raises:
        UserError: the architecture has no such number: it puts several networks together, or is no encoder.
    """
    size = getattr(config, "hidden_size", None)
    if not isinstance(size, int):
        raise UserError(
            f"a '{config.model_type}' network states no hidden_size: it is no single encoder. Name one of its parts, "
            "or describe it with model._target_=tlx.models.module.ModuleBackbone."
        )
    return size


def _has_sdpa(config: PretrainedConfig) -> bool:
    """Whether the architecture's class says that its attention can be any that torch's fused one can stand for."""
    kinds = _classes(config)
    return bool(kinds) and all(map(has_sdpa, kinds))


def _classes(config: PretrainedConfig) -> tuple[Any, ...]:
    """The classes that AutoModel has for a configuration: one, none, or several."""
    found: Any = MODEL_MAPPING.get(type(config), ())
    return tuple(found) if isinstance(found, tuple | list) else (found,)


def _trunk(model: Any) -> nn.Module:
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    # Features are pooled by tlx; BERT's pooler would be a stray, untrained layer. Some networks can't be without one.
    if getattr(model, "pooler", None) is not None:
        optional = "add_pooling_layer" in inspect.signature(type(model).__init__).parameters
        model.pooler = None if optional else nn.Identity()
    return model


def read_pretrained(path: Path, network: Any) -> dict[str, Tensor]:
    """The tensors of a transformers folder, or of any checkpoint file of such a model, under the names of `network`.

    transformers' own loader takes the trunk out of a model with a task head and renames the keys of old checkpoints
    (weight norm, LayerNorm.gamma); what bears the network's names already (a registry entry) is read as it is.

    Raises:
        UserError: damaged, holds more than tensors, or tensors of another shape.
    """
    options: dict[str, Any] = {"output_loading_info": True, "dtype": torch.float32, "ignore_mismatched_sizes": True}
    try:
        if path.is_dir() and (path / "config.json").is_file() and not (path / "backbone.safetensors").is_file():
            model, info = AutoModel.from_pretrained(path, local_files_only=True, **options)
        else:
            tensors = read_state_dict(path)
            if all(name in tensors for name in network.state_dict()):
                return tensors
            whole: Any = MODEL_MAPPING[type(network.config)]
            model, info = whole.from_pretrained(None, config=deepcopy(network.config), state_dict=tensors, **options)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"the weights in {path} were refused: they are damaged or hold more than tensors, and reading them could "
            "run any code. Save them as safetensors where you trust them."
        ) from error
    except (SafetensorError, ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as a transformers checkpoint: {str(error).splitlines()[0]}") from error
    prefix = "encoder." if getattr(model.config, "is_encoder_decoder", False) else ""
    absent = set(info["missing_keys"]) | {name for name, *_ in info["mismatched_keys"]}
    found = {n: t for n, t in _trunk(model).state_dict().items() if prefix + n not in absent}
    # Under their names but of another shape: Backbone.load says so.
    other = {n.removeprefix(prefix): torch.empty(shape, device="meta") for n, shape, _ in info["mismatched_keys"]}
    return found | other
