"""What is asked of a finished run that it was not asked when it was done: computed from what it kept, or said."""

from pathlib import Path
from typing import Any

from tlx.record.record import read_record, write_record
from tlx.results.predictions import CLOSE, NoPredictions, read_predictions


def lacking(config: dict[str, Any], record: dict[str, Any]) -> list[str]:
    """Names of metrics (test/auroc) and measures that `config` asks for and the record of a completed run lacks."""
    names = [f"{part}/{name}" for part in ("test", "val") for name in config["dataset"]["metrics"]]
    known = record["config"].get("measures") or []
    return [n for n in names if n not in record["metrics"]] + [m for m in config["measures"] if m not in known]


def complete(config: dict[str, Any], folder: Path) -> tuple[list[str], list[str]]:
    """Add to a completed run's record what can be computed from its stored predictions; its folder is locked.

    `computed_later` in the record names it, with the version of tlx that did. Returns the names computed, and those
    that cannot be had without training.
    """
    record = read_record(folder)
    wanted = [] if record is None else lacking(config, record)
    names = [name.removeprefix("test/") for name in wanted if name.startswith("test/")]
    found = _from_predictions(record, folder, names) if record is not None and names else {}
    if found and record is not None:
        from tlx.record.versions import VERSION
        from tlx.tasks.metrics import directions

        record["metrics"] |= found
        record["directions"] = record.get("directions", {}) | directions(names)
        record["computed_later"] = record.get("computed_later", {}) | dict.fromkeys(found, VERSION)
        write_record(folder, record)
    return list(found), [name for name in wanted if name not in found]


def _from_predictions(record: dict[str, Any], folder: Path, names: list[str]) -> dict[str, float]:
    """The metrics of that name; {} where the predictions are gone, or not those of which the record holds the loss."""
    import torch

    from tlx.tasks.classification import Classification

    try:
        _, labels, logits, _ = read_predictions(folder)
    except NoPredictions:
        return {}
    task = Classification(1, record["labels"], names)
    scores = task.scored(torch.tensor(logits, dtype=torch.float32), torch.tensor(labels)).compute()
    loss, known = scores.pop("loss"), record["metrics"].get("test/loss")
    if known is None or abs(loss - known) > CLOSE * max(1.0, abs(known)):
        return {}
    return {f"test/{name}": score for name, score in scores.items()}
