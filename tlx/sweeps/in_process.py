"""The backend without isolation: one run after the other in this process, to step through them with a debugger."""

import signal

from tlx.sweeps.folder import Busy
from tlx.sweeps.study import Planned
from tlx.sweeps.worker import BUSY, DONE, FAILED, do


class InProcessBackend:
    """Each run is done when it is started."""

    slots = 1

    def __init__(self) -> None:
        self._ended: list[tuple[Planned, int]] = []

    def start(self, run: Planned) -> None:
        """Do a run; the memory that it leaves behind is collected."""
        import gc

        try:
            do(run)
            code = DONE
        except Busy:
            code = BUSY
        except Exception:  # the record holds it
            code = FAILED
        self._ended.append((run, code))
        gc.collect()  # Lightning's cycles keep a model alive until they are collected

    def poll(self, timeout: float) -> list[tuple[Planned, int]]:
        """The runs done since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def stop(self, number: signal.Signals) -> None:
        """Nothing: no run is going on between two calls, and one that is gets the signal itself."""

    def recall(self) -> None:
        """Nothing: what was started is over."""

    def close(self) -> None:
        """Nothing to end."""
