"""How long `tlx table` takes on 10,000 records, and how much memory: 4 models × 5 data sets × 5 sizes × 10 strategies.

`make bench` runs this. The records are synthetic and as large as real ones; scores follow a simple law with noise, so
that cells differ and every column has something to compute.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import commands
import numpy as np

MODELS = ("tiny_vision", "resnet18", "vit_small", "squeezenet")
DATASETS = ("digits", "letters", "cifar10", "caltech20", "fsdd")
SIZES = (10, 20, 50, 100, 200)
STRATEGIES = ("scratch", "full", "feature_extraction", "partial", "gradual_unfreezing", "ulmfit", "lp_ft", "lora")
STRATEGIES += ("discriminative", "mixout")
SEEDS = 10
TLX = [sys.executable, "-c", "from tlx.cli import main; main()", "table"]
LIMITS = {"seconds": 5.0, "GB": 1.0}


def config(model: str, strategy: str, dataset: str, size: int, seed: int) -> dict[str, Any]:
    """A resolved config with the settings of a real one."""
    scratch = strategy == "scratch"
    return {
        "seed": seed,
        "study": "bench",
        "register": None,
        "force": False,
        "selection": "best",
        "cache": "off",
        "keep_checkpoints": "best",
        "paths": {"runs": "runs", "registry": "registry", "cache": ".cache"},
        "model": {
            "_target_": "tlx.models.vision.VisionBackbone",
            "modality": "image",
            "arch": model,
            "path": f"registry:{model}",
            "revision": None,
            "size": 32,
            "channels": 1,
            "mean": [0.5],
            "std": [0.5],
            "pooling": None,
            "options": {},
            "lr": {"scratch": 0.01, "full": 0.003, "head": 0.01, "adapter": 0.01},
        },
        "dataset": {
            "_target_": "tlx.data.dataset.Dataset",
            "modality": "image",
            "task": "classification",
            "path": f"/data/{dataset}",
            "columns": {"input": "image", "label": "label"},
            "splits": {"train": "all", "validation": None, "test": None},
            "train_size": size,
            "val_size": 100,
            "validation_share": 0.15,
            "test_share": 0.2,
            "split_seed": 0,
            "subset_seed": None,
            "sampler": "shuffle",
            "augmentation": None,
            "metrics": ["accuracy", "macro_f1"],
            "monitor": "accuracy",
        },
        "optimizer": {
            "_target_": "torch.optim.AdamW",
            "lr": 0.01 if scratch else 0.003,
            "weight_decay": 0.01,
            "betas": [0.9, 0.999],
            "eps": 1e-08,
        },
        "scheduler": {"_target_": "tlx.schedules.linear", "warmup": 0.1},
        "trainer": {
            "max_epochs": 30,
            "batch_size": 16,
            "eval_batch_size": 128,
            "accumulate": 1,
            "gradient_clip": 1.0,
            "precision": "32-true",
            "accelerator": "cpu",
            "devices": 1,
            "threads": 1,
            "workers": 0,
        },
        "strategy": {
            "_target_": "tlx.strategies.strategy.TransferStrategy",
            "init": "scratch" if scratch else "pretrained",
            "freezing": {"_target_": f"tlx.strategies.freezing.{strategy}", "share": 0.5},
            "learning_rates": {"head_factor": 1.0, "decay": 0.8},
            "adapter": None,
            "mixout": None,
        },
        "logger": {"wandb": None},
    }


def write_study(folder: Path) -> int:
    """Write the records below `folder`, one folder a run, and return how many there are."""
    rng = np.random.default_rng(0)
    names = ("before/val", "val", "test", "source")
    written = 0
    for model in MODELS:
        for dataset in DATASETS:
            for size in SIZES:
                for strategy in STRATEGIES:
                    cell = hashlib.sha256(f"{model}-{dataset}-{size}-{strategy}".encode()).hexdigest()
                    middle = 0.5 + 0.08 * np.log10(size) + 0.01 * STRATEGIES.index(strategy)
                    for seed in range(SEEDS):
                        score = float(np.clip(middle + rng.normal(0, 0.02), 0, 1))
                        identity = hashlib.sha256(f"{cell}-{seed}".encode()).hexdigest()
                        split = hashlib.sha256(f"{dataset}-{size}-{seed}".encode()).hexdigest()[:16]
                        record = {
                            "schema": 1,
                            "identity": identity,
                            "cell": cell,
                            "status": "completed",
                            "choices": {
                                "model": model,
                                "strategy": strategy,
                                "dataset": dataset,
                                "train_size": size,
                                "seed": seed,
                            },
                            "fingerprints": {"data": dataset * 5, "preprocessing": "", "weights": model * 5},
                            "config": config(model, strategy, dataset, size, seed),
                            "metrics": {f"{n}/{m}": score for n in names for m in ("accuracy", "macro_f1", "loss")}
                            | {"forgetting/accuracy": 0.1},
                            "directions": {"accuracy": "higher", "macro_f1": "higher", "loss": "lower"},
                            "counts": {
                                "parameters": 373370,
                                "trainable_share": 1.0,
                                "train_labels": size,
                                "selection_labels": 100,
                                "test_labels": 359,
                                "test_reads": 1,
                                "test_reads_early": 0,
                                "epochs": 30,
                            },
                            "seconds": {"train": 5.2, "evaluate": 0.2, "total": 5.6},
                            "memory": {"peak_rss_bytes": 1326014464},
                            "versions": {"python": "3.11.7", "tlx": "0.1.0", "code": "7" * 40, "dirty": False},
                            "machine": {"threads": 1, "device": "cpu", "cores": 2},
                            "selection": "best",
                            "attempt": 1,
                            "started": "2026-01-01T00:00:00+00:00",
                            "error": None,
                            "labels": [str(label) for label in range(10)],
                            "split": split,
                        }
                        place = folder / f"{model}-{strategy}-{dataset}-{size}-seed{seed}-{identity[:10]}"
                        place.mkdir(parents=True)
                        (place / "record.json").write_text(json.dumps(record, indent=1))
                        written += 1
    return written


def measure(folder: Path, *options: str) -> dict[str, float]:
    """Seconds on the clock and of the processor (best of three) and peak memory of one `tlx table`."""
    found = [commands.measure([*TLX, str(folder), *options])[1] for _ in range(3)]
    return {key: min(each[key] for each in found) for key in ("seconds", "processor")} | {"GB": found[-1]["GB"]}


def main() -> None:
    """Print what each format takes; exit 1 where a limit is broken."""
    broken = False
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "runs" / "bench"
        records = write_study(study)
        for options in (["--format", "json"], ["--format", "md"], ["--compare", "lora", "full"]):
            found = measure(study, *options)
            broken |= commands.report(f"tlx table {' '.join(options)} on {records} records", found, LIMITS)
    sys.exit(broken)


if __name__ == "__main__":
    main()
