"""Building transformers networks from a folder or from a yaml, and reading their checkpoints."""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel, PretrainedConfig
from transformers.utils import logging as hf_logging

from tlx.errors import UserError, unknown

hf_logging.disable_progress_bar()
hf_logging.set_verbosity_error()


def build_config(source: Path | None, stated: dict[str, Any] | None) -> PretrainedConfig:
    """The architecture: the folder's config.json where there is one, else `stated["model_type"]` and its defaults.

    Further keys of `stated` override single settings.

    Raises:
        UserError: neither names an architecture, they contradict each other, or a key is unknown.
    """
    stated = dict(stated or {})
    kind = stated.pop("model_type", None)
    if source is not None and source.is_dir() and (source / "config.json").is_file():
        config = AutoConfig.from_pretrained(source, local_files_only=True)
        if kind and config.model_type != kind:
            raise UserError(
                f"{source} holds a '{config.model_type}' network, but this model is '{kind}': choose another model or path."
            )
    elif kind is None:
        raise UserError("this model names no architecture: set model.config.model_type, or model.path=FOLDER with config.json.")
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
    return _trunk(AutoModel.from_config(config, attn_implementation="sdpa" if _has_sdpa(config) else None))


def _has_sdpa(config: PretrainedConfig) -> bool:
    return config.model_type not in ("wavlm",)


def _trunk(model: nn.Module) -> nn.Module:
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    # Features are pooled by tlx; BERT's pooler would be a stray, untrained layer.
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model


def read_pretrained(path: Path, network: nn.Module) -> dict[str, Tensor] | None:
    """The tensors of a transformers folder under the names of `network`; None when `path` is no such folder.

    transformers' own loader renames the keys of old checkpoints (weight norm, LayerNorm.gamma).
    """
    if not (path.is_dir() and (path / "config.json").is_file()) or (path / "backbone.safetensors").is_file():
        return None
    try:
        model, info = AutoModel.from_pretrained(
            path, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
    except (pickle.UnpicklingError, ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as a transformers checkpoint: {str(error).splitlines()[0]}") from error
    missing = set(info["missing_keys"])
    prefix = "encoder." if getattr(model.config, "is_encoder_decoder", False) else ""
    return {n: t for n, t in _trunk(model).state_dict().items() if prefix + n not in missing}
