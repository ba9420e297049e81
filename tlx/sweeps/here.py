"""One run in this process."""

import time

from tlx.record.record import headline, read_record
from tlx.record.running import Busy
from tlx.sweeps.bars import StudyProgress
from tlx.sweeps.engine import LOOK_AGAIN
from tlx.sweeps.study import Planned, unfinished
from tlx.sweeps.worker import do


def do_here(run: Planned) -> None:
    """Do one run in this process, with a bar on a terminal; its record says how it ended."""
    if not unfinished([run]):
        return
    from tlx.sweeps.epoch_bar import EpochBar

    with StudyProgress(1, done=0) as progress:
        progress.start(run)
        while True:
            try:
                do(run, [EpochBar(progress, run)])
            except Busy as busy:
                progress.say(f"{busy}: waiting for it")
                time.sleep(LOOK_AGAIN)
                continue
            except Exception as error:
                progress.failed(run, headline(type(error).__name__, str(error)))
            return


def why_not_done(run: Planned) -> str:
    """What a run's record says of its failure."""
    record = read_record(run.folder)
    error = (record or {}).get("error") or {"type": "no record", "message": "the run ended before it wrote one"}
    return f"{error['type']}: {error['message']} ({run.folder / 'record.json'})"
