"""LoRA on text, image and speech networks: nothing changes at first, everything learns, and it comes back whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tlx.callbacks.phases import PhaseSchedule
from tlx.errors import UserError
from tlx.models.backbone import Backbone
from tlx.module import TransferModule
from tlx.plan import apply_phase, frozen_hash
from tlx.schedules import constant
from tlx.strategies import lora
from tlx.strategies.learning_rates import Discriminative
from tlx.strategies.lora import LoRA, merge_adapters
from tlx.strategies.strategy import TransferStrategy
from tlx.tasks.classification import Classification

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
TEXTS = ["the quick brown fox", "jumps over", "the lazy dog and one more", "fox"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def bert() -> Backbone:
    from tlx.models.text import TextBackbone

    return TextBackbone(config={"model_type": "bert", **SIZES}, tokenizer={"vocab_size": 300}, texts=lambda: TEXTS)


def vit() -> Backbone:
    from tlx.models.vision import VisionBackbone

    return VisionBackbone("test_vit", size=32)


def resnet() -> Backbone:
    from tlx.models.vision import VisionBackbone

    # timm starts the last norm of each block at zero, which nothing could get past while it is frozen.
    return VisionBackbone("test_resnet", size=32, options={"zero_init_last": False})


def wav2vec2() -> Backbone:
    from tlx.models.speech import SpeechBackbone

    sizes = {"conv_dim": [8] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    return SpeechBackbone(config={"model_type": "wav2vec2", **SIZES, **sizes, "feat_extract_norm": "layer"})


BACKBONES: dict[str, Callable[[], Backbone]] = {"bert": bert, "vit": vit, "resnet": resnet, "wav2vec2": wav2vec2}


def raw(modality: str) -> list[Any]:
    rng = np.random.default_rng(0)
    if modality == "text":
        return TEXTS
    if modality == "image":
        return [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(4)]
    return [(rng.standard_normal(n).astype(np.float32) / 10, 16_000) for n in (4000, 3000, 4000, 2500)]


def batch_for(backbone: Backbone) -> dict[str, Tensor]:
    encoded = [backbone.preprocessing.encode(value) for value in raw(backbone.modality)]
    labels = {"label": torch.tensor([0, 1, 2, 1]), "index": torch.arange(4)}
    return backbone.preprocessing.collate(encoded) | labels


def build(name: str, adapter: LoRA | None, head_seed: int = 5) -> TransferModule:
    """The same base weights each time; the head and the adapters are drawn by `head_seed`."""
    torch.manual_seed(1)
    backbone = BACKBONES[name]()
    torch.manual_seed(head_seed)
    task = Classification(backbone.feature_dim, ["a", "b", "c"], ["accuracy"])
    return TransferModule(
        backbone,
        task,
        TransferStrategy(adapter=adapter).plan(backbone, task),
        lr=0.05,
        weight_decay=0.01,
        optimizer=torch.optim.AdamW,
        schedule=constant,
    )


def train(module: TransferModule, steps: int = 3) -> None:
    batch = batch_for(module.backbone)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=steps,
        callbacks=[PhaseSchedule()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader([batch], batch_size=None))


@torch.no_grad()
def logits(module: TransferModule) -> Tensor:
    return module.eval()(batch_for(module.backbone))


def second_factors(module: nn.Module) -> dict[str, nn.Parameter]:
    return {n: p for n, p in module.named_parameters() if ".lora_B." in n}


@pytest.mark.parametrize("name", BACKBONES)
def test_at_step_0_the_adapted_network_is_the_base(name: str) -> None:
    adapted = build(name, LoRA(rank=2))
    assert second_factors(adapted)
    # Folding zeros into other kernels may change the last bit, not more.
    with torch.no_grad():
        batch = batch_for(adapted.backbone)
        features = adapted.eval().backbone(batch)
        torch.testing.assert_close(features, build(name, None).eval().backbone(batch), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_adapter_and_the_head_learn_and_the_base_stays_bit_for_bit(name: str) -> None:
    module = build(name, LoRA(rank=2, dropout=0.1))
    before = {n: t.clone() for n, t in module.state_dict().items()}
    frozen = frozen_hash(module, module.plan)
    train(module)
    moved = {n for n, t in module.state_dict().items() if not torch.equal(before[n], t)}
    trained = {n for n in before if ".lora_" in n or n.startswith("task.")}
    assert moved == trained and all(p.any() for p in second_factors(module).values())
    assert frozen_hash(module, module.plan) == frozen
    # Trained weights are full precision, whatever the network came in.
    assert {module.get_parameter(n).dtype for n in trained} == {torch.float32}


@pytest.mark.parametrize("name", BACKBONES)
def test_the_frozen_base_is_in_eval_mode_and_only_adapters_and_head_are_not(name: str) -> None:
    module = build(name, LoRA(rank=2, dropout=0.1)).train()
    apply_phase(module, module.plan, 0)
    network = module.backbone.network
    training = {n for n, m in network.named_modules() if m.training}
    assert training and all("lora_" in n for n in training)
    assert not any(
        m.training
        for n, m in network.named_modules()
        if isinstance(m, nn.BatchNorm2d | nn.LayerNorm) or (isinstance(m, nn.Dropout) and "lora_" not in n)
    )
    assert {n for n, p in module.named_parameters() if p.requires_grad} == {
        n for n, _ in module.named_parameters() if ".lora_" in n or n.startswith("task.")
    }


@pytest.mark.parametrize("mode", ["frozen base in eval mode", "all in train mode"])
@pytest.mark.parametrize("reentrant", [None, False, True])
@pytest.mark.parametrize("name", ["bert", "wav2vec2"])
def test_every_lora_b_gets_a_gradient_with_gradient_checkpointing(name: str, reentrant: bool | None, mode: str) -> None:
    module = build(name, LoRA(rank=2)).train()
    if reentrant is not None:
        module.backbone.network.gradient_checkpointing_enable({"use_reentrant": reentrant})
    apply_phase(module, module.plan, 0)
    if mode == "all in train mode":
        module.train()
        if reentrant:
            # torch's reentrant checkpoints need an input with a gradient; frozen embeddings give none.
            module.backbone.network.enable_input_require_grads()
    batch = batch_for(module.backbone)
    module.task.loss(module(batch), batch).backward()
    factors = second_factors(module)
    assert len(factors) == 4
    assert all(p.grad is not None and p.grad.any() for p in factors.values())


@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_every_lora_b_gets_a_gradient(name: str) -> None:
    module = build(name, LoRA(rank=2)).train()
    apply_phase(module, module.plan, 0)
    batch = batch_for(module.backbone)
    module.task.loss(module(batch), batch).backward()
    assert all(p.grad is not None and p.grad.any() for p in second_factors(module).values())


@pytest.mark.parametrize("name", BACKBONES)
def test_merged_equals_unmerged(name: str) -> None:
    module = build(name, LoRA(rank=2))
    train(module)
    before = logits(module)
    gap = merge_adapters(module.eval(), batch_for(module.backbone))
    assert gap < 1e-3
    assert float((logits(module) - before).abs().max()) == pytest.approx(gap, abs=1e-6)
    # It is the base's own weights that answer now.
    for parameter in second_factors(module).values():
        nn.init.ones_(parameter)
    torch.testing.assert_close(logits(module), before, rtol=1e-3, atol=1e-3)


def test_a_merge_beyond_the_bound_is_refused_and_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    module = build("bert", LoRA(rank=2))
    train(module)
    before = logits(module)
    monkeypatch.setattr(lora, "MERGE_BOUND", -1.0)
    with pytest.raises(RuntimeError, match="merging the adapters changed the output by"):
        merge_adapters(module.eval(), batch_for(module.backbone))
    torch.testing.assert_close(logits(module), before, rtol=1e-4, atol=1e-5)
    for parameter in second_factors(module).values():
        nn.init.ones_(parameter)
    assert not torch.allclose(logits(module), before, atol=1e-3)  # the adapters still answer


@pytest.mark.parametrize("name", BACKBONES)
def test_saved_and_loaded_into_a_new_network_the_logits_are_identical(name: str, tmp_path: Path) -> None:
    module = build(name, LoRA(rank=2))
    train(module)
    state = {n: t.contiguous() for n, t in module.trained_state().items()}
    save_file(state, tmp_path / "trained.safetensors")
    assert {n for n in state if n.startswith("task.")} == {"task.head.1.weight", "task.head.1.bias"}

    fresh = build(name, LoRA(rank=2), head_seed=77)
    assert not torch.allclose(logits(fresh), logits(module), atol=1e-3)
    loaded = load_file(tmp_path / "trained.safetensors")
    fresh.on_load_checkpoint({"state_dict": loaded})
    fresh.load_state_dict(loaded, strict=False)
    assert torch.equal(logits(fresh), logits(module))
    size = (tmp_path / "trained.safetensors").stat().st_size
    assert size < 0.6 * 4 * sum(p.numel() for p in module.parameters())


def test_groups_pair_each_layer_with_its_adapter_at_one_depth() -> None:
    module = build("bert", LoRA(rank=2))
    assert [(g.name, g.depth, g.adapter) for g in module.plan.groups] == [
        ("embeddings", 0, False),
        ("layer0", 1, False),
        ("layer0.lora", 1, True),
        ("layer1", 2, False),
        ("layer1.lora", 2, True),
        ("head", 3, False),
    ]
    assert module.plan.ever_trainable == {"layer0.lora", "layer1.lora", "head"}
    factors = TransferStrategy(adapter=LoRA(rank=2), learning_rates=Discriminative(0.5)).apply
    other = build("bert", None)
    assert factors(other, other.backbone).lr_factors == {"layer0.lora": 0.25, "layer1.lora": 0.5, "head": 1.0}


def test_targets_may_be_named_and_mistakes_are_readable() -> None:
    module = build("bert", LoRA(rank=2, targets=r".*intermediate\.dense"))
    assert all("intermediate.dense" in n for n in second_factors(module)) and len(second_factors(module)) == 2
    with pytest.raises(UserError, match=r"targets='nothing' matches no layer of this network\. Its layers are"):
        build("bert", LoRA(targets="nothing"))
    with pytest.raises(UserError, match="LoRA cannot adapt these layers"):
        build("bert", LoRA(targets=r".*LayerNorm"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank=0 must be at least 1"),
        ({"alpha": 0}, "alpha=0 must be positive"),
        ({"dropout": 1.0}, "dropout=1.0 must lie in"),
    ],
)
def test_what_cannot_learn_is_refused(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        LoRA(**options)


def test_the_scale_is_alpha_over_rank() -> None:
    module = build("bert", LoRA(rank=4, alpha=6))
    layer = module.backbone.network.encoder.layer[0].attention.self.query
    nn.init.normal_(layer.lora_B["default"].weight)
    x = torch.randn(3, 16)
    expected = layer.base_layer(x) + 6 / 4 * (x @ layer.lora_A["default"].weight.T @ layer.lora_B["default"].weight.T)
    torch.testing.assert_close(layer(x), expected)
