"""Where a GPU's memory does not suffice for a batch: half of it twice (`trainer.on_out_of_memory=halve`)."""

from typing import TYPE_CHECKING, Any

from tlx.errors import UserError
from tlx.record.record import left_unfinished

if TYPE_CHECKING:
    from tlx.module import TransferModule


def can_halve(config: dict[str, Any]) -> bool:
    """Whether the run is allowed to, and its batches can be divided by two."""
    options = config["trainer"]
    return options["on_out_of_memory"] == "halve" and options["batch_size"] > 1 and options["batch_size"] % 2 == 0


def halve(config: dict[str, Any], times: int = 1) -> dict[str, Any]:
    """The same run with batches of half the size and twice the accumulation; `run.halvings` counts them."""
    options, run = config["trainer"], config["run"]
    smaller = {"batch_size": options["batch_size"] >> times, "accumulate": options["accumulate"] << times}
    return config | {"trainer": options | smaller, "run": run | {"halvings": run.get("halvings", 0) + times}}


def halved_before(config: dict[str, Any], record: dict[str, Any] | None) -> dict[str, Any]:
    """The config to take a run up with: its batches are as small as they were when it was left."""
    times = record.get("halvings", 0) if record and left_unfinished(record) else 0
    return halve(config, times) if times else config


def check_halving(config: dict[str, Any], module: "TransferModule") -> None:
    """See that halving the batch changes nothing but dropout masks.

    Raises:
        UserError: batch normalisation is trained, whose statistics are of a batch, or several devices share batches.
    """
    from tlx.private import BatchNorm

    if config["trainer"]["on_out_of_memory"] != "halve":
        return
    trained = {n for g in module.plan.groups if g.name in module.plan.ever_trainable for n in g.modules}
    norms = [n for n, m in module.named_modules() if n in trained and isinstance(m, BatchNorm)]
    if norms:
        raise UserError(
            f"trainer.on_out_of_memory=halve changes what batch normalisation computes, and this run trains {norms[0]} "
            f"({len(norms)} such layers): freeze them, choose trainer.batch_size yourself, or say fail."
        )
    if config["trainer"]["devices"] > 1:
        raise UserError("trainer.on_out_of_memory=halve works on one device: choose trainer.batch_size yourself here.")
