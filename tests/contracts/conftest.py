"""What the contract tests share: every yaml composed, and its model built small; the checks are those of tlx/contracts.

Nothing here lists models: a new yaml is found by globbing. What is data: how each architecture names its sizes.
"""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from tlx.config.composer import Composer, composer
from tlx.contracts.samples import TEXTS, batch_of, examples_for, features_of
from tlx.contracts.training import planned_module
from tlx.models.backbone import Backbone
from tlx.models.build import build_backbone, build_network

# A data set of each modality, to compose a model's config with.
DATASETS = {"text": "docstrings", "image": "digits", "audio": "vowels"}
# What an abstract base is tried with.
FILLED = {
    "timm": ["model.arch=test_vit"],
    "text_encoder": ["+model.config.model_type=bert"],
    "speech_encoder": ["+model.config.model_type=wav2vec2"],
}
_SMALL_WAV2VEC2 = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [16, 16, 16],
    "conv_kernel": [10, 8, 4],
    "conv_stride": [5, 8, 4],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
_SMALL_BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
# Small sizes, as each architecture of transformers names them.
SMALL: dict[str, dict[str, Any]] = {
    "bert": _SMALL_BERT,
    "roberta": _SMALL_BERT,
    "xlm-roberta": _SMALL_BERT,
    "electra": _SMALL_BERT | {"embedding_size": 24},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
    "t5": {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2},
    "wav2vec2": _SMALL_WAV2VEC2,
    "hubert": _SMALL_WAV2VEC2,
    "wavlm": _SMALL_WAV2VEC2,
    "whisper": {
        "d_model": 32,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 48,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 48,
        "vocab_size": 60,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
    },
}
# Stage depths and widths cannot be named alike for all of timm: these are arguments of its constructors, by family.
SMALL_TIMM: dict[str, dict[str, Any]] = {
    "resnet18": {"layers": [1, 1, 1, 1], "channels": [8, 16, 24, 32], "stem_width": 8},
    "resnet50": {"layers": [1, 1, 1, 1], "channels": [8, 16, 24, 32], "stem_width": 8},
    "convnext": {"depths": [1, 1, 2, 1], "dims": [8, 16, 24, 32]},
    "vit": {"depth": 3, "embed_dim": 24, "num_heads": 3},
}
SMALL_IMAGE = 64  # pixels; the smallest that all presets' strides and patches divide


def modality_of(name: str) -> str:
    """The modality that a model's yaml states, or the yaml that it builds on."""
    config = OmegaConf.load(Path(__file__).resolve().parents[2] / "configs/model" / f"{name}.yaml")
    if "modality" in config:
        return str(config.modality)
    return modality_of(next(base for base in config.defaults if base != "_self_"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def compose() -> Iterator[Composer]:
    """Composes overrides as the command line does."""
    with composer() as compose:
        yield compose


class Models:
    """Model configs as a user would compose them, reduced in depth, width and vocabulary, and networks from them."""

    def __init__(self, compose: Composer) -> None:
        self.compose, self._composed = compose, {}  # type: ignore[var-annotated]

    def run_config(self, name: str, *overrides: str) -> dict[str, Any]:
        """The whole config of a run with this model, composed with a data set of its modality."""
        data = f"dataset={DATASETS[modality_of(name)]}"
        given = [f"model={name}", data, "strategy=scratch", "model.path=null", *FILLED.get(name, []), *overrides]
        return self.compose(given).config

    def config(self, name: str, small: bool = True) -> dict[str, Any]:
        """The `model` part of the config of a yaml, with no weights."""
        if name not in self._composed:
            self._composed[name] = self.run_config(name)["model"]
        model = deepcopy(self._composed[name])
        if "tokenizer" in model:
            model["tokenizer"] = {"vocab_size": 300}
        if not small:
            return model
        if "config" in model:
            kind = model["config"]["model_type"]
            assert kind in SMALL, f"a new architecture, {kind}: say in {__file__} how it names its sizes"
            model["config"] |= SMALL[kind]
        elif "arch" in model:
            family = next((f for f in SMALL_TIMM if model["arch"].startswith(f)), None)
            model["options"] = SMALL_TIMM.get(family or "", {})
            model["size"] = model["size"] or SMALL_IMAGE
        return model

    def build(self, name: str, place: Path | None = None, seed: int = 0, **changes: Any) -> Backbone:
        """The small backbone of a yaml; `changes` replaces keys of its config."""
        torch.manual_seed(seed)
        return build_network(self.config(name) | changes, place, lambda: TEXTS)

    def full_size(self, name: str) -> Backbone:
        """The whole architecture; without memory for its tensors where it can be built so."""
        model = self.config(name, small=False)
        if model["_target_"].endswith("ModuleBackbone"):  # its layers are found by running it
            return build_network(model, None, lambda: TEXTS)
        with torch.device("meta"):
            return build_network(model, None, lambda: TEXTS)


@pytest.fixture(scope="session")
def models(compose: Composer) -> Models:
    """All model yamls, ready to be built."""
    return Models(compose)


class Contract:
    """The checks and the models together, as one fixture."""

    batch = staticmethod(batch_of)
    features = staticmethod(features_of)
    plan = staticmethod(planned_module)

    def __init__(self, models: Models) -> None:
        self.models, self.build = models, models.build

    def raw(self, backbone: Backbone, count: int = 4) -> list[Any]:
        """Random raw examples of the backbone's modality."""
        return examples_for(backbone, count)

    def from_path(self, name: str, path: Path, **changes: Any) -> Backbone:
        """The backbone of a run with model.path=`path`, as the command line builds it; `changes` replaces keys."""
        run = self.models.run_config(name, f"model.path={path}", "strategy=full")
        run["model"] |= {"config": {}} | changes
        torch.manual_seed(11)
        return build_backbone(run, lambda: TEXTS)


@pytest.fixture(scope="session")
def contract(models: Models) -> Contract:
    """Build, batch, plan and compare."""
    return Contract(models)
