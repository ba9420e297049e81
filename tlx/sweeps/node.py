"""`python -m tlx.sweeps.node FILE`: do the runs that a JSON file describes; what a job of a cluster starts.

The file holds `runs`, each with its `config` (resolved) and `folder` (absolute), and `place` (see
`tlx.sweeps.worker.Place`). The exit codes are those of `tlx.sweeps.worker`. The end of standard input means that
whoever started it is gone: the runs leave, too.
"""

import json
import signal
import sys
from pathlib import Path

from tlx.record.masking import unmasked
from tlx.sweeps import worker
from tlx.sweeps.jobs import Job
from tlx.sweeps.study import Planned


def main(file: Path) -> None:
    """The whole life of the process."""
    # The scheduler's warning goes to all processes of a job; the one that started this one answers it.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    given = json.loads(file.read_text())
    if not sys.stdin.isatty():
        worker.leave_with(sys.stdin.fileno())
    runs = tuple(Planned(unmasked(run["config"]), Path(run["folder"])) for run in given["runs"])
    worker.main(Job(runs), worker.Place(**given["place"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
