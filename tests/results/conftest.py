"""Small studies on disk, written as a run writes them, with scores chosen by the test."""

import copy
import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tlx.record.jsonfile import write_json
from tlx.record.record import write_record

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


GROUPS = ("stem", "block1", "block2", "block3", "head")
GAINS = {"scratch": 0.0, "scratch_long": 0.02, "random_features": -0.1, "shuffled": 0.04, "feature_extraction": 0.1}
GAINS |= {"full": 0.16, "gradual_unfreezing": 0.2, "lora": 0.15}


def _full_study(study: Study, seeds: int = 3, sizes: Sequence[int] = (2, 10), **more: Any) -> Study:
    """Runs with everything that a report can show: curves, plans, drift, costs, controls, one failed and one missing.

    Each seed has a luck of its own that all strategies share, as runs on the same labels do.
    """
    for size in sizes:
        for strategy in GAINS:
            for seed in range(seeds):
                _full_run(study, strategy, seed, size, **more)
    study.run("lora", seeds, train_size="2_per_class", status="missing", **more)
    error = {"type": "ValueError", "message": "the loss is nan <b>at step 3</b>\nand more", "traceback": "…"}
    study.run("full", seeds, train_size="2_per_class", status="failed", error=error, **more)
    study.plan()
    return study


def _full_run(study: Study, strategy: str, seed: int, size: int, **more: Any) -> None:
    luck = random.Random(f"{strategy} {seed} {size}").gauss(0, 0.012) + random.Random(f"{seed} {size}").gauss(0, 0.03)
    ceiling = 1 - 0.45 / size**0.5
    score = min(0.999, max(0.05, ceiling - 0.1 + GAINS[strategy] / size**0.7 + luck))
    frozen = strategy in ("feature_extraction", "random_features")
    pretrained = strategy not in ("scratch", "scratch_long", "shuffled", "random_features")
    metrics = {"test/accuracy": score, "val/accuracy": score - 0.01}
    if pretrained:
        drift = 0.0 if frozen else GAINS[strategy]
        metrics |= {
            "source/accuracy_before": 0.9,
            "forgetting/accuracy": 2 * drift + abs(luck),
            "recovered/accuracy": 0.8,
        }
        metrics |= {f"cka/{name}": 1 - drift * place / 2 for place, name in enumerate(GROUPS[:-1])}
    steps = 12 * size
    factors = {name: 0.5 ** (len(GROUPS) - 1 - place) for place, name in enumerate(GROUPS)}
    phases: list[dict[str, Any]] = [{"start": 0, "trainable": list(GROUPS), "lr_factor": 1.0}]
    if frozen:
        phases[0]["trainable"] = ["head"]
    if strategy == "gradual_unfreezing":
        phases = [
            {"start": steps * i // 8, "trainable": list(GROUPS[-1 - i :]), "lr_factor": 1.0} for i in range(len(GROUPS))
        ]
    folder = study.run(
        strategy,
        seed,
        train_size=f"{size}_per_class",
        metrics=metrics,
        counts={"train_labels": 10 * size, "trainable_share": 0.01 if frozen else 1.0, "steps": steps, "epochs": 12},
        seconds={"train": size * (0.2 if frozen else 0.5), "total": 1 + size * (0.2 if frozen else 0.5)},
        cost={"flops_train": size * (1e9 if frozen else 3e9) * (5 if strategy == "scratch_long" else 1)},
        plan={
            "groups": [
                {"name": n, "depth": i, "lr": 0.001 * (factors[n] if strategy == "gradual_unfreezing" else 1.0)}
                for i, n in enumerate(GROUPS)
            ],
            "phases": phases,
            "steps": steps,
        },
        **more,
    )
    lines = ["epoch,step,train/loss,val/accuracy,val/loss"]
    for epoch in range(12):
        step, progress = size * (epoch + 1), 1 - 0.6**epoch
        lines.append(f"{epoch},{step - 1},{2 - progress},,")
        lines.append(f"{epoch},{step},,{0.1 + (score - 0.1) * progress:.6f},{2 - progress}")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def rich_study(study: Study) -> Study:
    """A study with everything that a report can show."""
    return _full_study(study)


@pytest.fixture
def full_study() -> Callable[..., Study]:
    """The function that writes such studies: full_study(study, seeds, sizes, dataset=…, model=…)."""
    return _full_study
