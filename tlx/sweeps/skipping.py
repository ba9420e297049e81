"""Cells of a grid that a study leaves out: conditions on choices and settings (`skip_if` in an experiment's yaml)."""

from typing import Any

from tlx.config.composer import Composed
from tlx.errors import UserError, unknown
from tlx.results.naming import flatten

WHY = "why"


def why_skipped(run: Composed) -> str | None:
    """The reason for which a run is left out; None when it is not.

    `skip_if` is a list of conditions. A condition maps choices (`strategy: lora`) or settings (`dataset.train_size:
    2_per_class`) to a value or a list of values, and applies where all of them fit; `why` is its reason.

    Raises:
        UserError: a condition without a setting, or one on a setting that the run does not have.
    """
    known: dict[str, Any] = flatten({k: v for k, v in run.config.items() if k != "skip_if"}) | run.choices
    for condition in run.config["skip_if"]:
        if not isinstance(condition, dict) or not set(condition) - {WHY}:
            raise UserError(f"skip_if: {condition} must map settings to values, such as {{strategy: lora}}.")
        for key in condition:
            if key != WHY and key not in known:
                raise unknown("setting in skip_if", key, sorted(known))
        if all(_fits(known[key], wanted) for key, wanted in condition.items() if key != WHY):
            words = ", ".join(f"{key}={wanted}" for key, wanted in condition.items() if key != WHY)
            return condition.get(WHY) or words
    return None


def _fits(value: Any, wanted: Any) -> bool:
    """Equal, or among those wanted; compared as they are written, so that 8 is "8"."""
    choices = wanted if isinstance(wanted, list) else [wanted]
    return any(value == choice or str(value) == str(choice) for choice in choices)
