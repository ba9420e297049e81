"""A batch that does not fit into a GPU's memory is halved where that is asked for, and everybody is told."""

import json
from typing import Any

import lightning as L
import pytest
import torch

from tlx.processes.interruption import Interrupted
from tlx.record.record import read_record
from tlx.sweeps.study import Planned
from tlx.sweeps.worker import do

HALVE = "trainer.on_out_of_memory=halve"


class Small(L.Callback):
    """A GPU that holds `fits` examples at once; asks the run to leave after `leave` steps."""

    def __init__(self, fits: int, leave: int | None = None) -> None:
        self.fits, self.leave = fits, leave

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, *_: Any) -> None:
        if len(batch["label"]) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if trainer.global_step == self.leave:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def plan(tlx):
    from tlx.config.composer import composer
    from tlx.sweeps.prepare import prepare

    def plan(*words: str) -> Planned:
        with composer() as compose:
            return prepare(compose, [*tlx.quick, "strategy=feature_extraction", "trainer.batch_size=8", *words], False)[
                0
            ]

    return plan


def test_halved_until_it_fits_and_said(tlx, plan) -> None:
    run = plan(HALVE)
    do(run, [Small(fits=2)])
    record = read_record(run.folder)
    assert record and record["status"] == "completed"
    assert (record["halvings"], record["attempt"]) == (2, 3)
    assert (record["config"]["trainer"]["batch_size"], record["config"]["trainer"]["accumulate"]) == (2, 4)
    assert record["identity"] == run.config["run"]["identity"]
    failed = json.loads((run.folder / "attempt-1/record.json").read_text())
    assert failed["error"]["type"] == "OutOfMemoryError" and "out of memory" in failed["error"]["message"]
    assert "batches were halved for want of GPU memory" in tlx("table", str(run.folder)).out


def test_what_was_halved_stays_so_when_it_is_taken_up(plan) -> None:
    run = plan(HALVE, "trainer.max_epochs=4")
    with pytest.raises(Interrupted):
        do(run, [Small(fits=4, leave=5)])
    do(run)  # more would fit now, but the checkpoint is of batches of four
    record = read_record(run.folder)
    assert record and record["halvings"] == 1 and record["sittings"][-1]["resumed"]


def test_not_unless_it_is_asked_for(plan) -> None:
    run = plan()
    with pytest.raises(torch.OutOfMemoryError):
        do(run, [Small(fits=4)])
    record = read_record(run.folder)
    assert record and record["status"] == "failed" and record["attempt"] == 1


def test_a_batch_that_cannot_be_halved(plan) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        do(plan(HALVE), [Small(fits=0)])


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["strategy=full"], "changes what batch normalisation computes"),
        (["strategy=feature_extraction", "trainer.on_out_of_memory=half"], "fail or halve"),
    ],
)
def test_where_halving_is_refused(tlx, words: list[str], part: str) -> None:
    assert part in tlx.train(HALVE, *words).complaint
