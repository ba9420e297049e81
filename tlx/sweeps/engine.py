"""The engine: carries out the planned runs of a study on a backend, and survives what happens to each of them."""

import re
import signal
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tlx.errors import UserError
from tlx.processes.interruption import Interruption, cause_of_death
from tlx.record.jsonfile import Damaged
from tlx.record.masking import mask_file
from tlx.record.record import KILLED, effort, headline, read_record
from tlx.record.running import Busy, locked, log_tail
from tlx.sweeps.attempts import bury
from tlx.sweeps.bars import StudyProgress
from tlx.sweeps.jobs import Job, as_jobs
from tlx.sweeps.study import Planned
from tlx.sweeps.worker import BUSY, NOT_BEGUN

LOOK_AGAIN = 1.0  # seconds between two looks at a run that another sweep is working on


class Backend(Protocol):
    """Where jobs are carried out; `slots` at once. See `tlx.sweeps.local.LocalBackend`.

    `stop` passes a signal on to all runs, which checkpoint and leave; `recall` asks those that wait in a cluster's
    queue not to begin, and `poll` gives them back as NOT_BEGUN.
    """

    @property
    def slots(self) -> int: ...
    def start(self, job: Job) -> None: ...
    def poll(self, timeout: float) -> list[tuple[Job, int]]: ...
    def stop(self, number: signal.Signals) -> None: ...
    def recall(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Rules:
    """What to do about runs that fail.

    `on_error`: "continue" with the others, "stop" after the first, or "stop_after_K_equal" failures with one and the
    same error. `retries`: how often a run is started again whose process died (killed, out of memory, a node lost) or
    was made to leave by somebody else than this sweep; a run that raised would raise again and is not.

    Raises:
        UserError: another word, or a negative number.
    """

    on_error: str = "continue"
    retries: int = 0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"continue|stop|stop_after_[1-9]\d*_equal", str(self.on_error)):
            raise UserError(f"on_error={self.on_error}: allowed are continue, stop and stop_after_3_equal.")
        if not isinstance(self.retries, int) or self.retries < 0:
            raise UserError(f"retries={self.retries} must be a whole number ≥ 0.")

    def enough(self, errors: Sequence[str]) -> bool:
        """Whether these errors (one for each failed run) are reason to start no further run."""
        if self.on_error == "continue" or not errors:
            return False
        limit = 1 if self.on_error == "stop" else int(self.on_error.split("_")[2])
        return self.on_error == "stop" or Counter(errors).most_common(1)[0][1] >= limit


def carry_out(todo: Sequence[Planned], backend: Backend, rules: Rules, progress: StudyProgress) -> str | None:
    """Do the runs, as many jobs at once as the backend has slots; their records say how each ended.

    A run that another sweep is working on is waited for at the end, and taken over if that sweep leaves it unfinished.
    A signal (Ctrl-C, SIGTERM, SIGUSR1) lets all runs write a checkpoint and leave, and its name is returned; a second
    one ends them at once.
    """
    waiting, elsewhere = deque(as_jobs(todo)), deque[Planned]()
    running: list[Job] = []
    tries: Counter[Path] = Counter()
    errors: list[str] = []
    asked: str | None = None
    recalled = False
    for run in todo:
        _note_effort(run)
    with Interruption() as interruption:
        interruption.wait_for_a_good_moment()
        try:
            while waiting or running or elsewhere:
                if interruption.requested is not None and asked is None:
                    number = signal.Signals(interruption.requested)
                    asked = number.name
                    backend.stop(number)
                if asked or rules.enough(errors):
                    waiting.clear()
                    elsewhere.clear()
                    if not recalled:
                        recalled = True
                        backend.recall()
                while waiting and len(running) < backend.slots:
                    job = waiting.popleft()
                    backend.start(job)
                    running.append(job)
                    for run in job.runs:
                        progress.start(run)
                if elsewhere and not running:  # nothing of ours is left
                    time.sleep(LOOK_AGAIN)
                    waiting.append(Job((elsewhere.popleft(),)))
                ended = backend.poll(0.5)
                for job, _ in ended:
                    running.remove(job)
                for run, code in ((run, code) for job, code in ended for run in job.runs):
                    progress.end(run)
                    _mask_log(run)
                    end = settle(run, code)
                    leaving = interruption.requested is not None
                    if end == "elsewhere":
                        elsewhere.append(run)
                    elif end == "completed":
                        progress.advance(run)
                    elif leaving or end == "not begun":
                        continue
                    elif end in ("killed", "unfinished") and tries[run.folder] < rules.retries:
                        tries[run.folder] += 1
                        _note_effort(run)
                        progress.say(f"again: {run.folder.name}: {reason(run)}")
                        waiting.append(Job((run,)))
                    else:
                        errors.append(reason(run))
                        progress.failed(run, errors[-1])
                progress.refresh([run for job in running for run in job.runs])
        finally:
            backend.close()
    return asked


def _note_effort(run: Planned) -> None:
    """What was tried of a run before now; what another sweep tries from now on is not repeated."""
    try:
        run.config["run"]["seen"] = effort(read_record(run.folder))
    except Damaged:
        run.config["run"]["seen"] = effort(None)


def _mask_log(run: Planned) -> None:
    """Take secrets out of what a run's process printed, which it can no more do itself where it was killed."""
    try:
        with locked(run.folder):
            mask_file(run.folder / "log.txt")
    except Busy:
        return  # its sweep does it


def settle(run: Planned, code: int) -> str:
    """How a run ended: completed, failed, killed, unfinished (it left when asked), not begun, or elsewhere."""
    if code == BUSY:
        return "elsewhere"
    if code == NOT_BEGUN:
        return "not begun"
    try:
        with locked(run.folder):
            if code != 0:
                bury(run.folder, cause_of_death(code))
            record = read_record(run.folder)
    except Busy:
        return "elsewhere"
    if record is None:
        return "killed"
    if record["status"] == "interrupted":
        return "unfinished"
    if record["status"] == "failed":
        return "killed" if record["error"]["type"] == KILLED else "failed"
    return record["status"]


def reason(run: Planned) -> str:
    """Why a run has no result, in one line: the type of its error and the first line of its message."""
    record = read_record(run.folder)
    if record is None:
        last = log_tail(run.folder, 1)
        return "its process died before it could write a record" + (f" ({last[0]})" if last else "")
    error = record["error"] or {}
    return headline(error.get("type"), error.get("message"))
