"""Find the runs below some folders: those with a record, and those that were planned and have none."""

import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.errors import UserError
from tlx.record.collection import collection_put_off
from tlx.record.jsonfile import Damaged, read_json_rows
from tlx.record.record import NAME, SCHEMA, Newer, read_record
from tlx.results.curves import curve, steps_to
from tlx.results.naming import flatten, lookup, natural

if TYPE_CHECKING:
    import pandas

PLAN = "study.json"
ROW = '{"identity": "'  # how a run begins in a plan
PUBLISHED = "records"  # experiments/<study>/records: what `scripts/publish_study.py` makes
STATES = ("completed", "failed", "interrupted", "running", "damaged", "missing")  # best known first
ATTEMPT = "attempt-"  # older attempts of a run lie in `<run folder>/attempt-N/`


@dataclass(frozen=True)
class Run:
    """One run: what was asked for and, when it has begun, its record.

    `status` is the record's, or "missing" (planned, no record) or "damaged" (it cannot be read, `problem` says why).
    `record` is {} then.
    """

    identity: str
    cell: str
    status: str
    choices: dict[str, Any]
    config: dict[str, Any]
    folder: Path
    record: dict[str, Any] = field(default_factory=dict, repr=False)
    problem: str | None = None

    @property
    def study(self) -> str:
        """The name of the study's folder; a published study is called by the folder that its `records` lie in."""
        place = self.folder.parent
        return place.parent.name if place.name == PUBLISHED else place.name

    @property
    def seed(self) -> Any:
        return self.choices.get("seed", self.config.get("seed"))

    def metric(self, name: str) -> float | None:
        """The metric's value, or None when the run has none or it was not finite."""
        value = self.record.get("metrics", {}).get(name)
        return value if value is None or math.isfinite(value) else None  # 1e999 is JSON, and infinite


def collect(paths: Sequence[str | Path] | str | Path) -> list[Run]:
    """The runs below `paths`, each once, in a fixed order (study, choices, seed, identity).

    A path is a run's folder, a study's folder, or any folder above. Older attempts are left out. Runs that a study's
    plan names and that have no record come as "missing". A run that lies in two studies comes once, in its best
    state. A record that is damaged or of a newer schema becomes a run with status "damaged" (its file is named in
    `problem`), so that one bad file does not hide the others; so does such a plan.

    Raises:
        UserError: no such folder; neither a record nor a plan below a path.
    """
    found: dict[str, Run] = {}
    for path in [paths] if isinstance(paths, str | Path) else paths:
        root = _root(Path(path))
        with collection_put_off():
            below = list(_below(root, set()))
        for run in below:
            key = run.identity or str(run.folder)
            found[key] = min(found.get(key, run), run, key=_preference)
        if not below:
            raise UserError(f"no runs in {path}: no {NAME} and no {PLAN} below it. {_listing(root)}")
    return sorted(found.values(), key=_order)


def _root(path: Path) -> Path:
    if path.name in (NAME, PLAN) and path.is_file():
        path = path.parent
    if not path.is_dir():
        parent = next(folder for folder in [*path.parents, Path()] if folder.is_dir())
        raise UserError(f"no such folder: {path}. {_listing(parent)}")
    return path.resolve()


def _listing(folder: Path) -> str:
    folder = folder.resolve()
    visible = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    names = sorted((entry.name + "/" * entry.is_dir() for entry in visible), key=natural)
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"{folder} holds: {shown}." if names else f"{folder} is empty."


def _preference(run: Run) -> tuple:
    """Smaller is better known; among equals the folder that sorts first, so that the answer does not depend on luck."""
    return STATES.index(run.status), str(run.folder)


def _order(run: Run) -> tuple:
    names = ("model", "dataset", "train_size", "strategy", "seed")
    return run.study, *(natural(run.choices.get(name)) for name in names), run.identity, str(run.folder)


def _below(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Run]:
    """The runs in `folder` and below; `seen` holds folders already visited, links may make circles."""
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    run = run_in(folder)
    if run is not None:
        yield run
        return
    damaged: dict[Path, Run] = {}
    known: set[str] = set()
    with os.scandir(folder) as entries:
        below = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith((".", ATTEMPT)))
    for name in below:
        for run in _below(folder / name, seen):
            if run.status == "damaged" and not run.identity:
                damaged[run.folder] = run
            else:
                known.add(run.identity)
                yield run
    try:
        planned = _planned(folder, known)
    except (Damaged, Newer) as error:
        planned = []
        yield Run("", "", "damaged", {}, {}, folder / PLAN, problem=str(error))
    for run in planned:
        bad = damaged.pop(run.folder, None)
        yield replace(run, status="damaged", problem=bad.problem) if bad else run
    yield from damaged.values()


def run_in(folder: Path) -> Run | None:
    """The run whose record lies in `folder` itself; None when there is no record."""
    try:
        record = read_record(folder)
    except (Damaged, Newer) as error:
        return Run("", "", "damaged", {}, {}, folder, problem=str(error))
    if record is None:
        return None
    return Run(
        identity=record["identity"],
        cell=record["cell"],
        status=record["status"],
        choices=record["choices"],
        config=record["config"],
        folder=folder,
        record=record,
    )


def _planned(folder: Path, known: Collection[str]) -> list[Run]:
    """The runs named in the plan that lies in `folder`, each as "missing", but for those with a `known` identity."""
    return [
        Run(
            identity=entry["identity"],
            cell=entry["cell"],
            status="missing",
            choices=entry["choices"],
            config=entry.get("config") or {},
            folder=folder / entry["folder"],
        )
        for entry in read_plan(folder, known)
    ]


def read_plan(folder: Path, known: Collection[str] = ()) -> list[dict[str, Any]]:
    """The runs that the study's plan in `folder` names: identity, cell, folder, choices, config; [] without a plan.

    Of ten thousand runs the configs are a hundred megabytes: those with a `known` identity are left out unread.

    Raises:
        Damaged: (a UserError) the file is cut short or is no plan.
        Newer: (a UserError) a newer tlx wrote it.
    """
    path = folder / PLAN

    def unknown(row: str) -> bool:
        return not row.startswith(ROW) or row[len(ROW) :].partition('"')[0] not in known

    plan = read_json_rows(path, "runs", unknown)
    if plan is None:
        return []
    if isinstance(plan.get("schema"), int) and plan["schema"] > SCHEMA:
        raise Newer(f"{path} has schema {plan['schema']}; this tlx reads up to {SCHEMA}. Update tlx to read it.")
    runs: Any = plan.get("runs")
    kinds = {"identity": str, "cell": str, "folder": str, "choices": dict}
    whole = isinstance(runs, list) and all(
        isinstance(entry, dict)
        and all(isinstance(entry.get(key), kind) for key, kind in kinds.items())
        and isinstance(entry.get("config"), dict | None)
        for entry in runs
    )
    if not whole:
        raise Damaged(
            f"{path} is damaged: it needs 'runs', each with {', '.join(kinds)}. Move it away and plan the study again."
        )
    return list(runs)


def frame(runs: Iterable[Run]) -> "pandas.DataFrame":
    """One row a run, for notebooks; nothing is averaged.

    Columns: identity, cell, study, folder, status, attempt, error, the choices by name, the metrics by name, and
    `counts.*`, `seconds.*`, `memory.*`, `cost.*`, `machine.*`, `versions.*`, `config.*`. `steps_to_95` and
    `seconds_to_95` (as a share of the training's) tell when validation had made 95 % of its way from its first score
    to its best.
    """
    import pandas

    rows = []
    for run in runs:
        row: dict[str, Any] = {
            "identity": run.identity,
            "cell": run.cell,
            "study": run.study,
            "folder": str(run.folder),
            "status": run.status,
            "attempt": run.record.get("attempt"),
            "error": (run.record.get("error") or {}).get("message", run.problem),
            **run.choices,
            **run.record.get("metrics", {}),
        }
        for section in ("counts", "seconds", "memory", "cost", "machine", "versions"):
            row |= flatten(run.record.get(section, {}), section)
        monitor = lookup(run.config, "dataset.monitor") or "accuracy"
        higher = run.record.get("directions", {}).get(monitor) != "lower"
        row["steps_to_95"] = steps = steps_to(curve(run.folder, f"val/{monitor}"), 0.95, higher)
        if steps is not None and row.get("counts.steps") and row.get("seconds.train"):
            row["seconds_to_95"] = row["seconds.train"] * steps / row["counts.steps"]
        rows.append(row | flatten(run.config, "config"))
    return pandas.DataFrame(rows)
