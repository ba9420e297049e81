"""What tests do to the processes of a sweep while it goes on in this one."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path


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
