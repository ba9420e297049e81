"""A run's folder from attempt to attempt: locked while it is worked on, tidied before, marked when a process died."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlx.record.jsonfile import Damaged
from tlx.record.record import KILLED, left_unfinished, read_record, write_record
from tlx.record.running import PROGRESS


def make_ready(folder: Path) -> dict[str, Any] | None:
    """Make a locked folder ready for `tlx.train.run`; returns the record that was there.

    What an interrupted or killed run left is kept where a checkpoint lets it go on, and dropped where none does. An
    attempt that ended, well or badly, moves to `attempt-N` within the folder.
    """
    from tlx.fit.checkpoints import resume_point

    try:
        record = read_record(folder)
    except Damaged:
        for part in [*_parts(folder), folder / "record.json"]:
            _remove(part)
        return None
    if record is None:
        return None
    if left_unfinished(record):
        (folder / PROGRESS).unlink(missing_ok=True)  # the process that wrote it is gone
        if resume_point(folder / "checkpoints") is None:
            for part in _parts(folder):
                _remove(part)
        return record
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    keep = folder / f"attempt-{record['attempt']}"
    keep.mkdir(exist_ok=True)
    for part in _parts(folder):
        part.rename(keep / part.name)
    # The record is copied, not moved: the new attempt takes its number from it, and there is always one.
    shutil.copy2(folder / "record.json", keep / "record.json")
    return record


def _remove(part: Path) -> None:
    shutil.rmtree(part) if part.is_dir() else part.unlink()


def _parts(folder: Path) -> list[Path]:
    """What the current attempt has written, but for its record and its log, which goes on."""
    kept = ("record.json", "log.txt")
    return [p for p in folder.iterdir() if p.name not in kept and not p.name.startswith((".", "attempt-"))]


def bury(folder: Path, reason: str) -> None:
    """Mark the run in a locked folder, whose process died without a word, as failed for that reason."""
    record = read_record(folder)
    if record is None or record["status"] != "running":
        return  # it had said itself how it ended
    now = datetime.now(UTC)
    if record.get("sittings"):
        sitting = record["sittings"][-1]
        sitting["ended"] = now.isoformat(timespec="milliseconds")
        spent = (now - datetime.fromisoformat(sitting["started"])).total_seconds()
        record["seconds"]["total"] = record["seconds"].get("total", 0.0) + max(0.0, spent)  # clocks may be set back
    record["status"] = "failed"
    record["error"] = {"type": KILLED, "message": reason, "traceback": None}
    write_record(folder, record)
