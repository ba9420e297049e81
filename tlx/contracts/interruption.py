"""A run that is asked to leave and taken up again ends like one that nobody disturbed, bit for bit."""

import os
import signal
from collections.abc import Sequence
from typing import Any

import lightning as L

from tlx.contracts.contract import Broken, hold
from tlx.processes.interruption import Interrupted
from tlx.record.record import read_record
from tlx.sweeps.study import Planned
from tlx.sweeps.worker import do


class Ask(L.Callback):
    """Sends this process a signal after a batch, as a scheduler would; `places` are (epoch, batch)."""

    def __init__(self, *places: tuple[int, int]) -> None:
        self.places = places

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        if (trainer.current_epoch, args[-1]) in self.places:
            os.kill(os.getpid(), signal.SIGTERM)


def same_end(one: Planned, other: Planned) -> None:
    """See that two runs have the same record, history and predictions.

    Raises:
        Broken: they have not.
    """
    records = [read_record(run.folder) for run in (one, other)]
    assert records[0] and records[1]
    for key in ("status", "metrics", "checkpoint", "frozen", "counts", "attempt"):
        why = f"a run that was interrupted and taken up again has other {key}: {records[0][key]}, not {records[1][key]}"
        hold(records[0][key] == records[1][key], why)
    for file in ("metrics.csv", "predictions.parquet"):
        kept = [(run.folder / file).read_bytes() for run in (one, other)]
        hold(kept[0] == kept[1], f"a run that was interrupted and taken up again writes another {file}")


def leave_at(run: Planned, place: tuple[int, int]) -> None:
    """Do a run until it is asked to leave after a batch, (epoch, batch).

    Raises:
        Broken: it went on.
    """
    try:
        do(run, [Ask(place)])
    except Interrupted:
        return
    raise Broken(f"asked to leave at epoch {place[0]}, batch {place[1]}, the run went on")


def resumes_as_if_undisturbed(whole: Planned, cut: Sequence[tuple[Planned, tuple[int, int]]]) -> None:
    """Each run of `cut` leaves at a place, goes on, and ends like `whole`; all of them are the same run."""
    do(whole, [L.Callback()])  # as below: with a callback heads, too, are trained in a Trainer
    for run, place in cut:
        leave_at(run, place)
        record = read_record(run.folder)
        assert record
        hold(record["status"] == "interrupted", f"a run that left is called {record['status']} in its record")
        hold(record["error"]["message"] == "left on SIGTERM", f"it says that it left for: {record['error']['message']}")
        do(run)
        record = read_record(run.folder)
        assert record
        sittings = [sitting["resumed"] for sitting in record["sittings"]]
        hold(sittings == [False, True], f"taken up again it began anew (resumed: {sittings})")
        same_end(run, whole)
