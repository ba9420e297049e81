"""A run whose network is compiled trains as one that is not, through all phases, and its checkpoints are the same."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import tlx.network.compiled as compiling
from tlx.callbacks.phases import GradualUnfreezing
from tlx.errors import UserError
from tlx.layer_groups import group_layers
from tlx.network.compiled import check_compiled, compiled
from tlx.processes.interruption import Interrupted
from tlx.record.record import read_record
from tlx.results.load import load_model
from tlx.sweeps.study import Planned
from tlx.sweeps.worker import do


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def without_code_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the compiler but its last stage, which takes minutes on a CPU and knows nothing of phases."""
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")


@pytest.fixture
def plan(tlx):
    """A function that plans one run in a study of its own."""
    from tlx.config.composer import composer
    from tlx.sweeps.prepare import prepare

    def plan(study: str, *words: str) -> Planned:
        with composer() as compose:
            given = [*tlx.quick, "keep_checkpoints=both", f"study={study}", *words]
            return prepare(compose, given, False)[0]

    return plan


def weights(run: Planned) -> dict[str, Tensor]:
    return load_file(run.folder / "last.safetensors")


def same_run(one: Planned, other: Planned) -> dict[str, Any]:
    """The record of the second run, whose weights and scores are those of the first to rounding."""
    first, second = (read_record(run.folder) or {} for run in (one, other))
    assert first["status"] == second["status"] == "completed"
    assert first["counts"] == second["counts"]
    assert second["metrics"] == pytest.approx(first["metrics"], rel=1e-3, abs=1e-5)
    assert weights(one).keys() == weights(other).keys()
    for name, tensor in weights(one).items():
        torch.testing.assert_close(
            weights(other)[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )
    return second


PHASES = ["strategy=gradual_unfreezing", "trainer.max_epochs=12", "optimizer=sgd", "optimizer.lr=0.01"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(PHASES, marks=pytest.mark.slow),
        pytest.param(["strategy=l2_sp", "trainer.max_epochs=2"], marks=pytest.mark.slow),
        ["strategy=lp_ft", "trainer.max_epochs=3", *PHASES[2:]],
    ],
    ids=["gradual_unfreezing", "l2_sp", "lp_ft"],
)
def test_the_scores_and_weights_of_a_run_that_is_not_compiled(plan, without_code_generation, words: list[str]) -> None:
    plain, run = plan("plain", *words), plan("compiled", *words, "trainer.compile=true")
    assert plain.config["run"]["identity"] != run.config["run"]["identity"]
    do(plain)
    do(run)
    record = same_run(plain, run)
    assert record["compiled"]["graphs"] > 1 and record["compiled"]["graph_breaks"] == {}
    assert (read_record(plain.folder) or {})["compiled"] is None
    assert record["cache"] | {"reasons": ["trainer.compile=true"], "used": False} == record["cache"]
    module = load_model(run.folder)
    assert module.backbone._compiled_call_impl is None
    assert all(torch.equal(t, module.state_dict()[n]) for n, t in load_file(run.folder / "best.safetensors").items())


@pytest.mark.slow
def test_with_code_generation(plan) -> None:
    plain, run = plan("plain", *PHASES), plan("compiled", *PHASES, "trainer.compile=true")
    do(plain)
    do(run)
    assert same_run(plain, run)["compiled"]["graphs"] > 1


@pytest.mark.slow
@pytest.mark.parametrize("place", [(3, 0), (8, 1)])
def test_interrupted_it_ends_as_undisturbed_bit_for_bit(plan, without_code_generation, place: tuple[int, int]) -> None:
    class Ask(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
            assert not any("_orig_mod" in name for name in pl_module.state_dict())
            if (trainer.current_epoch, args[-1]) == place:
                os.kill(os.getpid(), signal.SIGTERM)

    words = [*PHASES, "trainer.compile=true", "trainer.batch_size=8"]
    whole, run = plan("whole", *words), plan("cut", *words)
    do(whole)
    with pytest.raises(Interrupted):
        do(run, [Ask()])
    do(run)
    one, other = (read_record(r.folder) or {} for r in (whole, run))
    assert other["sittings"][-1]["resumed"]
    assert all(one[key] == other[key] for key in ("metrics", "checkpoint", "counts"))


@pytest.mark.slow
def test_texts_of_many_lengths_on_the_tokens_that_occur(plan, without_code_generation, write_texts) -> None:
    words = ["model=tiny_text", "model.path=null", "dataset=local_text", f"dataset.path={write_texts()}"]
    words += ["strategy=scratch", "model.tokenizer.vocab_size=300", "trainer.batch_size=4", "trainer.max_epochs=2"]
    words += ["dataset.train_size=6_per_class", "model.config.hidden_dropout_prob=0", "trainer.head_dropout=0"]
    words += ["+model.config.attention_probs_dropout_prob=0"]
    plain, run = plan("plain", *words), plan("compiled", *words, "trainer.compile=true")
    do(plain)
    do(run)
    record = same_run(plain, run)
    assert 0 < record["counts"]["embedding_rows_trained"] < record["counts"]["embedding_rows"]


class Foreign(L.LightningModule):
    """Knows nothing of tlx; its network is compiled by its author, and looked at after each step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = Part(6, 8), Part(8, 3)
        for part in (self.stem, self.head):
            part.compile(backend="aot_eager")
        self.gradients: list[tuple[bool, bool]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.head(self.stem(batch[0])), batch[1])

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        parts = (self.stem.layer.weight, self.head.layer.weight)
        self.gradients.append(tuple(p.grad is not None and bool(p.grad.any()) for p in parts))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Part(nn.Module):
    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__()
        self.layer = nn.Linear(wide, narrow)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).tanh()


def test_somebody_elses_compiled_network_is_compiled_anew_for_each_phase() -> None:
    groups = partial(group_layers, layers=[("stem", "stem"), ("head", "head")])
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[GradualUnfreezing(groups)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module, x = Foreign(), torch.randn(12, 6)
    trainer.fit(module, DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=4))
    assert module.gradients == [(False, True)] * 3 + [(True, True)] * 3


def test_only_the_training_is_compiled() -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = Part(3, 2)

    module: Any = Module()
    names = list(module.state_dict())
    with pytest.raises(RuntimeError, match="stop"), compiled(module.backbone, True):
        assert module.backbone._compiled_call_impl is not None and list(module.state_dict()) == names
        raise RuntimeError("stop")
    assert module.backbone._compiled_call_impl is None
    with compiled(module.backbone, False) as said:
        assert module.backbone._compiled_call_impl is None
    assert said == {}


def test_what_cannot_be_compiled_is_refused(tlx, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "strategy.mixout" in tlx.train("trainer.compile=true", "strategy=mixout").complaint
    assert "trainer.strategy=ddp" in tlx.train("trainer=fsdp", "trainer.compile=true").complaint
    assert "true or false" in tlx.train("trainer.compile=1").complaint
    config = {"trainer": {"compile": True, "devices": 1, "strategy": "auto", "accelerator": "cpu"}}
    config |= {"strategy": {"mixout": None}}
    check_compiled(config)

    def none() -> str:
        raise RuntimeError("no compiler")

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", none)
    with pytest.raises(UserError, match=r"needs a C\+\+ compiler.*CXX"):
        check_compiled(config)
