"""One run, readable aloud: config -> data -> backbone -> strategy -> fit -> evaluate -> record."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping

from tlx import budget
from tlx.cache.follow_phases import FollowPhases
from tlx.cache.frozen_work import FrozenWork, frozen_work
from tlx.callbacks.divergence import StopOnDivergence
from tlx.callbacks.mixout import Mixout
from tlx.callbacks.negative_transfer import NegativeTransferWarning
from tlx.callbacks.phases import PhaseSchedule
from tlx.checkpoints import BEST, BestWeights, ResumePoint, SafeCheckpointIO, resume_point
from tlx.compact import CompactTable, compact_table
from tlx.compiled import compiled
from tlx.data.dataset import Data, Dataset, encode
from tlx.data.loaders import Examples, eval_loader, train_loader
from tlx.data.sealed import Sealed
from tlx.distributed import Averaged, Ranked
from tlx.instantiate import instantiate
from tlx.interruption import Interruption
from tlx.loggers import make_loggers
from tlx.measures import Measures
from tlx.models.build import build_backbone
from tlx.module import TransferModule, score
from tlx.plan import frozen_hash
from tlx.profile import TimeProfile
from tlx.quiet import quiet_lightning
from tlx.ranks import Followers
from tlx.registry import entries
from tlx.results.curves import scratch_curves
from tlx.results.recording import Recording
from tlx.seeding import RandomState, seed_everything, seed_rank
from tlx.sharding import Sharded, bring_together, is_sharded
from tlx.source import source_meter
from tlx.strategies.lora import merge_adapters
from tlx.strategies.strategy import TransferStrategy
from tlx.tasks.classification import Classification, ClassificationMeter
from tlx.tasks.metrics import direction, directions


def run(config: dict[str, Any], folder: Path, callbacks: Sequence[L.Callback] = ()) -> dict[str, Any]:
    """Do one run in `folder` and return its record.

    `config` is a plain resolved config with the entry `run` (identity, cell, choices, fingerprints) that the sweep gave
    it. Whatever happens, the folder holds a record afterwards; an exception passes on. A checkpoint of this run in the
    folder is gone on from, and the result is that of a run that nobody disturbed, bit for bit.

    Raises:
        Interrupted: a signal asked the run to leave; it did so after a checkpoint.
    """
    with (
        Interruption() as interruption,
        Recording(config, folder) as record,
        Followers(config, folder) as followers,
    ):
        quiet_lightning()
        set_threads(config["trainer"]["threads"])
        seed_everything(config["seed"])
        data, module = assemble(config)
        loaders = make_loaders(config, data, module)
        compact = compact_table(config, module, loaders)
        task, plan = module.task, module.plan
        assert plan is not None
        module.frozen_work = work = frozen_work(config, module, loaders)
        loaders["test"] = sealed = Sealed(loaders["test"], record.counts)
        module.base = frozen_hash(module, plan)
        record.describe(module, data, frozen=module.base)
        record.counts |= compact.counts if compact else {}

        meter = source_meter(config, module)
        earlier = resume_point(folder / "checkpoints")
        profile = TimeProfile() if config["profile"] else None
        point = ResumePoint(folder / "checkpoints", config["trainer"]["checkpoint_seconds"], interruption, profile)
        monitor = config["dataset"]["monitor"]
        watch = NegativeTransferWarning(
            f"val/{monitor}",
            scratch_curves(config, folder, f"val/{monitor}"),
            higher_is_better=direction(monitor) == "higher",
        )
        parts = [*callbacks, *([meter] if meter else []), watch, point]
        trainer = make_trainer(config, folder, parts, work=work, profile=profile)
        device = trainer.strategy.root_device
        measures = Measures(config, module, loaders)
        with moved(module, device):
            work.prepare(("train", "validation"))
            before = evaluate(module, loaders, "validation")
            if meter is not None:
                meter.measure_before(module)
            further = measures.before(module)
        watch.untrained = before.compute()[monitor]
        record.resumes(earlier)
        trained = copy.deepcopy(module) if is_sharded(config) else module
        try:
            compile = config["trainer"]["compile"]
            with followers.training(earlier), compact or nullcontext(), compiled(trained, compile) as code:
                trainer.fit(trained, loaders["train"], loaders["selection"], ckpt_path=earlier, weights_only=True)
                bring_together(trained, module)
            record.details["compiled"] = code or None
        finally:
            record.seconds["train"] = point.seconds
            record.seconds |= {"objectives": sum(o.seconds for o in trained.objectives)} if trained.objectives else {}
            if profile:
                record.seconds["profile"] = profile.seconds()
        record.trained(trainer)
        record.details["warnings"] = watch.messages
        sealed.open()
        work.finish()

        record.keep_last(module)
        load_selected(config, module, folder, compact)
        record.check_frozen(frozen_hash(module, plan))
        adapter = config["strategy"]["adapter"]
        if adapter and adapter["merge"]:
            merge_adapters(module.eval(), next(iter(loaders["validation"])))
            module.frozen_work = None  # it knows the network as it was
        with record.clock("evaluate"), moved(module, device):
            validation = evaluate(module, loaders, "validation")
            test = evaluate(module, loaders, "test")
            forgotten = meter.measure_after(module) if meter is not None else {}
        with record.clock("measure"), moved(module, device):
            further |= measures.after(module, test.compute())
            record.cost |= measures.cost(module, trainer.global_step)

        record.add_metrics("before/val", before.compute())
        record.add_metrics("val", validation.compute())
        record.add_metrics("test", test.compute())
        if meter is not None:
            record.add_metrics("source", {f"{n}_before": v for n, v in meter.before.items()})
            record.add_metrics("source", {f"{n}_after": v for n, v in meter.after.items()})
            record.add_metrics("forgetting", forgotten)
        record.metrics |= further
        record.directions = directions(task.metric_names)
        record.played_back(work)
        record.keep(module, test, data)
        if config["register"]:
            card = {
                "model": {k: v for k, v in config["model"].items() if k != "pretrain"},
                "dataset": config["dataset"],
                "labels": list(data.spec.label_names),
                "metrics": {n: v for n, v in record.metrics.items() if n.startswith(("val/", "test/"))},
                "run": record.identity,
            }
            entries.add(Path(config["paths"]["registry"]), config["register"], module, card)
    return record.written


def follow(
    config: dict[str, Any], folder: Path, rank: int, begin: Callable[[], Path | None], interruption: Interruption
) -> None:
    """What the other processes of a run do: prepare the same, then train along on their shares of each batch.

    `begin` waits for rank 0, which does everything else, and returns the checkpoint to go on from.
    """
    quiet_lightning()
    set_threads(config["trainer"]["threads"])
    seed_everything(config["seed"])
    data, module = assemble(config)
    loaders = make_loaders(config, data, module, rank)
    compact = compact_table(config, module, loaders)
    seed_rank(config["seed"], rank)
    earlier = begin()
    point = ResumePoint(folder / "checkpoints", config["trainer"]["checkpoint_seconds"], interruption)
    trainer = make_trainer(config, folder, [point], rank)
    with compact or nullcontext(), compiled(module, config["trainer"]["compile"]):
        trainer.fit(module, loaders["train"], loaders["selection"], ckpt_path=earlier, weights_only=True)
    bring_together(module, None)


def assemble(config: dict[str, Any]) -> tuple[Data, TransferModule]:
    """The data and the planned module; everything random in them follows from the seed set before.

    Raises:
        UserError: whatever the user's choices have that cannot be: see the parts.
    """
    dataset: Dataset = instantiate(config["dataset"], "dataset")
    data = dataset.load(config["seed"], Path(config["paths"]["cache"]))
    backbone = build_backbone(config, texts=lambda: _texts(data))
    task = Classification(
        backbone.feature_dim, data.spec.label_names, dataset.metrics, config["trainer"]["head_dropout"]
    )
    optimizer = {k: v for k, v in config["optimizer"].items() if k not in ("lr", "weight_decay")}
    module = TransferModule(
        backbone,
        task,
        lr=config["optimizer"]["lr"],
        weight_decay=config["optimizer"]["weight_decay"],
        optimizer=instantiate(optimizer, "optimizer"),
        schedule=instantiate(config["scheduler"], "scheduler"),
    )
    strategy: TransferStrategy = instantiate(config["strategy"], "strategy")
    module.plan = strategy.apply(module, backbone)
    module.objectives = strategy.objectives
    for objective in module.objectives:
        objective.join(config, module)
    return data, module


def _texts(data: Data) -> list[str]:
    """The training texts before `train_size`, pairs as one text each: what a tokenizer may be trained on."""
    return [" ".join(t) if isinstance(t, tuple) else t for t in data.train_pool.inputs]


def make_loaders(config: dict[str, Any], data: Data, module: TransferModule, rank: int = 0) -> dict[str, Any]:
    """Loaders of the three parts: training shuffled and augmented, the others in a fixed order.

    A run on several devices shares out its training batches, and, as `selection`, those of the validation during the
    training; `validation` and `test` are whole.
    """
    dataset: Dataset = instantiate(config["dataset"], "dataset")
    preprocessing, options = module.backbone.preprocessing, config["trainer"]
    parts = {name: getattr(data, name) for name in ("train", "validation", "test")}
    examples = {
        name: Examples(
            encode(part, preprocessing),
            part.labels,
            preprocessing,
            augmentation=dataset.augmentation if name == "train" else None,
            seed=config["seed"],
        )
        for name, part in parts.items()
    }
    buckets = dataset.sampler == "length_buckets"
    world, workers, size = options["devices"], options["workers"], options["eval_batch_size"]
    return {
        "train": train_loader(
            examples["train"], options["batch_size"] * world, config["seed"], buckets, workers, rank, world
        ),
        "selection": eval_loader(examples["validation"], size, workers, rank, world),
        "validation": eval_loader(examples["validation"], size, workers),
        "test": eval_loader(examples["test"], size, workers),
    }


def make_trainer(
    config: dict[str, Any],
    folder: Path,
    callbacks: Sequence[L.Callback],
    rank: int = 0,
    work: FrozenWork | None = None,
    profile: TimeProfile | None = None,
) -> L.Trainer:
    """A Lightning Trainer for this process of a run; `callbacks` come after its own. Only rank 0 logs."""
    options = config["trainer"]
    several = options["devices"] > 1
    strategy: Any = (Sharded if is_sharded(config) else Averaged)() if several else "auto"
    monitor = f"val/{config['dataset']['monitor']}"
    mode = "max" if direction(config["dataset"]["monitor"]) == "higher" else "min"
    schedule = PhaseSchedule()
    parts: list[L.Callback] = [
        schedule,
        *([FollowPhases(work, schedule)] if work else []),
        RandomState(),
        StopOnDivergence(),
        BestWeights(folder / "checkpoints", monitor, mode),
    ]
    if patience := budget.patience(config):
        parts.append(EarlyStopping(monitor, mode=mode, patience=patience))
    if config["strategy"]["mixout"]:
        parts.append(Mixout(config["strategy"]["mixout"], select=lambda name, layer: name.startswith("backbone.")))
    return L.Trainer(
        accelerator=options["accelerator"],
        devices=options["devices"],
        max_epochs=budget.epochs(config),
        precision=options["precision"],
        accumulate_grad_batches=options["accumulate"],
        gradient_clip_val=options["gradient_clip"],
        detect_anomaly=options["detect_anomaly"],
        deterministic=config["deterministic"],
        logger=make_loggers(config, folder) if rank == 0 else False,
        callbacks=[*parts, *callbacks],
        strategy=strategy,
        plugins=[SafeCheckpointIO(), *([Ranked(rank, options["devices"])] if several else [])],
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        profiler=profile,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def load_selected(
    config: dict[str, Any], module: TransferModule, folder: Path, compact: CompactTable | None = None
) -> None:
    """Put the weights of the best checkpoint on validation into the module; selection=last leaves the last ones.

    `compact` is what the embedding table was while the checkpoint was made.
    """
    if config["selection"] == "best":
        state = torch.load(folder / "checkpoints" / BEST, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(compact.whole_state(state) if compact else state, strict=False)


@contextmanager
def moved(module: TransferModule, device: torch.device) -> Iterator[None]:
    """The module is on `device` while this context is open, and on the CPU afterwards."""
    module.to(device)
    try:
        yield
    finally:
        module.cpu()


def evaluate(module: TransferModule, loaders: dict[str, Any], part: str) -> ClassificationMeter:
    """One pass over a part in eval mode, without gradients."""
    return score(module, module.task, loaders[part], forward=lambda batch: module.logits(batch, part))


def set_threads(threads: int | None) -> None:
    """Fix torch's CPU threads; the number is recorded, because it changes the last bits of sums."""
    if threads:
        torch.set_num_threads(threads)
