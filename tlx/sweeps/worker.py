"""The process of one run: its place on the machine, the lock on its folder, then the run itself."""

import faulthandler
import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from typing import TYPE_CHECKING, Any

from tlx.interruption import SIGNALS
from tlx.results.record import effort, read_record
from tlx.sweeps.folder import Busy, locked, make_ready
from tlx.sweeps.halving import can_halve, halve, halved_before
from tlx.sweeps.leases import lease
from tlx.sweeps.study import Planned

if TYPE_CHECKING:
    import lightning as L

# Exit codes of a run's process. Signals come as their negative number, as everywhere. NO_WORD: it is gone, and nobody
# knows its code. NOT_BEGUN: it was called back first.
DONE, FAILED, BUSY, NOT_BEGUN, NO_WORD = 0, 1, 75, 76, 255


@dataclass(frozen=True)
class Place:
    """What one run may use of a machine.

    `devices` are the GPUs to lease from (none: a run on the CPU), each for up to `per_device` runs at once.
    `threads` are torch's CPU threads where the run does not say. `memory` limits the address space (bytes). Where
    another program shares the GPUs out, `visible` is the CUDA_VISIBLE_DEVICES that it gave the run ("" for none).
    `cwd` is the folder that relative paths in the config start from, where that is not the process's own.
    """

    devices: tuple[str, ...] = ()
    per_device: int = 1
    threads: int | None = None
    memory: int | None = None
    visible: str | None = None
    cwd: str | None = None


def gpus(config: dict[str, Any]) -> int:
    """How many GPUs a run leases, where there are any."""
    return 1 if config["trainer"]["accelerator"] == "cpu" else config["trainer"]["devices"]


def main(run: Planned, place: Place) -> None:
    """The whole life of a run's process; ends in one of the exit codes. What it prints goes to `log.txt`."""
    run.folder.mkdir(parents=True, exist_ok=True)
    log = os.open(run.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable()
    os.setsid()  # Ctrl-C reaches the sweep alone, which then asks its runs to leave
    # Who started this process may have let it ignore some (a shell's `&`) or block them (`tlx.sweeps.on_slurm`): here
    # each of them ends what is not a run yet.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    parent = parent_process()
    if parent is not None:
        leave_with(parent.sentinel)
    if place.cwd is not None:
        os.chdir(place.cwd)
    with ExitStack() as stack:
        if place.visible is not None:
            run.config["run"]["lease"] = place.visible or None
            os.environ["CUDA_VISIBLE_DEVICES"] = place.visible
        if place.devices:
            devices = stack.enter_context(lease(place.devices, place.per_device, gpus(run.config)))
            run.config["run"]["lease"] = os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
        if place.memory:
            import resource

            resource.setrlimit(resource.RLIMIT_AS, (place.memory, place.memory))
        if place.threads and not run.config["trainer"]["threads"]:
            import torch

            torch.set_num_threads(place.threads)
        try:
            do(run)
        except Busy:
            sys.exit(BUSY)
        except Exception as error:  # the record holds it
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            sys.exit(FAILED)


def do(run: Planned, callbacks: Sequence["L.Callback"] = ()) -> None:
    """Do one run in this process, unless somebody finished it meanwhile, or failed to.

    Raises:
        Busy: another process is at it.
        Exception: whatever ended the run; its record says so, too.
    """
    import torch

    from tlx.callbacks.progress import ProgressFile
    from tlx.train import run as train

    with locked(run.folder):
        if (run.finished and not run.config["force"]) or _failed_elsewhere(run):
            return
        config = halved_before(run.config, make_ready(run.folder))
        while True:
            try:
                train(config, run.folder, callbacks=[ProgressFile(run.folder), *callbacks])
                return
            except torch.OutOfMemoryError:  # of a GPU; the record says so
                if not can_halve(config):
                    raise
            config = halve(config)
            make_ready(run.folder)  # keeps the attempt that did not fit
            gc.collect()
            torch.cuda.empty_cache()


def _failed_elsewhere(run: Planned) -> bool:
    """Whether another sweep tried the run since ours looked, and it failed: once is enough."""
    seen = run.config["run"].get("seen")
    record = None if seen is None else read_record(run.folder)
    return record is not None and record["status"] == "failed" and effort(record) > seen


def leave_with(sentinel: int) -> None:
    """Ask this process to checkpoint and leave when the one that started it dies: nobody would count its run.

    `sentinel` is a file descriptor that becomes readable then.
    """

    def watch() -> None:
        connection.wait([sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
