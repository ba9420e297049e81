"""Leaving when asked: a scheduler's SIGTERM or SIGUSR1 and the user's Ctrl-C end a run so that it can be taken up."""

import signal
import threading
from types import FrameType
from typing import Any, NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Interrupted(SystemExit):
    """A run left because it was asked to; its record says "interrupted" and the same command goes on from there."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(code)
        self.name = name

    def __str__(self) -> str:
        return f"left on {self.name}"


class Interruption:
    """While this context is open, a signal ends the run: at once, or during training after the current batch.

    A second signal always ends it at once. Outside the main thread, which alone may handle signals, nothing is changed.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._waiting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            self._install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def wait_for_a_good_moment(self) -> None:
        """From now on a signal is only noted; whoever trains looks at `requested` and calls `leave`."""
        self._waiting = True
        if self._before:
            self._install()

    def leave_at_once(self) -> None:
        """From now on a signal ends the run where it stands."""
        self._waiting = False

    def leave(self) -> NoReturn:
        """End the run.

        Raises:
            Interrupted: always.
        """
        number = self.requested or signal.SIGTERM  # another process of this run was asked
        raise Interrupted(signal.Signals(number).name, 128 + number)

    def _install(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.requested is not None
        self.requested = number
        if again or not self._waiting:
            self.leave()


def cause_of_death(code: int) -> str:
    """What the exit code of a process that ended without a word says: the signal is its negative number."""
    if code >= 0:
        return f"the process ended by itself with exit code {code} and no word"
    name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else f"signal {-code}"
    if -code == signal.SIGKILL:
        return f"killed by {name}: probably out of memory, unless somebody ended it"
    return f"killed by {name}"
