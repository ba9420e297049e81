"""The other processes of a run on several devices: started from its resolved config, never from a command line.

The process that was asked for the run is rank 0: it alone writes. It starts the others, tells them when to train, and
outlives them; one that loses it ends.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import torch
import torch.distributed as dist

from tlx.errors import Killed
from tlx.processes.interruption import Interrupted, Interruption, cause_of_death

ADDRESS = "127.0.0.1"
PATIENCE = 30.0  # seconds until a process that should have ended by itself is killed
# The parent's main module is not imported: a script without a guard would begin its runs once more.
START = """
import json, sys
job = json.loads(sys.stdin.readline())
sys.path[:] = job["path"]
from tlx.processes.ranks import main
main(job)
"""
# What another process of a run does: config, folder, rank, `begin` (waits for rank 0 and returns the checkpoint to go
# on from) and what tells it to leave.
Follow = Callable[[dict[str, Any], Path, int, Callable[[], Path | None], Interruption], None]


class RankFailed(RuntimeError):
    """Another process of this run failed; the message is its own."""


class RankKilled(RankFailed, Killed):
    """Another process of this run was ended by a signal."""


class Followers:
    """The processes of ranks 1, 2, … of a run, while this context is open; none where `trainer.devices` is 1.

    They load data and model at once, train within the context `training`, and end with it.
    """

    def __init__(self, config: dict[str, Any], folder: Path, follow: Follow) -> None:
        """`follow`, a function of a module, is what they do."""
        self.config, self.folder, self.follow = config, folder, follow
        self.size: int = config["trainer"]["devices"]
        self._processes: list[subprocess.Popen] = []
        self._reports: list[IO[str]] = []  # what each has to say: one line of JSON when it is ready, or why it failed
        self._ending = threading.Event()

    def __enter__(self) -> "Followers":
        if self.size > 1 and not self.config["trainer"]["threads"]:
            torch.set_num_threads(max(1, torch.get_num_threads() // self.size))
        for rank in range(1, self.size):
            reading, writing = os.pipe()
            process = subprocess.Popen(
                [sys.executable, "-c", START],
                stdin=subprocess.PIPE,
                pass_fds=(writing,),
                start_new_session=True,  # Ctrl-C reaches rank 0 alone, which lets all leave together
                text=True,
                env=os.environ | {"TORCH_CPP_LOG_LEVEL": "ERROR"},  # rank 0 gives torch's warnings for all
            )
            os.close(writing)
            self._processes.append(process)
            self._reports.append(os.fdopen(reading))
            job = {"path": sys.path, "config": self.config, "folder": str(self.folder), "rank": rank}
            job["follow"] = [self.follow.__module__, self.follow.__name__]
            _tell(process, job | {"threads": torch.get_num_threads(), "report": writing})
            threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end(0.0)

    @contextmanager
    def training(self, checkpoint: Path | None) -> Iterator[None]:
        """While this context is open all processes train, from `checkpoint` or from the start, and are connected.

        Raises:
            RankFailed: another process failed; here that may have looked like a broken connection.
            RankKilled: it was ended by a signal.
        """
        if self.size == 1:
            yield
            return
        try:
            self._connect(checkpoint)
            yield
        except Interrupted:
            raise
        except BaseException as error:
            # The others may wait for this process, and disconnecting for them: so they end first.
            reasons = self._end(5.0)
            if reasons and is_broken_connection(error):
                raise reasons[0] from error
            raise
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
            self._end(PATIENCE)

    def _connect(self, checkpoint: Path | None) -> None:
        for rank, (process, report) in enumerate(zip(self._processes, self._reports, strict=True), 1):
            word = json.loads(report.readline() or "{}")
            if "ready" not in word:
                if "failed" not in word:  # its end of the report closed with it
                    process.wait()
                raise _failure(rank, process, word) or RankFailed(f"process {rank} of this run died without a word")
        self._store = dist.TCPStore(ADDRESS, 0, self.size, is_master=True, wait_for_workers=False)
        for process in self._processes:
            _tell(process, {"port": self._store.port, "checkpoint": str(checkpoint) if checkpoint else None})
        connect(self.config, self._store, 0)

    def _end(self, patience: float) -> list[RankFailed]:
        """Wait so long for the processes, kill those that are left, and say why the others failed."""
        self._ending.set()
        deadline = time.monotonic() + patience
        reasons = []
        for rank, (process, report) in enumerate(zip(self._processes, self._reports, strict=True), 1):
            killed = False
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                killed = True
                process.kill()
                process.wait()
            said = [json.loads(line) for line in report]
            word: dict[str, Any] = next((word for word in said if "failed" in word), {})
            if (word or not killed) and (failure := _failure(rank, process, word)):
                reasons.append(failure)
            report.close()
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
        self._processes, self._reports = [], []
        return reasons

    def _watch(self, process: subprocess.Popen) -> None:
        """End this process when another one failed and it does not notice: NCCL would wait for it for ever."""
        if process.wait() != 0 and not self._ending.wait(PATIENCE):
            print(
                f"a process of this run ended with code {process.returncode}: so does it", file=sys.stderr, flush=True
            )
            os.kill(os.getpid(), signal.SIGKILL)


def _failure(rank: int, process: subprocess.Popen, word: dict[str, Any]) -> RankFailed | None:
    """What another process says of its end, or what its end says of itself; None: neither says anything."""
    if "failed" in word:
        return RankFailed(f"process {rank} of this run: {word['failed']}")
    if process.returncode is not None and process.returncode < 0:
        return RankKilled(f"process {rank} of this run: {cause_of_death(process.returncode)}")
    return None


def _tell(process: subprocess.Popen, message: dict[str, Any]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it is dead, and its report ends
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()


def is_broken_connection(error: BaseException) -> bool:
    """Whether this is how the death of another process shows."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and ("gloo" in text or "nccl" in text))


def connect(config: dict[str, Any], store: dist.Store, rank: int) -> None:
    """Join the processes of this run: NCCL between GPUs, gloo between CPUs."""
    options = config["trainer"]
    gpu = options["accelerator"] != "cpu" and torch.cuda.is_available()
    dist.init_process_group(
        "nccl" if gpu else "gloo",
        store=store,
        rank=rank,
        world_size=options["devices"],
        device_id=torch.device("cuda", rank) if gpu else None,
    )


def main(job: dict[str, Any]) -> None:
    """The whole life of another process of a run."""
    config, rank = job["config"], job["rank"]
    module, name = job["follow"]
    follow: Follow = getattr(importlib.import_module(module), name)

    def report(word: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):
            os.write(job["report"], (json.dumps(word) + "\n").encode())

    def begin() -> Path | None:
        report({"ready": True})
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)  # rank 0 ended before the training
        message = json.loads(line)
        threading.Thread(target=_leave_with_the_leader, daemon=True).start()
        store = dist.TCPStore(ADDRESS, message["port"], config["trainer"]["devices"], is_master=False)
        connect(config, store, rank)
        return Path(message["checkpoint"]) if message["checkpoint"] else None

    code = 0
    with Interruption() as interruption:
        try:
            torch.set_num_threads(job["threads"])
            follow(config, Path(job["folder"]), rank, begin, interruption)
        except SystemExit:  # all leave together
            pass
        except BaseException as error:
            code = 1
            if not is_broken_connection(error):
                traceback.print_exc()
                report({"failed": f"{type(error).__name__}: {error}"[:2000]})
    if dist.is_initialized():
        dist.destroy_process_group()
    sys.exit(code)


def _leave_with_the_leader() -> None:
    while os.read(sys.stdin.fileno(), 1):  # until its end is closed
        pass
    time.sleep(PATIENCE)
    os._exit(1)
