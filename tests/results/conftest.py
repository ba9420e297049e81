"""Small studies on disk, written as a run writes them, with scores chosen by the test."""

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tlx.results.jsonfile import write_json
from tlx.results.record import write_record

CONFIG: dict[str, Any] = {
    "seed": 0,
    "selection": "best",
    "model": {"name": "tiny_vision", "width": 32},
    "dataset": {
        "name": "digits",
        "train_size": "2_per_class",
        "monitor": "accuracy",
        "split_seed": 0,
        "subset_seed": 0,
    },
    "strategy": {"name": "full", "init": "pretrained", "freezing": {"until": None}},
    "optimizer": {"name": "adamw", "lr": 0.001, "betas": [0.9, 0.999]},
    "scheduler": {"name": "linear", "warmup": 0.1},
    "objective": None,
    "paths": {"runs": "runs"},
    "logger": {"name": "csv"},
}


class Study:
    """A study's folder: `run` writes one record, `runs` one a seed, `plan` the study's plan of all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[dict[str, Any]] = []

    def run(
        self,
        strategy: str = "full",
        seed: int = 0,
        score: float | None = 0.5,
        *,
        model: str = "tiny_vision",
        dataset: str = "digits",
        train_size: Any = "2_per_class",
        config: dict[str, Any] | None = None,
        choices: dict[str, Any] | None = None,
        status: str = "completed",
        **sections: Any,
    ) -> Path:
        """Write one run and return its folder; `score` is its test and its validation accuracy.

        `config` changes settings by dotted name; a dict in `sections` is merged into that section of the record. With
        status "missing" the run is only planned.
        """
        settings = copy.deepcopy(CONFIG)
        settings["seed"] = settings["dataset"]["subset_seed"] = seed
        settings["model"]["name"], settings["dataset"]["name"] = model, dataset
        settings["dataset"]["train_size"], settings["strategy"]["name"] = train_size, strategy
        if strategy == "scratch":
            settings["strategy"]["init"] = "scratch"
        for name, value in (config or {}).items():
            *path, last = name.split(".")
            place = settings
            for part in path:
                if not isinstance(place.get(part), dict):
                    place[part] = {}
                place = place[part]
            place[last] = value
        chosen = {"model": model, "strategy": strategy, "dataset": dataset, "train_size": train_size, **(choices or {})}
        changes = "".join(f"-{name}={value}" for name, value in sorted({**(config or {}), **(choices or {})}.items()))
        cell = sections.pop("cell", f"{model}-{strategy}-{dataset}-{train_size}{changes}")
        identity = sections.pop("identity", f"{cell}-{seed}")
        record: dict[str, Any] = {
            "identity": identity,
            "cell": cell,
            "status": status,
            "choices": {**chosen, "seed": seed},
            "config": settings,
            "fingerprints": {"data": "d0", "weights": "none" if strategy == "scratch" else "w0"},
            "metrics": {"test/accuracy": score, "val/accuracy": score} if status == "completed" else {},
            "directions": {"accuracy": "higher", "macro_f1": "higher", "loss": "lower"},
            "counts": {"trainable_share": 1.0, "test_reads": 1},
            "seconds": {"total": 3.0},
            "memory": {"peak_rss_bytes": 10**9},
            "versions": {"code": "abc", "dirty": False},
            "machine": {"threads": 2, "device": "cpu"},
            "selection": "best",
            "error": None,
            "started": "2026-01-01T00:00:00",
            "attempt": 1,
        }
        for name, value in sections.items():
            record[name] = {**record[name], **value} if isinstance(record.get(name), dict) else value
        folder = self.folder / f"{strategy}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
        entry = {name: record[name] for name in ("identity", "cell", "choices", "config")}
        self.entries.append({**entry, "folder": folder.name})
        if status != "missing":
            write_record(folder, record)
        return folder

    def runs(self, strategy: str, scores: Sequence[float | None], **more: Any) -> None:
        """One completed run a score, with seeds 0, 1, 2, …"""
        for seed, score in enumerate(scores):
            self.run(strategy, seed, score, **more)

    def beside(self, name: str) -> "Study":
        """An empty study in the same root."""
        return Study(self.folder.with_name(name))

    def plan(self) -> None:
        """Write study.json with every run so far."""
        write_json(self.folder / "study.json", {"schema": 1, "study": self.folder.name, "runs": self.entries})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "runs" / "demo")
