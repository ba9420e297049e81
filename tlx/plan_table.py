"""`tlx plan`: what a run would train, printed: layers × phases × learning rate × decay."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tlx.config import budget
from tlx.config.composer import composer
from tlx.sweeps.check import writable
from tlx.sweeps.pretraining import pretrain_if_missing

if TYPE_CHECKING:
    from tlx.module import TransferModule
    from tlx.plan import ParameterPlan


def print_plan(overrides: Sequence[str], config_dir: str | None, full: bool) -> None:
    """Print the parameter plan of the run that `overrides` name; trains nothing."""
    with composer(config_dir) as compose:
        composed = compose(overrides)
        writable(Path(composed.config["paths"]["cache"]))
        pretrain_if_missing(compose, composed.config, composed.choices)
    from tlx.assembly import assemble
    from tlx.data.sampling import training_length
    from tlx.fit.coverage import coverage

    config = composed.config
    data, module = assemble(config)
    plan = module.plan
    total, per_epoch = training_length(config, len(data.train))
    starts = plan.boundaries(total, per_epoch)
    rows = plan.rows(module)
    console = Console(width=None if Console().is_terminal else 160)
    shown = Table(
        "layer group" if not full else "parameter", "depth", "parameters", "trained in phases", "LR", "decayed"
    )
    if full:
        for row in rows:
            lr = _rate(module, plan, row["group"])
            phases = _phases(plan, row["group"])
            shown.add_row(
                row["name"], str(row["depth"]), f"{row['size']:,}", phases, lr, "yes" if row["decay"] else "no"
            )
    else:
        for group in plan.groups:
            own = [r for r in rows if r["group"] == group.name]
            lr = _rate(module, plan, group.name)
            decayed = sum(r["size"] for r in own if r["decay"])
            size = sum(r["size"] for r in own)
            shown.add_row(group.name, str(group.depth), f"{size:,}", _phases(plan, group.name), lr, f"{decayed:,}")
    console.print(shown)
    ends = [*starts[1:], total]
    for number, (phase, start, end) in enumerate(zip(plan.phases, starts, ends, strict=True)):
        size = sum(r["size"] for r in rows if r["group"] in phase.trainable)
        console.print(
            f"phase {number}: steps {start}–{end - 1} of {total} "
            f"(epochs {start / per_epoch:.1f}–{end / per_epoch:.1f}), {_groups(len(phase.trainable))}, "
            f"{size:,} parameters, LR × {phase.lr_factor:g}",
            highlight=False,
        )
    trained = sum(r["size"] for r in rows if r["first_phase"] is not None)
    everything = sum(r["size"] for r in rows)
    console.print(
        f"{trained:,} of {everything:,} parameters are trained ({trained / everything:.1%}); "
        f"{len(data.train)} labels × {budget.epochs(config)} epochs",
        highlight=False,
    )
    for part, share in coverage(module).items():
        what = "lies beside" if part == "adapter" else "touches"
        of = "" if part == "adapter" else "trained "
        console.print(f"{part} {what} {share:.1%} of the backbone's {of}weights", highlight=False)


def _rate(module: "TransferModule", plan: "ParameterPlan", group: str) -> str:
    """The learning rate of a group's parameters before schedule and phase; none for what is never trained."""
    return f"{module.lr * plan.lr_factors.get(group, 1.0):.2e}" if group in plan.ever_trainable else "–"


def _phases(plan: "ParameterPlan", group: str) -> str:
    inside = [i for i, phase in enumerate(plan.phases) if group in phase.trainable]
    if not inside:
        return "frozen"
    return f"{inside[0]}–{inside[-1]}" if len(inside) > 1 else str(inside[0])


def _groups(count: int) -> str:
    return f"{count} group" + "s" * (count != 1)
