"""What the contract tests share: every yaml composed, its model built small, random inputs of every modality.

Nothing here lists models: a new yaml is found by globbing. What is data: how each architecture names its sizes.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from tlx.config.composer import Composer, composer
from tlx.models.backbone import Backbone
from tlx.models.build import build_backbone, build_network
from tlx.module import TransferModule
from tlx.plan import ParameterPlan, apply_phase
from tlx.strategies.strategy import TransferStrategy
from tlx.tasks.classification import Classification

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "a sentence of other words, with a comma and a number: 42",
    "why do short texts and long texts give the same features alone and together?",
    "stop",
]
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


def raw_examples(modality: str, preprocessing: Any, count: int = 4, seed: int = 0) -> list[Any]:
    """Random raw values of a modality, of different sizes and lengths."""
    rng = np.random.default_rng(seed)
    if modality == "text":
        return [TEXTS[i % len(TEXTS)] for i in range(count)]
    if modality == "image":
        return [rng.integers(0, 256, (70 + 9 * i, 80, 3), dtype=np.uint8) for i in range(count)]
    rate = preprocessing.sample_rate
    lengths = [int(rate * (0.5 + 0.1 * (i % 4))) for i in range(count)]
    return [(rng.standard_normal(n).astype(np.float32) / 10, rate) for n in lengths]


def batch_of(backbone: Backbone, raw: list[Any]) -> dict[str, Tensor]:
    """Raw values through the backbone's own preprocessing."""
    return backbone.preprocessing.collate([backbone.preprocessing.encode(value) for value in raw])


def features_of(backbone: Backbone, batch: dict[str, Tensor]) -> Tensor:
    """Features (B, D) in eval mode."""
    with torch.no_grad():
        return backbone.eval()(batch)


def planned_module(backbone: Backbone, strategy: TransferStrategy, classes: int = 3) -> TransferModule:
    """A backbone with a head, planned by a strategy; AdamW with weight decay, which must not reach what is frozen."""
    torch.manual_seed(1)
    task = Classification(backbone.feature_dim, [str(i) for i in range(classes)])
    plan = strategy.plan(backbone, task)
    return TransferModule(backbone, task, plan, 1e-3, 0.1, torch.optim.AdamW, lambda step, total: 1.0)


class Watch:
    """Checks, step by step, that a phase of a plan changes what it trains and nothing else.

    `unmoved` lists parameters of trained groups that never had a gradient.
    """

    def __init__(self, module: nn.Module, plan: ParameterPlan) -> None:
        self.module, self.plan = module, plan
        self.phase: int | None = None
        self.unmoved: list[str] = []

    def enter(self, phase: int) -> None:
        """Note everything before the first step of a phase."""
        self.leave()
        self.phase = phase
        trainable = self.plan.phases[phase].trainable
        self.trained = {n for g in self.plan.groups if g.name in trainable for n in g.parameters}
        self.trained_buffers = {n for g in self.plan.groups if g.name in trainable for n in g.buffers}
        self.before = {n: t.detach().clone() for n, t in self._tensors().items()}
        self.gradients: set[str] = set()

    def stepped(self) -> None:
        """After a step, with the gradients still there."""
        for name, parameter in self.module.named_parameters():
            if name not in self.trained:
                assert parameter.grad is None, f"{name} is frozen and has a gradient"
            elif parameter.grad is not None and parameter.grad.any():
                self.gradients.add(name)

    def leave(self) -> None:
        """After the last step of a phase."""
        if self.phase is None:
            return
        for name, tensor in self._tensors().items():
            same = torch.equal(tensor, self.before[name])
            if name not in self.trained | self.trained_buffers or name in self.plan.fixed:
                assert same, f"{name} is frozen in phase {self.phase} and moved"
            elif name in self.gradients:
                assert not same, f"{name} is trained in phase {self.phase}, has a gradient and did not move"
        self.unmoved += sorted(self.trained - self.gradients - self.plan.fixed)
        self.phase = None

    def _tensors(self) -> dict[str, Tensor]:
        return dict(self.module.named_parameters()) | dict(self.module.named_buffers())


def train_phases(module: TransferModule, batch: dict[str, Tensor], phases: list[int], steps: int = 3) -> Watch:
    """`steps` optimiser steps in each of some phases of the module's plan, watched."""
    plan = module.plan
    assert plan is not None
    optimizer = module.make_optimizer(plan.optimizer_groups(module, module.lr, module.weight_decay))
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in module.parameters()), "each parameter once in the optimiser"
    watch = Watch(module, plan)
    batch = batch | {"label": torch.arange(len(next(iter(batch.values())))) % module.task.classes}
    for phase in phases:
        apply_phase(module.train(), plan, phase)
        watch.enter(phase)
        for _ in range(steps):
            optimizer.zero_grad()
            module.task.loss(module(batch), batch).backward()
            optimizer.step()
            watch.stepped()
    watch.leave()
    return watch


def frozen_outputs(module: TransferModule, phase: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the frozen layers of a phase give while the module is in train mode, by layer name."""
    plan = module.plan
    assert plan is not None
    apply_phase(module.train(), plan, phase)
    frozen = {n for g in plan.groups if g.name not in plan.phases[phase].trainable for n in g.modules}
    names = {n for n, _ in module.named_modules()}
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output
            if isinstance(output, Tensor):
                found[name] = output.detach().clone()

        return hook

    handles = []
    for name, layer in module.named_modules():
        # Layers that are frozen with all that they hold; those without parameters may stand above trained ones.
        whole = {n for n in names if n == name or n.startswith(f"{name}.")} <= frozen
        if name and whole and any(True for _ in layer.parameters()):
            handles.append(layer.register_forward_hook(keep(name)))
    with torch.no_grad():
        module(batch)
    for handle in handles:
        handle.remove()
    return found


class Contract:
    """The checks and the models together, as one fixture."""

    batch = staticmethod(batch_of)
    features = staticmethod(features_of)
    plan = staticmethod(planned_module)
    train = staticmethod(train_phases)
    frozen_outputs = staticmethod(frozen_outputs)
    Watch = Watch

    def __init__(self, models: Models) -> None:
        self.models, self.build = models, models.build

    def raw(self, backbone: Backbone, count: int = 4) -> list[Any]:
        """Random raw examples of the backbone's modality."""
        return raw_examples(backbone.modality, backbone.preprocessing, count)

    def from_path(self, name: str, path: Path, **changes: Any) -> Backbone:
        """The backbone of a run with model.path=`path`, as the command line builds it; `changes` replaces keys."""
        run = self.models.run_config(name, f"model.path={path}", "strategy=full")
        run["model"] |= {"config": {}} | changes
        torch.manual_seed(11)
        return build_backbone(run, lambda: TEXTS)


@pytest.fixture(scope="session")
def contract(models: Models) -> Contract:
    """Build, batch, plan, train and compare."""
    return Contract(models)
