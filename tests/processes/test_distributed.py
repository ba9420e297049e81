"""Several processes as one run: the same result as one process with the same global batch, and nothing done twice."""

import csv
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tlx.data.sampling import EpochBatchSampler, share_of_batch
from tlx.processes.interruption import Interrupted
from tlx.processes.ranks import Followers, RankKilled
from tlx.record.record import read_record
from tlx.sweeps.study import Planned
from tlx.sweeps.worker import do
from tlx.train import follow

_spec = importlib.util.spec_from_file_location("processes", Path(__file__).parents[1] / "sweeps" / "processes.py")
assert _spec and _spec.loader
processes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(processes)

# Layer norm and no dropout: what is left for two processes to differ in is the order of sums. 27 examples in batches of
# 8: the last one has 3, which do not make two parts of two. 1 + 2 blocks and a head make the phases.
VIT = ["model=timm", "model.arch=test_vit", "model.size=16", "model.channels=1", "model.mean=[0.5]", "model.std=[0.5]"]
EXACT = [*VIT, "strategy.init=scratch", "trainer.head_dropout=0", "optimizer=sgd", "optimizer.lr=0.05"]
EXACT += ["dataset.train_size=27", "trainer.eval_batch_size=50", "strategy.learning_rates.head_factor=1.0"]
TWO, ONE = ["trainer=ddp", "trainer.batch_size=4"], ["trainer.batch_size=8"]
SHARED = ["trainer=fsdp", "trainer.batch_size=4"]


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 2))
def test_shares_make_the_mean_of_the_whole_batch(count: int, world: int, least: int) -> None:
    batch, values = np.arange(count), np.random.default_rng(count).standard_normal(count)
    shares = [share_of_batch(batch, rank, world, least) for rank in range(world)]
    assert np.isclose(np.mean([weight * values[part].mean() for part, weight in shares]), values.mean())
    taken = [part for part, weight in shares if weight]
    assert np.concatenate(taken).tolist() == batch.tolist()
    assert all(len(part) >= min(least, count) for part, _ in shares)
    assert max(map(len, taken)) - min(map(len, taken)) <= 1


@pytest.mark.parametrize("lengths", [None, list(range(27))])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_see_the_batches_of_one(world: int, lengths: list[int] | None) -> None:
    alone = list(EpochBatchSampler(27, 12, 5, lengths))
    shared = zip(*(EpochBatchSampler(27, 12, 5, lengths, rank, world) for rank in range(world)), strict=True)
    for batch, parts in zip(alone, shared, strict=True):
        assert [key[:2] for part in parts for key in part if key[2]] == batch


def history(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open(newline="") as lines:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(lines)]


def same_to_rounding(one: Path, other: Path) -> None:
    """Weights, scores and the history of two runs."""
    weights = [load_file(folder / "last.safetensors") for folder in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-4, atol=1e-5)
    records = [read_record(folder) or {} for folder in (one, other)]
    assert records[0]["counts"] == records[1]["counts"]
    assert records[0]["metrics"] == pytest.approx(records[1]["metrics"], rel=1e-4)
    assert records[0]["metrics"]["test/accuracy"] == records[1]["metrics"]["test/accuracy"]
    rows = [history(folder) for folder in (one, other)]
    assert [row.keys() for row in rows[0]] == [row.keys() for row in rows[1]]
    for row, twin in zip(*rows, strict=True):
        assert row == pytest.approx(twin, rel=1e-4)


@pytest.fixture
def plan(tlx):
    """A function that plans one run."""
    from tlx.config.composer import composer
    from tlx.sweeps.prepare import prepare

    def plan(*words: str) -> Planned:
        with composer() as compose:
            return prepare(compose, [*tlx.quick, "keep_checkpoints=both", *words], False)[0]

    return plan


@pytest.mark.slow
@pytest.mark.parametrize("several", [TWO, SHARED], ids=["ddp", "fsdp"])
@pytest.mark.parametrize(
    "words",
    [
        ["strategy=full", "trainer.max_epochs=2"],
        [
            "strategy=gradual_unfreezing",
            "strategy.freezing.groups_per_phase=2",
            "trainer.max_epochs=6",
            "trainer.accumulate=2",
        ],
    ],
    ids=["full", "gradual_unfreezing"],
)
def test_two_processes_train_as_one_does(plan, words: list[str], several: list[str]) -> None:
    one, two = plan(*EXACT, *words, *ONE), plan(*EXACT, *words, *several)
    assert one.folder != two.folder
    do(one)
    do(two)
    same_to_rounding(one.folder, two.folder)
    counts = (read_record(two.folder) or {})["counts"]
    assert counts["test_labels"] % 2 or counts["selection_labels"] % 2


@pytest.mark.slow
@pytest.mark.parametrize("several", [TWO, SHARED], ids=["ddp", "fsdp"])
def test_a_step_is_the_mean_over_its_examples_whoever_has_them(plan, several: list[str]) -> None:
    """27 examples in steps of 24 and 3: the second has one batch of three, one process's alone."""
    words = [*EXACT, "strategy=full", "trainer.max_epochs=2"]
    runs = [plan(*words, "trainer.batch_size=24")]
    runs += [plan(*words, "trainer.accumulate=3", *divided) for divided in (ONE, several)]
    for run in runs:
        do(run)
    whole, *divided = [load_file(run.folder / "last.safetensors") for run in runs]
    assert [(read_record(run.folder) or {})["counts"]["steps"] for run in runs] == [4, 4, 4]
    for name, tensor in whole.items():
        for weights in divided:
            torch.testing.assert_close(tensor, weights[name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_the_tokens_that_occur_as_one_does(plan, write_texts) -> None:
    words = ["model=tiny_text", "model.path=null", "model.tokenizer.vocab_size=300", "dataset=local_text"]
    words += [f"dataset.path={write_texts()}", "dataset.train_size=6_per_class", "strategy=scratch"]
    words += ["model.config.hidden_dropout_prob=0", "+model.config.attention_probs_dropout_prob=0"]
    words += ["trainer.head_dropout=0", "trainer.max_epochs=3", "optimizer=sgd", "optimizer.lr=0.01"]
    one, two = plan(*words, *ONE), plan(*words, *TWO)
    do(one)
    do(two)
    same_to_rounding(one.folder, two.folder)
    counts = (read_record(two.folder) or {})["counts"]
    assert counts["embedding_rows_trained"] < counts["embedding_rows"]


@pytest.mark.slow
def test_a_sweep_replays_nothing(tlx) -> None:
    words = [w for w in tlx.quick if "backend" not in w]
    command = [sys.executable, "-c", "from tlx.cli import main; main()", "train", "-m", *words, *TWO]
    done = subprocess.run([*command, "strategy=scratch", "seed=0,1"], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 runs done" in done.stdout and done.stdout.count("runs done") == 1
    study = tlx.runs / "adhoc"
    assert [r["status"] for r in tlx.records()] == ["completed"] * 2
    assert len([f for f in study.iterdir() if f.name[0] != "."]) == 3  # two runs and the plan
    for run in (f for f in study.iterdir() if f.is_dir()):
        files = sorted(f.name for f in run.iterdir() if not f.name.startswith("."))
        assert files == ["best.safetensors", "log.txt", "metrics.csv", "predictions.parquet", "record.json"]
        assert len({(row["step"], *row) for row in history(run)}) == len(history(run))


class At(L.Callback):
    """Does something after a batch, in the process of rank 0."""

    def __init__(self, place: tuple[int, int], act: Any) -> None:
        self.place, self.act = place, act

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        if (trainer.current_epoch, args[-1]) == self.place:
            self.act()


@pytest.mark.slow
@pytest.mark.parametrize("several", [TWO, SHARED], ids=["ddp", "fsdp"])
def test_asked_to_leave_all_leave_and_go_on_bit_for_bit(plan, several: list[str]) -> None:
    # Batch normalisation, dropout, and gradients that are being accumulated when the signal comes.
    words = ["strategy=scratch", "trainer.max_epochs=3", "trainer.accumulate=2", *several]
    whole, cut = plan(*words, "study=whole"), plan(*words, "study=cut")
    do(whole)
    with pytest.raises(Interrupted):
        do(cut, [At((1, 0), lambda: os.kill(os.getpid(), signal.SIGTERM))])
    assert (read_record(cut.folder) or {})["status"] == "interrupted"
    do(cut)
    records = [read_record(run.folder) or {} for run in (whole, cut)]
    assert records[1]["sittings"][-1]["resumed"]
    for key in ("status", "metrics", "checkpoint", "counts"):
        assert records[0][key] == records[1][key], key
    assert (whole.folder / "metrics.csv").read_text() == (cut.folder / "metrics.csv").read_text()


def ranks_of(run: int | str) -> list[int]:
    """The other processes of a run, by its process."""
    threads = Path(f"/proc/{run}/task").iterdir()
    children = [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]
    return [pid for pid in children if b"tlx.processes.ranks" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def kill_a_rank() -> None:
    (rank,) = ranks_of("self")
    os.kill(rank, signal.SIGKILL)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_with_its_name(plan) -> None:
    run = plan("strategy=scratch", "trainer.max_epochs=3", *TWO)
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=r"process 1 of this run: killed by SIGKILL"):
        do(run, [At((1, 0), kill_a_rank)])
    record = read_record(run.folder)
    assert record and record["status"] == "failed" and record["error"]["type"] == "Killed"
    assert not torch.distributed.is_initialized()
    assert time.monotonic() - began < 300


@pytest.mark.slow
def test_a_process_that_is_killed_costs_a_retry(tlx) -> None:
    words = ["-m", "strategy=scratch", "seed=0", "trainer.max_epochs=10", "trainer.checkpoint_seconds=0", *TWO]
    study = tlx.runs / "adhoc"
    look = lambda: next((ranks_of(pid) for pid in [processes.running(study, 0, epoch=1)] if pid), None)  # noqa: E731
    with processes.Accident(look, lambda ranks: os.kill(ranks[0], signal.SIGKILL)) as accident:
        outcome = tlx.train(*words, "hydra.launcher.backend=local", "hydra.launcher.retries=1")
    assert accident.happened and outcome.code == 0, outcome.err
    assert outcome.err.count("again:") == 1 and "process 1 of this run: killed by SIGKILL" in outcome.err
    (record,) = tlx.records()
    assert record["attempt"] == 1
    assert [sitting["resumed"] for sitting in record["sittings"]] == [False, True]


def test_a_process_that_is_killed_before_the_training() -> None:
    followers = Followers({"trainer": {"devices": 2, "threads": 1}}, Path(), follow)
    process = subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE)
    reading, writing = os.pipe()
    os.close(writing)
    followers._processes, followers._reports = [process], [os.fdopen(reading)]
    process.kill()
    with pytest.raises(RankKilled, match="process 1 of this run: killed by SIGKILL"), followers.training(None):
        raise AssertionError("it must not begin")


ANYBODYS = """
import sys
import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from tlx.callbacks.phases import GradualUnfreezing
from tlx.processes.distributed import check_in_step, gather
from tlx.layer_groups import LayerGroup, group_layers

class Foreign(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.stem, self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)
    def training_step(self, batch, batch_idx):
        x = self.head(self.body(self.stem(batch + self.global_rank)).tanh())
        return (x - batch[:, :2]).square().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

class Watch(L.Callback):
    def __init__(self):
        self.known = []
    def on_train_batch_end(self, trainer, module, *_):
        wrapped = trainer.strategy.model
        self.known.append(sum(p.requires_grad for p in wrapped.module.parameters()))
        weights = torch.cat([p.detach().flatten() for p in module.parameters()])
        if (_[-1] + 1) % 2 == 0:  # the optimiser has stepped
            assert all(torch.equal(weights, other) for other in gather(weights)), trainer.global_step

L.seed_everything(0)
watch, schedule = Watch(), GradualUnfreezing(lambda m: GROUPS(m), steps_per_phase=2)
def GROUPS(module):
    return group_layers(module, [(n, rf"{n}\\.") for n in ("stem", "body", "head")])
trainer = L.Trainer(
    accelerator="cpu", devices=2, strategy=DDPStrategy(process_group_backend="gloo"), max_epochs=1,
    accumulate_grad_batches=2, callbacks=[schedule, watch], logger=False, enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
)
module = Foreign()
trainer.fit(module, torch.utils.data.DataLoader(torch.randn(48, 4), 4))
assert watch.known == [2] * 4 + [4] * 4 + [6] * 4, watch.known
with torch.no_grad():
    module.body.weight += trainer.global_rank
try:
    check_in_step(module, schedule.plan)
except RuntimeError as error:
    assert "layer group body differ between processes" in str(error)
else:
    raise AssertionError("not seen")
print(f"ok {trainer.global_rank}\\n", end="")  # one write: two processes share the pipe
"""


@pytest.mark.slow
def test_gradual_unfreezing_in_anybodys_trainer_on_two_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(ANYBODYS)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "ok 0" in done.stdout
