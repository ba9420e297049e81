"""The process of one job: its place on the machine, the locks on its folders, then the runs themselves."""

import faulthandler
import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from typing import TYPE_CHECKING, Any

from tlx.processes.interruption import SIGNALS
from tlx.record.record import effort, read_record
from tlx.record.running import Busy, locked
from tlx.sweeps.attempts import make_ready
from tlx.sweeps.halving import can_halve, halve, halved_before
from tlx.sweeps.jobs import Job
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


def main(job: Job, place: Place) -> None:
    """The whole life of a job's process; ends in one of the exit codes. What it prints goes to `log.txt`."""
    for run in job.runs:
        run.folder.mkdir(parents=True, exist_ok=True)
        if run is not job.runs[0]:
            with (run.folder / "log.txt").open("a") as text:
                text.write(f"done together with {job.folder.name}: see its log\n")
    log = os.open(job.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
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
            _note_lease(job, place.visible or None)
            os.environ["CUDA_VISIBLE_DEVICES"] = place.visible
        if place.devices:
            devices = stack.enter_context(lease(place.devices, place.per_device, gpus(job.config)))
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
            _note_lease(job, os.environ["CUDA_VISIBLE_DEVICES"])
        if place.memory:
            import resource

            resource.setrlimit(resource.RLIMIT_AS, (place.memory, place.memory))
        if place.threads and not job.config["trainer"]["threads"]:
            import torch

            torch.set_num_threads(place.threads)
        try:
            do_job(job)
        except Busy:
            sys.exit(BUSY)
        except Exception as error:  # the record holds it
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            sys.exit(FAILED)


def _note_lease(job: Job, devices: str | None) -> None:
    for run in job.runs:
        run.config["run"]["lease"] = devices


def do_job(job: Job) -> None:
    """Do the runs of a job in this process, but for those that somebody else is at or has done.

    Raises:
        Busy: another process is at it, where it is one run.
        Exception: whatever ended the first of those that failed; their records say so, too.
    """
    import torch

    from tlx.callbacks.progress import ProgressFile
    from tlx.sweeps.at_once import run_together

    if len(job.runs) == 1:
        do(job.runs[0])
        return
    with ExitStack() as locks:
        mine = []
        for run in job.runs:
            with suppress(Busy):
                locks.enter_context(locked(run.folder))
                if not _settled(run):
                    mine.append((halved_before(run.config, make_ready(run.folder)), run.folder))
        try:
            run_together(mine, [[ProgressFile(folder)] for _, folder in mine])
            return
        except torch.OutOfMemoryError:  # of a GPU: one alone needs less
            gc.collect()
            torch.cuda.empty_cache()
    for run in job.runs:
        with suppress(Busy):
            do(run)


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
        if _settled(run):
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


def _settled(run: Planned) -> bool:
    """Whether nothing is left to train: somebody finished the run, or failed to, since it was planned.

    Of a run that was finished before it was asked for a registry entry, this makes the entry of the weights it kept.
    """
    if run.config["force"]:
        return _failed_elsewhere(run)
    return run.finished or _registered_now(run) or _failed_elsewhere(run)


def _registered_now(run: Planned) -> bool:
    if not run.completed:
        return False
    from tlx.sweeps.register_kept import register_kept

    if register_kept(run.config, run.folder) is not None:
        return True
    print(f"tlx: {run.folder.name} kept no weights, so that register= trains it again.", file=sys.stderr, flush=True)
    return False


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
