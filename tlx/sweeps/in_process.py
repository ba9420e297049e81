"""The backend without isolation: one job after the other in this process, to step through them with a debugger."""

import signal

from tlx.record.running import Busy
from tlx.sweeps.jobs import Job
from tlx.sweeps.worker import BUSY, DONE, FAILED, do_job


class InProcessBackend:
    """Each job is done when it is started."""

    slots = 1

    def __init__(self) -> None:
        self._ended: list[tuple[Job, int]] = []

    def start(self, job: Job) -> None:
        """Do a job; the memory that it leaves behind is collected."""
        import gc

        try:
            do_job(job)
            code = DONE
        except Busy:
            code = BUSY
        except Exception:  # the record holds it
            code = FAILED
        self._ended.append((job, code))
        gc.collect()  # Lightning's cycles keep a model alive until they are collected
        if not gc.get_freeze_count():
            gc.freeze()  # modules, mostly: to look at them again after every run would take a third of a second

    def poll(self, timeout: float) -> list[tuple[Job, int]]:
        """The jobs done since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def stop(self, number: signal.Signals) -> None:
        """Nothing: no run is going on between two calls, and one that is gets the signal itself."""

    def recall(self) -> None:
        """Nothing: what was started is over."""

    def close(self) -> None:
        """Nothing to end."""
