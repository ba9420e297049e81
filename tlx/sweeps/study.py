"""The plan of a study: every run with its identity and folder, written down before the first one starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from tlx.config.composer import Composed, Composer
from tlx.config.own_code import libraries
from tlx.errors import UserError
from tlx.identity import contents_key, fingerprints, identify, own_names
from tlx.record.collection import collection_put_off
from tlx.record.jsonfile import Damaged, write_json_rows
from tlx.record.masking import masked
from tlx.record.record import Newer, read_record
from tlx.record.versions import versions
from tlx.registry.entries import entry_folder, read_card
from tlx.results.collect import PLAN, read_plan


@dataclass(frozen=True)
class Planned:
    """One run of a study. `config` carries the entry `run`: identity, cell, choices and fingerprints.

    `overrides` are the words on the command line that it was composed from.
    """

    config: dict[str, Any]
    folder: Path
    overrides: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether its folder holds a completed record, and the registry the entry that the run is to make.

        Raises:
            UserError: as `completed`.
        """
        return self.completed and self._registered

    @property
    def completed(self) -> bool:
        """Whether its folder holds a completed record.

        A damaged record is none: the run is done again.

        Raises:
            UserError: the folder holds the record of another run, or one of a newer tlx.
        """
        try:
            record = read_record(self.folder)
        except Damaged:
            return False
        if record is None:
            return False
        if record["identity"] != self.config["run"]["identity"]:
            raise UserError(
                f"the folder {self.folder} belongs to another run ({record['identity'][:10]}): move it away."
            )
        return record["status"] == "completed"

    @property
    def _registered(self) -> bool:
        name = self.config["register"]
        folder = entry_folder(Path(self.config["paths"]["registry"]), name) if name else None
        if folder is None:
            return True
        return (folder / "card.json").is_file() and read_card(folder).get("run") == self.config["run"]["identity"]


def left_alone(runs: Sequence[Planned]) -> tuple[list[Planned], list[str]]:
    """The runs whose records this tlx can read, and a sentence about each of the others: a newer tlx wrote it.

    Raises:
        Newer: (a UserError) no run is left.
    """
    kept, sentences = [], []
    for run in runs:
        try:
            read_record(run.folder)
        except Damaged:
            kept.append(run)  # it is done again
        except Newer as error:
            sentences.append(f"{error} This run is left out: it is neither done again nor counted as done.")
            last = error
        else:
            kept.append(run)
    if runs and not kept:
        raise last
    return kept, sentences


def study_name(config: dict[str, Any], choices: dict[str, Any]) -> str:
    """The study's folder name: `study`, else the experiment's name, else "adhoc"."""
    return config["study"] or choices.get("experiment") or "adhoc"


def plan_run(composed: Composed) -> Planned:
    """Identify one composed run and name its folder.

    Raises:
        UserError: weights or data that the config names are not there.
    """
    return plan_runs([composed])[0]


@collection_put_off()
def plan_runs(composed: Sequence[Composed]) -> list[Planned]:
    """Identify composed runs and name their folders; what runs have in common is looked at once.

    Raises:
        UserError: weights or data that a config names are not there.
    """
    contents: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    planned = []
    for run in composed:
        key = contents_key(run.config)
        if key not in contents:
            contents[key] = fingerprints(run.config), libraries(own_names(run.config))
        planned.append(_planned(run, *contents[key]))
    return planned


def _planned(composed: Composed, prints: dict[str, str], used: dict[str, str]) -> Planned:
    config = dict(composed.config)
    identity = identify(config, composed.choices, prints)
    size = config["dataset"].get("train_size")
    config["run"] = {
        "identity": identity.run,
        "cell": identity.cell,
        "choices": {
            **{k: composed.choices[k] for k in ("model", "strategy", "dataset")},
            "train_size": "all" if size is None else str(size),
            "seed": config["seed"],
        },
        "fingerprints": prints,
        "libraries": used,
        "config_dir": composed.folder,
    }
    root = Path(config["paths"]["runs"]) / study_name(config, composed.choices)
    return Planned(config, root / identity.folder, composed.overrides)


def compose_all(compose: Composer, overrides: Sequence[str], multirun: bool) -> list[Composed]:
    """All runs that a command line names, composed and checked for values.

    Raises:
        UserError: a bad run (nothing was started), sweep axes without -m, or sizes some of which are counts and some
            shares.
    """
    jobs = compose.expand(overrides)
    if not multirun and len(jobs) > 1:
        raise UserError(f"these overrides name {len(jobs)} runs: say `tlx train -m …` for a sweep.")
    composed = compose.all(jobs)
    for key in ("train_size", "val_size"):
        _check_sizes(key, [run.config["dataset"].get(key) for run in composed])
    return composed


def _check_sizes(key: str, values: Sequence[Any]) -> None:
    """Refuse counts beside shares: of 0.1, 0.5, 1 the last is one example, and was meant to be all of them."""
    from tlx.data.splits import parse_size

    sizes = {str(value): parse_size(value, f"dataset.{key}") for value in values if value is not None}
    counts = [text for text, size in sizes.items() if size and size.count]
    shares = [text for text, size in sizes.items() if size and size.fraction]
    if counts and shares:
        meant = "one labelled example" if counts[0] == "1" else f"{counts[0]} labelled examples"
        raise UserError(
            f"dataset.{key}={','.join(sizes)} mixes shares ({', '.join(shares)}) with counts: {counts[0]} is {meant}, "
            "all of them is 1.0. Give shares only, or counts only."
        )


def write_study(runs: Sequence[Planned]) -> None:
    """Add the planned runs to their study's study.json; what other sweeps planned there stays."""
    by_root: dict[Path, list[Planned]] = {}
    for run in runs:
        by_root.setdefault(run.folder.parent, []).append(run)
    for root, members in by_root.items():
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".study.lock"):  # two sweeps may be planned at once
            _add(root / PLAN, members)


def _add(file: Path, members: Sequence[Planned]) -> None:
    known: dict[str, dict[str, Any] | Planned] = {run["identity"]: run for run in read_plan(file.parent)}
    known |= {run.config["run"]["identity"]: run for run in members}
    code = versions()
    rows = (_entry(run, code) if isinstance(run, Planned) else run for run in known.values())
    write_json_rows(file, {"schema": 1, "study": file.parent.name}, "runs", rows)


def _entry(run: Planned, code: dict[str, Any]) -> dict[str, Any]:
    """What the plan says of a run."""
    about = run.config["run"]
    return {
        "identity": about["identity"],
        "cell": about["cell"],
        "folder": run.folder.name,
        "choices": about["choices"],
        "config": masked({k: v for k, v in run.config.items() if k != "run"}),
        "config_dir": about.get("config_dir"),
        "versions": code,
    }


def unfinished(runs: Sequence[Planned]) -> list[Planned]:
    """The runs that are still to be done, or are to be done again (force).

    Raises:
        UserError: a run's folder holds the record of another run.
    """
    return [run for run in runs if not run.finished or run.config["force"]]
