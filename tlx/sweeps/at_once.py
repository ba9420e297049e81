"""Runs that one process does at once."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import lightning as L

from tlx.fit.recording import Recording
from tlx.probes.fit import as_probe, fit_heads
from tlx.probes.probe import Probe
from tlx.processes.interruption import Interruption
from tlx.processes.ranks import Followers
from tlx.train import Begun, begin, finish, follow, train


def run_together(runs: Sequence[tuple[dict[str, Any], Path]], callbacks: Sequence[Sequence[L.Callback]]) -> None:
    """Do runs that differ in seeds, learning rates and weight decays alone; `callbacks` has those of each.

    Those of which nothing but the head is trained, on features that are kept, are trained in the same steps. Each has a
    record of its own, and what it would have had alone.

    Raises:
        Exception: what ended the first of those that failed; the others have their results nevertheless.
        Interrupted: a signal asked the runs to leave. Heads begin anew the next time: they are trained within seconds.
    """
    failed: list[Exception] = []
    with Interruption() as interruption, ExitStack() as records:
        begun: list[Begun] = []
        probes: list[Probe] = []
        for (config, folder), own in zip(runs, callbacks, strict=True):
            record = records.enter_context(Recording(config, folder))
            with ended_by_itself(record, failed), record.working():
                one = begin(config, folder, record, beside=begun[0] if begun else None)
                if (probe := as_probe(one.training, own, probes)) is not None:
                    begun.append(one)
                    probes.append(probe)
                    continue
                finish(one, train(one, own, interruption, Followers(config, folder, follow)))
            record.end()  # whatever becomes of the others
        for one, fitted in zip(begun, fit_heads([one.training for one in begun], probes), strict=True):
            record = one.training.record
            with ended_by_itself(record, failed), record.working():
                finish(one, fitted)
            record.end()
    if failed:
        raise failed[0]


@contextmanager
def ended_by_itself(record: Recording, failed: list[Exception]) -> Iterator[None]:
    """What fails in this context ends its own run and is added to `failed`; the others go on."""
    try:
        yield
    except Exception as error:
        failed.append(error)
        record.end(error)
