"""What tests do to the processes of a sweep while it goes on, in this one or in one of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

SCRIPT = "from tlx.cli import main; main()"


def launch(tlx, *words: str, **environment: str) -> subprocess.Popen:
    """`tlx train WORDS`, quick, in a process and a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "train", *tlx.quick, *words],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ask(sweep: subprocess.Popen, number: signal.Signals) -> None:
    """Send a launched sweep a signal; SIGINT as a terminal does, to all processes of its group."""
    if number == signal.SIGINT:
        os.killpg(sweep.pid, number)
    else:
        sweep.send_signal(number)


def wait_for(condition: Callable[[], object], sweep: subprocess.Popen, seconds: float = 300) -> None:
    """Wait until `condition()` holds, as long as the sweep lives."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert sweep.poll() is None, sweep.communicate()
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def parent_of(pid: int) -> int:
    """The process that started `pid`."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def running(study: Path, seed: int, epoch: int = 0) -> int | None:
    """The process of the run with this seed, once it is at work (and has done so many epochs)."""
    for file in study.glob(f"*seed{seed}-*/record.json"):
        record = json.loads(file.read_text())
        progress = file.parent / "progress.json"
        if record["status"] == "running" and record["sittings"][-1]["ended"] is None:
            if epoch and not (progress.is_file() and json.loads(progress.read_text())["epoch"] >= epoch):
                return None
            return record["sittings"][-1]["pid"]
    return None


def completed(study: Path) -> int:
    """How many runs of a study are done."""
    return sum(json.loads(file.read_text())["status"] == "completed" for file in study.glob("*/record.json"))


def kill(pid: int) -> None:
    """End the process of a run."""
    os.kill(pid, signal.SIGKILL)


def kill_worker(pid: int) -> None:
    """End the worker of Ray that looks after the process of a run."""
    kill(parent_of(parent_of(pid)))  # run <- fork server <- Ray's worker


class Accident(threading.Thread):
    """Calls `hit` once, with what `look` first finds; `happened` says whether it did."""

    def __init__(self, look: Callable[[], int | None], hit: Callable[[int], None]) -> None:
        super().__init__(daemon=True)
        self.look, self.hit, self.happened, self._over = look, hit, False, threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            found = self.look()
            if found is not None:
                self.hit(found)
                self.happened = True
                return
            time.sleep(0.01)

    def __enter__(self) -> "Accident":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
