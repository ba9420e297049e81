"""A table of the tokens that occur trains to the weights of the full one, with each optimiser that it is for."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from tlx.callbacks.mixout import Mixout
from tlx.callbacks.phases import PhaseSchedule
from tlx.data.loaders import Examples, eval_loader, train_loader
from tlx.fit.checkpoints import BEST, BestWeights
from tlx.fit.compact import CompactTable, compact_table
from tlx.fit.evaluation import evaluate
from tlx.fit.seeding import RandomState, seed_everything
from tlx.fit.selected import load_selected
from tlx.models.text import TextBackbone
from tlx.module import TransferModule
from tlx.objectives.l2_sp import L2SP
from tlx.schedules import linear
from tlx.strategies.freezing import FrozenBackbone, Gradual
from tlx.strategies.lora import LoRA
from tlx.strategies.strategy import TransferStrategy
from tlx.tasks.classification import Classification

TEXTS = [f"{word} number {i} of a short text" for i, word in enumerate(["good", "bad", "fine", "poor"] * 4)]
LABELS = np.array([0, 1] * 8)
BERT = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
ALONE = {"trainer": {"strategy": "auto", "devices": 1}}
EPOCHS = 5  # of four batches: 20 steps
OPTIMIZERS = {
    "adamw": partial(torch.optim.AdamW, fused=True),
    "sgd": partial(torch.optim.SGD),
    "sgd_momentum": partial(torch.optim.SGD, momentum=0.9, nesterov=True, fused=True),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Run:
    """Some epochs of a small BERT, which knows 300 tokens of which few occur."""

    def __init__(
        self, optimizer: Any = OPTIMIZERS["adamw"], decay: float = 0.1, config: Any = BERT, **strategy: Any
    ) -> None:
        seed_everything(0)
        backbone = TextBackbone(config=config, tokenizer={"vocab_size": 300}, texts=lambda: TEXTS)
        task = Classification(16, ["a", "b"], ["accuracy"])
        plan = TransferStrategy(**strategy).plan(backbone, task)
        self.module = TransferModule(backbone, task, plan, 0.01, decay, optimizer, linear)
        data = Examples([backbone.preprocessing.encode(t) for t in TEXTS], LABELS, backbone.preprocessing)
        self.loaders = {"train": train_loader(data, 4, 0, False), "selection": eval_loader(data, 8)}
        self.table = backbone.network.get_input_embeddings()

    def compact(self) -> CompactTable | None:
        return compact_table(ALONE, self.module, self.loaders)

    def fit(self, *callbacks: L.Callback, resume: Path | None = None) -> L.Trainer:
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=EPOCHS,
            callbacks=[PhaseSchedule(), RandomState(), *callbacks],
            gradient_clip_val=1.0,
            logger=False,
            num_sanity_val_steps=0,
            enable_checkpointing=any(isinstance(c, BestWeights) for c in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        seed_everything(1)
        trainer.fit(self.module, *self.loaders.values(), ckpt_path=resume, weights_only=True)
        return trainer


def both(*callbacks: Any, **choices: Any) -> tuple[Run, Run, CompactTable]:
    """The same run with the full table and with the small one."""
    full, run = Run(**choices), Run(**choices)
    full.fit(*(make() for make in callbacks))
    small = run.compact()
    assert small is not None
    with small:
        run.fit(*(make() for make in callbacks))
    return full, run, small


def same(one: Run, other: Run) -> None:
    states = one.module.state_dict(), other.module.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=0, atol=1e-6, msg=name)
    logits = [evaluate(run.module, run.loaders, "selection").predictions()[0] for run in (one, other)]
    torch.testing.assert_close(*logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("freezing", ["none", "gradual"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_weights_are_those_of_the_full_table(optimizer: str, freezing: str) -> None:
    choices = {} if freezing == "none" else {"freezing": Gradual()}
    start = Run(**choices).table.weight.detach().clone()
    full, run, small = both(optimizer=OPTIMIZERS[optimizer], **choices)
    same(full, run)
    moved = (full.table.weight - start).norm(dim=1)
    unseen = torch.ones(len(start), dtype=torch.bool)
    unseen[small.rows] = False
    assert unseen.sum() > 100
    # What does not occur moves by decay alone, and would be wrong if it were left out.
    assert (moved[unseen] > 1e-4).all()
    assert len(small.rows) < 100 and small.counts == {
        "embedding_rows": len(start),
        "embedding_rows_trained": len(small.rows),
    }


def test_without_decay_what_does_not_occur_stays_as_it_was_to_the_bit() -> None:
    start = Run().table.weight.detach().clone()
    for optimizer in (*OPTIMIZERS.values(), torch.optim.Adam):
        full, run, small = both(optimizer=optimizer, decay=0.0)
        same(full, run)
        unseen = [i for i in range(len(start)) if i not in small.rows.tolist()]
        assert torch.equal(run.table.weight[unseen], start[unseen])


def test_with_mixout() -> None:
    both_runs = both(lambda: Mixout(0.5, select=lambda name, layer: name.startswith("backbone.")))
    same(*both_runs[:2])


def test_with_a_penalty_in_the_place_of_decay() -> None:
    """What does not occur stays where it starts, and there a penalty is zero."""
    runs = [Run(), Run()]
    start = runs[0].table.weight.detach().clone()
    for run in runs:
        run.module.objectives = [L2SP(0.5, 0.1, new=lambda name: name.startswith("task."))]
        run.module.plan.no_decay |= run.module.plan.trained
    full, run = runs
    full.fit()
    small = run.compact()
    assert small is not None
    with small:
        run.fit()
    same(full, run)
    plain = Run()
    plain.fit()
    kept = [float((r.table.weight.detach() - start)[small.rows].norm()) for r in (run, plain)]
    assert kept[0] < 0.9 * kept[1], "the penalty pulls the rows that are trained"


def test_where_decay_moves_what_a_penalty_would_pull_back_the_table_is_whole() -> None:
    run = Run()
    run.module.objectives = [L2SP()]
    assert run.compact() is None


def test_roberta_counts_positions_from_its_padding_token() -> None:
    same(*both(config=BERT | {"model_type": "roberta"})[:2])


def test_afterwards_the_network_is_as_before() -> None:
    run = Run()
    table, parameter = run.table, run.table.weight
    before = (table.num_embeddings, table.padding_idx, list(run.module.state_dict()), parameter.shape)
    small = run.compact()
    assert small is not None
    with pytest.raises(RuntimeError, match="stop"), small:
        assert len(table.weight) == table.num_embeddings == len(small.rows) + 1
        assert list(run.module.state_dict()) == before[2]
        # A text that is not among those announced would be given other words' vectors.
        absent = next(i for i in range(len(parameter)) if i not in small.rows.tolist())
        with pytest.raises(IndexError):
            table(torch.tensor([absent]))
        raise RuntimeError("stop")
    assert table.weight is parameter and not table._forward_pre_hooks
    assert (table.num_embeddings, table.padding_idx, list(run.module.state_dict()), parameter.shape) == before
    assert torch.equal(table.weight, Run().table.weight)


@pytest.mark.parametrize(
    "choices",
    [
        {"optimizer": torch.optim.Adam},  # its decay goes through the moments
        {"optimizer": torch.optim.RMSprop},
        {"freezing": FrozenBackbone()},
        {"adapter": LoRA(rank=2)},
    ],
    ids=["adam with decay", "rmsprop", "frozen", "lora"],
)
def test_where_it_would_not_be_exact_or_save_nothing_the_table_is_whole(choices: Any) -> None:
    assert Run(**choices).compact() is None


def test_a_table_that_an_output_is_tied_to_is_whole() -> None:
    run = Run()
    out = nn.Linear(16, 2, bias=False)
    out.weight = run.table.weight
    run.module.backbone.network.out = out
    assert run.compact() is None


def test_a_table_in_shares_is_whole() -> None:
    run = Run()
    assert compact_table({"trainer": {"strategy": "fsdp", "devices": 2}}, run.module, run.loaders) is None


def test_the_best_checkpoint_holds_the_decay_of_its_own_step(tmp_path: Path) -> None:
    class FirstIsBest(L.Callback):
        def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            pl_module.log("first", -float(trainer.current_epoch))

    folders = iter([tmp_path / "full", tmp_path / "small"])
    full, run, small = both(FirstIsBest, lambda: BestWeights(next(folders) / "checkpoints", "first", "max"))
    last = run.table.weight.detach().clone()
    load_selected({"selection": "best"}, full.module, tmp_path / "full")
    load_selected({"selection": "best"}, run.module, tmp_path / "small", small)
    same(full, run)
    assert ((run.table.weight - last)[1:].norm(dim=1) > 1e-5).all()  # but the padding's, which is zero
    assert (tmp_path / "small/checkpoints" / BEST).stat().st_size < (
        tmp_path / "full/checkpoints" / BEST
    ).stat().st_size


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resumed_it_ends_as_undisturbed_bit_for_bit(tmp_path: Path, optimizer: str) -> None:
    class Stop(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
            if (trainer.current_epoch, args[-1]) == (2, 1):
                trainer.save_checkpoint(tmp_path / "last.ckpt")
                raise RuntimeError("stop")

    _, whole, _ = both(optimizer=OPTIMIZERS[optimizer])
    cut = Run(optimizer=OPTIMIZERS[optimizer])
    with pytest.raises(RuntimeError, match="stop"), cut.compact() as _:
        cut.fit(Stop())
    run = Run(optimizer=OPTIMIZERS[optimizer])
    with run.compact() as _:
        run.fit(resume=tmp_path / "last.ckpt")
    for name, tensor in run.module.state_dict().items():
        assert torch.equal(tensor, whole.module.state_dict()[name]), name


def test_a_checkpoint_with_another_table_is_refused(tmp_path: Path) -> None:
    run = Run()
    run.fit().save_checkpoint(tmp_path / "full.ckpt")
    other = Run()
    with pytest.raises(RuntimeError, match="does not hold the tensors"), other.compact() as _:
        other.fit(resume=tmp_path / "full.ckpt")
