"""What submitit starts on a node: it starts the run's process, and passes on what the sweep and SLURM want of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tlx.processes.interruption import SIGNALS
from tlx.sweeps.control import Control
from tlx.sweeps.worker import NOT_BEGUN

LOOK = 0.5  # seconds between two looks at the run and at what the sweep wants of it
LEFT = {128 + number for number in SIGNALS}  # exit codes of a run that was asked to leave


class SlurmJob:
    """Does the run of a file (`tlx.sweeps.node`) and returns its exit code.

    Submitit alone puts jobs back into the queue: SLURM warns it (SIGUSR2, before the time is up and on pre-emption), it
    calls `checkpoint`, and the job starts again where the run left. SIGTERM reaches the run directly, which leaves; the
    job then waits `verdict` seconds for what SLURM does about it (warn, requeue or cancel it).
    """

    def __init__(self, verdict: float) -> None:
        self.verdict = verdict
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, file: str) -> int:
        control = Control(Path(file).parent)
        control.check()
        if control.recalled:
            return NOT_BEGUN
        # A blocked signal stays blocked in the new process: SIGUSR2, which SLURM sends to all, would end it.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        self._process = subprocess.Popen([sys.executable, "-m", "tlx.sweeps.node", file], stdin=subprocess.PIPE)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
        asked = None
        while not self._gone():
            number = control.stopped
            if number is not None and number != asked:
                asked = number
                self._process.send_signal(number)
            time.sleep(LOOK)
        code = self._process.wait()
        until = time.monotonic() + self.verdict
        while code in LEFT and not control.stopped and time.monotonic() < until:
            time.sleep(LOOK)
        return code

    def checkpoint(self, file: str) -> Any:
        """Let the run leave; submitit calls this from its signal handler and starts what is returned again."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None and not self._gone():
            self._process.terminate()
            while not self._gone():
                time.sleep(LOOK)
        return DelayedSubmission(SlurmJob(self.verdict), file)

    def _gone(self) -> bool:
        """Whether the process has ended. Unlike Popen's own it takes no lock, which a signal handler would wait for."""
        process = self._process
        assert process is not None
        if process.returncode is not None:
            return True
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
