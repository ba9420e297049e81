"""An optimiser step is the mean over its examples, into however many batches they are divided, and by whom."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tlx.callbacks.phases import PhaseSchedule
from tlx.data.loaders import Examples, eval_loader, train_loader
from tlx.data.sampling import EpochBatchSampler, epoch_batches, training_length
from tlx.fit.seeding import seed_everything
from tlx.models.backbone import Backbone
from tlx.module import TransferModule
from tlx.objectives.l2_sp import L2SP
from tlx.schedules import constant
from tlx.strategies.strategy import TransferStrategy
from tlx.sweeps.halving import halve
from tlx.tasks.classification import Classification

counts = st.tuples(st.integers(1, 130), st.integers(1, 9), st.integers(1, 6))
RATE, EPOCHS = 0.3, 2


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def steps_of(sampler: EpochBatchSampler) -> list[list[list[tuple]]]:
    """The batches of each optimiser step, as a Trainer accumulates: so many, or what is left at the epoch's end."""
    batches = iter(list(sampler))
    return list(iter(lambda: list(islice(batches, sampler.accumulate)), []))


def keyed(batch: list[tuple], accumulate: int) -> tuple[list[int], float]:
    return [key[1] for key in batch], batch[0][3] if accumulate > 1 else 1.0


@given(counts, st.integers(0, 3), st.booleans())
def test_steps_are_those_of_larger_batches_and_each_the_mean_over_its_examples(
    size: tuple[int, int, int], epoch: int, buckets: bool
) -> None:
    count, batch_size, accumulate = size
    lengths = [1 + (7 * i) % 23 for i in range(count)] if buckets else None
    values = np.random.default_rng(0).standard_normal(count)
    sampler = EpochBatchSampler(count, batch_size, 5, lengths, accumulate=accumulate)
    sampler.set_epoch(epoch)
    whole = epoch_batches(count, batch_size * accumulate, 5, epoch, lengths)
    steps = steps_of(sampler)
    assert len(steps) == len(whole) and sum(map(len, steps)) == len(sampler)
    options = {"batch_size": batch_size, "devices": 1, "accumulate": accumulate, "max_epochs": 1}
    assert training_length({"trainer": options, "strategy": {"longer": None}}, count) == (len(whole), len(whole))
    for step, batch in zip(steps, whole, strict=True):
        parts = [keyed(part, accumulate) for part in step]
        assert [p for positions, _ in parts for p in positions] == batch.tolist()
        found = sum(scale * values[positions].mean() for positions, scale in parts) / accumulate
        assert np.isclose(found, values[batch].mean())
        if batch_size > 1 and count > 1:
            assert all(1 < len(positions) <= batch_size + 1 for positions, _ in parts)


@given(counts, st.booleans(), st.integers(1, 3))
def test_what_is_halved_for_want_of_memory_takes_the_same_steps(
    size: tuple[int, int, int], buckets: bool, times: int
) -> None:
    count, small, accumulate = size
    lengths = list(range(count)) if buckets else None
    options = {"batch_size": small << times, "accumulate": accumulate}
    halved = halve({"trainer": options, "run": {}}, times)["trainer"]
    first, second = (
        [
            sorted(key[1] for batch in step for key in batch)
            for step in steps_of(EpochBatchSampler(count, o["batch_size"], 2, lengths, accumulate=o["accumulate"]))
        ]
        for o in (options, halved)
    )
    assert first == second


@given(counts, st.integers(2, 4))
def test_processes_and_batches_of_a_step_together_make_its_mean(size: tuple[int, int, int], world: int) -> None:
    count, batch_size, accumulate = size
    values = np.random.default_rng(1).standard_normal(count)
    samplers = [EpochBatchSampler(count, batch_size * world, 5, None, rank, world, accumulate) for rank in range(world)]
    whole = epoch_batches(count, batch_size * world * accumulate, 5, 0)
    for batch, *shares in zip(whole, *map(steps_of, samplers), strict=True):
        means = [
            [
                weight * scale * values[[key[1] for key in part]].mean()
                for part in share
                for _, _, weight, scale in part[:1]
            ]
            for share in shares
        ]
        assert np.isclose(np.sum(means) / accumulate / world, values[batch].mean())


@given(counts, st.data())
def test_left_within_a_step_the_rest_is_the_same(size: tuple[int, int, int], data: st.DataObject) -> None:
    count, batch_size, accumulate = size
    sampler = EpochBatchSampler(count, batch_size, 1, accumulate=accumulate)
    whole = list(sampler)
    done = data.draw(st.integers(0, len(whole) - 1))
    assert list(islice(iter(sampler), done)) == whole[:done]
    resumed = EpochBatchSampler(count, batch_size, 1, accumulate=accumulate)
    resumed.load_state_dict(sampler.state_dict())
    resumed.set_epoch(0)  # as the Trainer does before every epoch
    assert list(resumed) == whole[done:]


class Vectors:
    def key(self) -> str:
        return "vectors"

    def length(self, example: np.ndarray) -> int:
        return int(abs(example[0]) * 10)

    def collate(self, examples: Sequence[np.ndarray]) -> dict[str, Tensor]:
        return {"x": torch.from_numpy(np.stack(examples))}


class Tiny(Backbone):
    modality = "image"
    layers = (("layer", "layer"),)

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.ModuleDict({"layer": nn.Linear(4, 5)})
        self.feature_dim, self.preprocessing = 5, Vectors()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.network["layer"](batch["x"]).tanh()


def build() -> TransferModule:
    seed_everything(0)
    backbone = Tiny()
    task = Classification(5, ["a", "b", "c"], ["accuracy"])
    return TransferModule(backbone, task, TransferStrategy().plan(backbone, task), RATE, 0.0, torch.optim.SGD, constant)


def examples(count: int) -> Examples:
    x = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
    return Examples(x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0), Vectors())  # type: ignore[arg-type]


def fit(
    count: int, batch_size: int, accumulate: int, buckets: bool = False, clip: float | None = None, alpha: float = 0.0
) -> tuple[TransferModule, int]:
    module, data = build(), examples(count)
    if alpha:
        module.objectives = [L2SP(alpha)]
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=[PhaseSchedule()],
        max_epochs=EPOCHS,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=clip,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    loader = train_loader(data, batch_size, 0, buckets, accumulate=accumulate)
    trainer.fit(module, loader, eval_loader(data, 8))
    return module, trainer.global_step


def by_hand(count: int, batch_size: int, buckets: bool) -> list[Tensor]:
    """w − rate × mean gradient, step by step."""
    module, data = build(), examples(count)
    parameters = list(module.parameters())
    for epoch in range(EPOCHS):
        for batch in epoch_batches(count, batch_size, 0, epoch, data.lengths if buckets else None):
            inputs = data.collate([data[int(i)] for i in batch])
            each = nn.functional.cross_entropy(module(inputs), inputs["label"], reduction="none")
            gradients = torch.autograd.grad(each.sum() / len(batch), parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.data -= RATE * gradient
    return [p.data for p in parameters]


@pytest.mark.parametrize("buckets", [False, True])
@pytest.mark.parametrize(("count", "batch_size", "accumulate"), [(40, 40, 4), (27, 4, 3), (29, 7, 2), (9, 2, 4)])
def test_gradient_descent_is_that_of_the_closed_form(
    count: int, batch_size: int, accumulate: int, buckets: bool
) -> None:
    module, _ = fit(count, batch_size, accumulate, buckets)
    expected = by_hand(count, batch_size * accumulate, buckets)
    for parameter, value in zip(module.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.data, value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("count", "batch_size", "accumulate"), [(40, 40, 4), (27, 4, 3)])
@pytest.mark.parametrize("options", [{"clip": 0.05}, {"alpha": 0.5}, {"clip": 0.05, "alpha": 0.5}], ids=str)
def test_clipping_and_penalties_weigh_the_same_in_every_step(
    count: int, batch_size: int, accumulate: int, options: dict[str, Any]
) -> None:
    one, steps = fit(count, batch_size * accumulate, 1, **options)
    several, others = fit(count, batch_size, accumulate, **options)
    plain, _ = fit(count, batch_size * accumulate, 1)
    assert steps == others
    for first, second in zip(one.parameters(), several.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)
    assert not all(torch.allclose(a, b) for a, b in zip(one.parameters(), plain.parameters(), strict=True))
