"""How a sweep talks to its runs on other machines: two files in a folder that all of them see.

Ray and SLURM can end a job but not ask the run in it, a process of its own, to checkpoint and leave. A file can, on any
cluster, and it works for a job that waits in a queue as well.
"""

import contextlib
import secrets
import shutil
import signal
import time
from pathlib import Path

from tlx.record.atomic import atomic

STOP, RECALL = "stop", "recall"


class NotShared(Exception):
    """A machine that does runs does not see the folder of the study."""


class Control:
    """The folder of one sweep below the study's; `place` is absolute, because other machines look for it."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @classmethod
    def make(cls, study: Path) -> "Control":
        """A new one beside the runs of a study."""
        place = study.absolute() / ".sweeps" / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        place.mkdir(parents=True)
        return cls(place)

    def check(self) -> None:
        """Look whether this machine sees the folder.

        Raises:
            NotShared: it does not.
        """
        if not self.place.is_dir():
            raise NotShared(
                f"{self.place} is not there: paths.runs, paths.cache and paths.registry must lie on a file system "
                "that every node sees under the same name."
            )

    def stop(self, number: signal.Signals) -> None:
        """Ask the runs to leave as this signal would, and those that have not begun not to begin."""
        with atomic(self.place / STOP) as file:
            file.write(number.name.encode())
        self.recall()

    def recall(self) -> None:
        """Ask the runs that have not begun not to."""
        (self.place / RECALL).touch()

    @property
    def stopped(self) -> signal.Signals | None:
        """The signal that the runs are asked to leave by; None: they are not."""
        try:
            return signal.Signals[(self.place / STOP).read_text()]
        except FileNotFoundError:
            return None

    @property
    def recalled(self) -> bool:
        return (self.place / RECALL).exists()

    def remove(self) -> None:
        """Remove the folder and what the backend keeps in it."""
        shutil.rmtree(self.place, ignore_errors=True)
        with contextlib.suppress(OSError):  # another sweep is at work, or has left its logs
            self.place.parent.rmdir()
