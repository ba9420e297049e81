"""Learning rates over layer groups: the rules, and the rate in effect at every step for every schedule and freezing."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tlx.callbacks.phases import PhaseSchedule
from tlx.errors import UserError
from tlx.layer_groups import LayerGroup
from tlx.models.backbone import Backbone
from tlx.module import TransferModule
from tlx.schedules import constant, cosine, linear, slanted_triangular
from tlx.strategies.freezing import FrozenBackbone, Gradual, NoFreezing, Partial, ProbeThenAll
from tlx.strategies.learning_rates import Discriminative, Uniform, discriminative_factors
from tlx.strategies.strategy import TransferStrategy
from tlx.tasks.classification import Classification

LR, DECAY = 0.01, 0.5
EPOCHS, BATCHES = 4, 10
TOTAL = EPOCHS * BATCHES
GROUPS = ["stem", "block0", "block1", "head"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def groups(count: int) -> list[LayerGroup]:
    names = [f"layer{i}" for i in range(count - 1)] + ["head"]
    return [LayerGroup(name, (f"{name}.weight",), depth=depth) for depth, name in enumerate(names)]


@given(st.integers(2, 30), st.floats(0.05, 1.0))
def test_rates_fall_by_one_factor_per_group_from_the_top(count: int, decay: float) -> None:
    factors = discriminative_factors(groups(count), decay)
    assert factors["head"] == 1.0
    values = [factors[g.name] for g in groups(count)]
    assert all(low == pytest.approx(decay * high) for low, high in pairwise(values))
    assert factors == Discriminative(decay).factors(groups(count))


def test_the_published_decay() -> None:
    """Howard & Ruder 2018, section 3.2: each layer's rate is that of the layer above divided by 2.6."""
    factors = Discriminative().factors(groups(4))
    assert [factors[g.name] for g in groups(4)] == pytest.approx([2.6**-3, 2.6**-2, 1 / 2.6, 1.0])


def test_an_adapter_learns_as_fast_as_the_layer_it_adapts() -> None:
    listed = [LayerGroup("a", ("a",), depth=0), LayerGroup("a.lora", ("b",), depth=0, adapter=True),
              LayerGroup("head", ("c",), depth=1)]  # fmt: skip
    assert discriminative_factors(listed, 0.5) == {"a": 0.5, "a.lora": 0.5, "head": 1.0}


def test_heads_and_single_groups_may_have_factors_of_their_own() -> None:
    assert Uniform(head_factor=10).factors(groups(3)) == {"layer0": 1.0, "layer1": 1.0, "head": 10}
    found = Discriminative(0.5, {"layer0": 0.01}, head_factor=4).factors(groups(3))
    assert found == {"layer0": 0.01, "layer1": 0.5, "head": 4}
    assert Discriminative(0.5, {"head": 2.0}, head_factor=4).factors(groups(3))["head"] == 2.0


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (Uniform, {"head_factor": 0}, "head_factor=0 must be positive"),
        (Discriminative, {"decay": 0.0}, "decay=0.0 must lie in"),
        (Discriminative, {"decay": 1.2}, "decay=1.2 must lie in"),
        (Discriminative, {"factors_by_group": {"stem": -1}}, r"factors_by_group\.stem=-1 must be positive"),
    ],
)
def test_what_cannot_be_is_refused(rule: type, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rule(**options)


def test_a_factor_for_a_group_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=r"'layer9'\. Did you mean 'layer"):
        Discriminative(0.5, {"layer9": 0.1}).factors(groups(3))


class Tiny(Backbone):
    modality = "image"
    layers = (("stem", r"stem\."), ("block", r"blocks\.(\d+)\."))

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.ModuleDict(
            {
                "stem": nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)),
                "blocks": nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6)) for _ in range(2)),
            }
        )
        self.feature_dim = 6

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        x = self.network["stem"](batch["x"])
        for block in self.network["blocks"]:
            x = block(x.relu())
        return x


class Rates(L.Callback):
    """Per parameter and step: the learning rate in effect, or None where it is not stepped."""

    def __init__(self) -> None:
        self.curves: dict[str, list[float | None]] = {}
        self.decays: dict[str, float] = {}

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        names = {id(p): n for n, p in pl_module.named_parameters()}
        for group in optimizer.param_groups:
            for p in group["params"]:
                self.curves.setdefault(names[id(p)], []).append(group["lr"] if p.grad is not None else None)
                self.decays[names[id(p)]] = group["weight_decay"]


def train(schedule: Callable, freezing: Any, accumulate: int = 1) -> tuple[Rates, TransferModule]:
    backbone = Tiny()
    task = Classification(6, ["a", "b"], ["accuracy"])
    strategy = TransferStrategy(freezing=freezing, learning_rates=Discriminative(DECAY, head_factor=3.0))
    module = TransferModule(
        backbone,
        task,
        strategy.plan(backbone, task),
        lr=LR,
        weight_decay=0.05,
        optimizer=torch.optim.AdamW,
        schedule=schedule,
    )
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((BATCHES * 4, 4)).astype(np.float32))
    items = [{"x": v, "label": (v[0] > 0).long(), "index": torch.tensor(i)} for i, v in enumerate(x)]
    rates = Rates()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        callbacks=[PhaseSchedule(), rates],
        logger=False,
        accumulate_grad_batches=accumulate,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(items, batch_size=4))
    return rates, module


# Each schedule with its closed form, written down once more without looking at tlx.
SCHEDULES: dict[str, tuple[Callable, Callable[[int, int], float]]] = {
    "constant": (constant, lambda t, n: 1.0),
    "linear": (
        partial(linear, warmup=0.1),
        lambda t, n: (t + 1) / (0.1 * n + 1) if t < 0.1 * n else (n - t) / (0.9 * n),
    ),
    "cosine": (partial(cosine, warmup=0.0), lambda t, n: (1 + math.cos(math.pi * t / n)) / 2),
    "slanted_triangular": (
        partial(slanted_triangular, cut=0.2, ratio=32.0),
        lambda t, n: (1 + 31 * (t / (0.2 * n) if t < 0.2 * n else 1 - (t - 0.2 * n) / (0.8 * n))) / 32,
    ),
}
# Each freezing with (first step of training, factor on the rate from that step on) for every group.
HALF = TOTAL // 2
FREEZINGS: dict[str, tuple[Any, dict[str, int | None], Callable[[int], float]]] = {
    "none": (NoFreezing(), dict.fromkeys(GROUPS, 0), lambda t: 1.0),
    "probe": (FrozenBackbone(), {"stem": None, "block0": None, "block1": None, "head": 0}, lambda t: 1.0),
    "partial": (Partial(until="block1"), {"stem": None, "block0": None, "block1": 0, "head": 0}, lambda t: 1.0),
    "gradual": (
        Gradual(share=0.75, lr_factor=0.5),
        {"stem": 30, "block0": 20, "block1": 10, "head": 0},
        lambda t: 0.5 ** min(t // 10, 3),
    ),
    "gradual_in_steps": (
        Gradual(steps_per_phase=7),
        {"stem": 21, "block0": 14, "block1": 7, "head": 0},
        lambda t: 1.0,
    ),
    "lp_ft": (
        ProbeThenAll(share=0.5, lr_factor=0.1),
        {"stem": HALF, "block0": HALF, "block1": HALF, "head": 0},
        lambda t: 1.0 if t < HALF else 0.1,
    ),
}
FACTORS = {"stem": DECAY**3, "block0": DECAY**2, "block1": DECAY, "head": 3.0}


@pytest.mark.parametrize("freezing", FREEZINGS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_in_effect_is_the_closed_form_for_every_schedule_and_freezing(schedule: str, freezing: str) -> None:
    function, curve = SCHEDULES[schedule]
    rule, first, phase_factor = FREEZINGS[freezing]
    rates, module = train(function, rule)
    for group in module.plan.groups:
        begins = first[group.name]
        expected = [
            LR * FACTORS[group.name] * curve(t, TOTAL) * phase_factor(t) if begins is not None and t >= begins else None
            for t in range(TOTAL)
        ]
        for name in group.parameters:
            found = rates.curves[name]
            assert [v is None for v in found] == [v is None for v in expected], name
            pairs = [(v, e) for v, e in zip(found, expected, strict=True) if v is not None]
            assert [v for v, _ in pairs] == pytest.approx([e for _, e in pairs], rel=1e-6, abs=1e-15), name


def test_the_curve_counts_optimiser_steps_when_gradients_are_accumulated() -> None:
    rates, _ = train(SCHEDULES["cosine"][0], Gradual(epochs_per_phase=1), accumulate=2)
    total = EPOCHS * BATCHES // 2
    expected = [LR * 3.0 * (1 + math.cos(math.pi * t / total)) / 2 for t in range(total)]
    assert rates.curves["task.head.1.weight"] == pytest.approx(expected)
    assert [v is None for v in rates.curves["backbone.network.blocks.1.0.weight"]] == [t < 5 for t in range(total)]


def test_no_norm_and_no_bias_decays_whatever_the_rates() -> None:
    rates, module = train(constant, Gradual())
    norms = {
        f"{name}.{n}" for name, m in module.named_modules() if isinstance(m, nn.BatchNorm1d | nn.LayerNorm)
        for n, _ in m.named_parameters()
    }  # fmt: skip
    biases = {n for n, _ in module.named_parameters() if n.endswith("bias")}
    assert len(norms) == 6
    assert rates.decays == {n: 0.0 if n in norms | biases else 0.05 for n, _ in module.named_parameters()}
