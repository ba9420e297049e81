"""What a run is made of, from its config: the data, the planned module, and the loaders."""

from pathlib import Path
from typing import Any

from tlx.config.instantiate import data_set, instantiate
from tlx.data.cuts import describe_cuts
from tlx.data.dataset import Data, Dataset
from tlx.data.loaders import Examples, choose_workers, eval_loader, train_loader
from tlx.data.prepared import prepare_part
from tlx.fit.coverage import check_touches, mixed
from tlx.models.build import build_backbone
from tlx.module import TransferModule
from tlx.objectives.objective import check_objectives
from tlx.strategies.strategy import TransferStrategy
from tlx.tasks.classification import Classification

Prepared = tuple[Data, dict[str, Examples]]  # the data of a run and its encoded examples by part


def assemble(config: dict[str, Any]) -> tuple[Data, TransferModule]:
    """The data and the planned module; everything random in them follows from the seed set before.

    Raises:
        UserError: whatever the user's choices have that cannot be: see the parts.
    """
    dataset: Dataset = data_set(config["dataset"])
    data = dataset.load(config["seed"], Path(config["paths"]["cache"]))
    backbone = build_backbone(config, texts=lambda: _texts(data))
    task = Classification(
        backbone.feature_dim, data.spec.label_names, dataset.metrics, config["trainer"]["head_dropout"]
    )
    optimizer = {k: v for k, v in config["optimizer"].items() if k not in ("lr", "weight_decay")}
    strategy: TransferStrategy = instantiate(config["strategy"], "strategy")
    check_objectives(strategy.objectives)
    plan = strategy.plan(backbone, task)
    check_touches(strategy, plan)
    if strategy.solver is not None:
        strategy.solver.check(config)
    module = TransferModule(
        backbone,
        task,
        plan,
        lr=config["optimizer"]["lr"],
        weight_decay=config["optimizer"]["weight_decay"],
        optimizer=instantiate(optimizer, "optimizer"),
        schedule=instantiate(config["scheduler"], "scheduler"),
    )
    module.mixout = mixed(config, module)
    module.objectives = strategy.objectives
    for objective in module.objectives:
        objective.join(config, module)
    return data, module


def _texts(data: Data) -> list[str]:
    """The training texts before `train_size`, pairs as one text each: what a tokenizer may be trained on."""
    return [" ".join(t) if isinstance(t, tuple) else t for t in data.train_pool.inputs]


def make_loaders(
    config: dict[str, Any], data: Data, module: TransferModule, rank: int = 0, beside: Prepared | None = None
) -> dict[str, Any]:
    """Loaders of the three parts: training shuffled and augmented, the others in a fixed order.

    A run on several devices shares out its training batches, and, as `selection`, those of the validation during the
    training; `validation` and `test` are whole. Encoded examples that a run `beside` it has, too, are its own.
    How many examples were cut is added to what the data says of itself.
    """
    dataset: Dataset = data_set(config["dataset"])
    preprocessing, options = module.backbone.preprocessing, config["trainer"]
    examples = {}
    for name in ("train", "validation", "test"):
        part, augmentation = getattr(data, name), dataset.augmentation if name == "train" else None
        if beside is not None and not augmentation and getattr(beside[0], name).ids == part.ids:
            examples[name] = beside[1][name]
        else:
            encoded = prepare_part(config, data, name, preprocessing)
            examples[name] = Examples(encoded, part.labels, preprocessing, augmentation, config["seed"])
    if cut := describe_cuts({name: part.examples for name, part in examples.items()}, preprocessing):
        data.about["cut"] = cut
    buckets = dataset.sampler == "length_buckets"
    world, workers, size = options["devices"], options["workers"] or 0, options["eval_batch_size"]
    several = choose_workers(options["workers"], examples["train"], config["model"]["modality"])
    return {
        "train": train_loader(
            examples["train"],
            options["batch_size"] * world,
            config["seed"],
            buckets,
            several,
            rank,
            world,
            options["accumulate"],
        ),
        "selection": eval_loader(examples["validation"], size, workers, rank, world),
        "validation": eval_loader(examples["validation"], size, workers),
        "test": eval_loader(examples["test"], size, workers),
    }
