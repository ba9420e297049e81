"""The process of one run: its place on the machine, the lock on its folder, then the run itself."""

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.sweeps.folder import Busy, locked, make_ready
from tlx.sweeps.leases import lease
from tlx.sweeps.study import Planned

if TYPE_CHECKING:
    import lightning as L

# Exit codes of a run's process. Signals come as their negative number, as everywhere.
DONE, FAILED, BUSY = 0, 1, 75


@dataclass(frozen=True)
class Place:
    """What one run may use of a machine.

    `devices` are the GPUs to lease from (none: a run on the CPU), each for up to `per_device` runs at once.
    `threads` are torch's CPU threads where the run does not say. `memory` limits the address space (bytes).
    """

    devices: tuple[str, ...] = ()
    per_device: int = 1
    threads: int | None = None
    memory: int | None = None


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
    _leave_with_the_parent()
    with ExitStack() as stack:
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
    """Do one run in this process, unless somebody finished it meanwhile.

    Raises:
        Busy: another process is at it.
        Exception: whatever ended the run; its record says so, too.
    """
    from tlx.callbacks.progress import ProgressFile
    from tlx.train import run as train

    with locked(run.folder):
        if run.finished and not run.config["force"]:
            return
        make_ready(run.folder)
        train(run.config, run.folder, callbacks=[ProgressFile(run.folder), *callbacks])


def _leave_with_the_parent() -> None:
    """Ask this process to checkpoint and leave when the one that started it dies: nobody would count its run."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def log_tail(folder: Path, lines: int = 20) -> list[str]:
    """The last lines of what a run's process printed."""
    file = folder / "log.txt"
    return file.read_text(errors="replace").splitlines()[-lines:] if file.is_file() else []
