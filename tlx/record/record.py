"""The record: one JSON file in a run's folder that says what the run did.

It alone suffices to run again and to fill every table. Schema 1 holds `identity` (hash of all that can change the
result), `cell` (the same without the seed), `status`, `choices`, `config` (resolved), `fingerprints`, `metrics` (only
what the identity determines), `directions` ("higher" or "lower", by a metric's name or its last part), `plan` (layer
groups with learning rates, phases with first steps), `counts`, `seconds`, `memory` (bytes), `cost` (operations, speed),
`versions`, `config_dir` (the user's folder of configs), `machine`, `selection`, `predictions` (of the test part in
numbers: see `tlx.results.collapse`), `error`, `started` (ISO time), `attempt`, `halvings` (of the batch, for want of
memory) and `sittings` (when and where it was worked on: one more each time it was taken up).

JSON knows no NaN and no infinity. Such a number is stored as null, and `non_finite` names its place and what it was, so
that a diverged loss is neither lost nor averaged: `{"metrics": {"test/loss": null}, "non_finite":
{"metrics.test/loss": "nan"}}`.
"""

import json
from pathlib import Path
from typing import Any

from tlx.errors import UserError
from tlx.record.jsonfile import Damaged, plain, read_json, write_json
from tlx.record.masking import masked

SCHEMA = 1
NAME = "record.json"
KILLED = "Killed"  # the error type of a run one of whose processes was ended from outside
FULL = "DiskFull"  # the error type of a run that had no space to write to
STATUSES = ("completed", "failed", "interrupted", "running")
REQUIRED = {"identity": str, "cell": str, "status": str, "choices": dict, "config": dict}
SECTIONS = ("fingerprints", "metrics", "directions", "counts", "seconds", "memory", "cost", "versions", "machine")
# What tables and figures read, by section: of what kind it is where it is there and not null, all of it or these names.
NUMBER = (int, float)
COUNTS: tuple[str, ...] = ("train_labels", "selection_labels", "test_labels", "trainable_share", "steps", "epochs")
COUNTS += ("test_reads", "test_reads_early")
VALUES: dict[str, tuple[tuple[type, ...], tuple[str, ...], str]] = {
    "metrics": (NUMBER, (), "number"),
    "directions": ((str,), (), "word"),
    "counts": (NUMBER, COUNTS, "number"),
    "seconds": (NUMBER, ("total", "train", "encode"), "number"),
    "seconds_alone": (NUMBER, ("total",), "number"),
    "memory": (NUMBER, ("peak_rss_bytes",), "number"),
    "cost": (NUMBER, ("flops_train",), "number"),
    "versions": ((str, *NUMBER), (), "word"),
    "predictions": (NUMBER, (), "number"),
    "machine": ((str, *NUMBER), (), "word or number"),
    "splits": ((str,), (), "word"),
}
# Other parts, with what they are where they are there and not null.
PARTS: dict[str, type] = {
    "seconds_alone": dict,
    "predictions": dict,
    "splits": dict,
    "split": str,
    "labels": list,
    "plan": dict,
    "error": dict,
    "sittings": list,
    "selection": str,
    "config_dir": str,
    "halvings": int,
    "attempt": int,
    "warnings": list,
}


class Newer(UserError):
    """A file that a newer tlx wrote. It is whole, so that nothing may be written over it."""


def write_record(folder: Path, record: dict[str, Any]) -> Path:
    """Write `record` to `folder`/record.json, whole or not at all, and return the file's path.

    `schema` is set here. NaN and infinities are stored as null and named in `non_finite`; passwords and tokens stay out
    (`tlx.record.masking`); the caller's dictionary is not changed.

    Raises:
        TypeError: a value that JSON cannot hold, with its place.
        OSError: the folder cannot be written; an older record stays as it was.
    """
    data, lost = plain({**record, "schema": SCHEMA})
    data |= {part: masked(data[part]) for part in ("config", "error", "warnings") if part in data}
    problem = _problem(data)
    assert problem is None, f"not a record: {problem}"
    if lost:
        data["non_finite"] = {**data.get("non_finite", {}), **lost}
    path = Path(folder) / NAME
    write_json(path, data)
    return path


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record in `folder`, or None when there is none.

    Raises:
        Damaged: (a UserError) the file is cut short or is no record; the message names it.
        Newer: (a UserError) a newer tlx wrote it.
    """
    path = Path(folder) / NAME
    record = read_json(path)
    if record is None:
        return None
    schema = record.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise Newer(f"{path} has schema {schema}; this tlx reads records up to schema {SCHEMA}. Update tlx to read it.")
    problem = f"schema is {schema!r}" if schema != SCHEMA else _problem(record)
    if problem:
        raise Damaged(f"{path} is damaged ({problem}). Remove it and run again.")
    return record


def left_unfinished(record: dict[str, Any]) -> bool:
    """Whether the run was cut short from outside, so that it can be taken up where it was left."""
    return record["status"] in ("running", "interrupted") or (record.get("error") or {}).get("type") in (KILLED, FULL)


def headline(kind: str | None, message: str | None) -> str:
    """An error in one line: `ValueError: the loss is nan`, its type and the first line of its message."""
    lines = str(message or "").strip().splitlines()
    return ": ".join(part for part in (kind, lines[0] if lines else "") if part)


def effort(record: dict[str, Any] | None) -> list[int]:
    """How often the run was tried, to compare: its attempts, and the sittings of the last one."""
    return [0, 0] if record is None else [record.get("attempt", 1), len(record.get("sittings", []))]


def _problem(record: dict[str, Any]) -> str | None:
    """What keeps `record` from being one, or None."""
    for key, kind in REQUIRED.items():
        if not isinstance(record.get(key), kind):
            return f"'{key}' is missing" if key not in record else f"'{key}' is no {kind.__name__}"
    for key in SECTIONS:
        if not isinstance(record.get(key, {}), dict):
            return f"'{key}' is no dict"
    for key, part in PARTS.items():
        value = record.get(key)
        if value is not None and not isinstance(value, part):
            return f"'{key}' is no {part.__name__}"
    for section, (kinds, names, what) in VALUES.items():
        values = record.get(section) or {}
        for name in names or values:
            value = values.get(name)
            if value is not None and not isinstance(value, kinds):
                return f"'{section}.{name}' is {json.dumps(value)[:40]}, no {what}"
    if not _drawable(record.get("plan") or {}):
        return "'plan' is no list of groups with names and of phases with starts"
    if record["status"] not in STATUSES:
        return f"status is '{record['status']}', not one of {', '.join(STATUSES)}"
    return None


def _drawable(plan: dict[str, Any]) -> bool:
    """Whether the groups have names, and the phases starts and names of groups, where there are any."""
    groups, phases, steps = plan.get("groups") or [], plan.get("phases") or [], plan.get("steps") or 0
    return (
        isinstance(steps, int)
        and isinstance(groups, list)
        and isinstance(phases, list)
        and all(isinstance(group, dict) and isinstance(group.get("name"), str) for group in groups)
        and all(isinstance(phase, dict) and isinstance(phase.get("start") or 0, int) for phase in phases)
        and all(isinstance(phase.get("trainable", []), list) for phase in phases)
    )
