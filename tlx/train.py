"""One run, readable aloud: config -> data -> backbone -> strategy -> fit -> evaluate -> record."""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from tlx.assembly import assemble, make_loaders
from tlx.cache.checksums import noted
from tlx.cache.frozen_work import FrozenWork, frozen_work
from tlx.callbacks.divergence import Diverged
from tlx.callbacks.negative_transfer import NegativeTransferWarning
from tlx.callbacks.phases import PhaseSchedule
from tlx.callbacks.progress import Listener
from tlx.data.dataset import Data
from tlx.data.sealed import Sealed
from tlx.fit.checkpoints import BEST, BestWeights, ResumePoint, resume_point
from tlx.fit.compact import CompactTable, compact_table
from tlx.fit.evaluation import device_of, evaluate, moved
from tlx.fit.loggers import make_loggers
from tlx.fit.quiet import quiet_lightning
from tlx.fit.recording import Recording
from tlx.fit.seeding import seed_everything, seed_rank
from tlx.fit.time_profile import TimeProfile
from tlx.fit.trainer import make_trainer
from tlx.identity import contents_as_planned
from tlx.layer_groups import HEAD
from tlx.measures.measures import Measures
from tlx.measures.source import SourceMeter, source_meter
from tlx.module import TransferModule
from tlx.network.calibration import calibrate
from tlx.network.compiled import compiled
from tlx.plan import frozen_hash, share_frozen
from tlx.probes.probe import Probe, make_probe
from tlx.probes.solved import solve_head
from tlx.probes.together import train_together
from tlx.processes.interruption import Interruption
from tlx.processes.ranks import Followers
from tlx.processes.sharding import bring_together, is_sharded
from tlx.registry import entries
from tlx.registry.card import card
from tlx.results.scratch_curves import scratch_curves
from tlx.strategies.lora import merge_adapters
from tlx.tasks.metrics import check_monitor, direction, directions, undefined


@dataclass
class Run:
    """A run between its parts: what `begin` made for its training and for `finish`.

    `best` is the part of the module's state that validation chose, where it is not in a checkpoint; `chosen` are the
    scores for which it did.
    """

    config: dict[str, Any]
    folder: Path
    record: Recording
    data: Data
    module: TransferModule
    loaders: dict[str, Any]
    compact: CompactTable | None
    work: FrozenWork
    meter: SourceMeter | None
    measures: Measures
    before: dict[str, float]
    further: dict[str, float]
    watch: NegativeTransferWarning
    earlier: Path | None
    profile: TimeProfile | None
    best: dict[str, Tensor] | None = None
    chosen: dict[str, float] | None = None
    error: Diverged | None = None


def run(config: dict[str, Any], folder: Path, callbacks: Sequence[L.Callback] = ()) -> dict[str, Any]:
    """Do one run in `folder` and return its record.

    `config` is a plain resolved config with the entry `run` (identity, cell, choices, fingerprints) that the sweep gave
    it. Whatever happens, the folder holds a record afterwards; an exception passes on. A checkpoint of this run in the
    folder is gone on from, and the result is that of a run that nobody disturbed, bit for bit.

    Raises:
        ContentsChanged: the data, weights, source task or own code are not those that the run was planned with.
        Interrupted: a signal asked the run to leave; it did so after a checkpoint.
    """
    with (
        Interruption() as interruption,
        Recording(config, folder) as record,
        Followers(config, folder, follow) as followers,
    ):
        one = begin(config, folder, record)
        if (probe := as_probe(one, callbacks)) is not None:
            fit_heads([one], [probe])
        else:
            fit(one, callbacks, interruption, followers)
        finish(one)
    return record.written


def run_together(runs: Sequence[tuple[dict[str, Any], Path]], callbacks: Sequence[Sequence[L.Callback]]) -> None:
    """Do runs that differ in seeds, learning rates and weight decays alone; `callbacks` has those of each.

    Those of which nothing but the head is trained, on features that are kept, are trained in the same steps. Each has a
    record of its own, and what it would have had alone.

    Raises:
        Exception: what ended the first of those that failed; the others have their results nevertheless.
        Interrupted: a signal asked the runs to leave. Heads begin anew the next time: they are trained within seconds.
    """
    failed: list[Exception] = []
    with Interruption() as interruption, ExitStack() as records:
        begun: list[Run] = []
        probes: list[Probe] = []
        for (config, folder), own in zip(runs, callbacks, strict=True):
            record = records.enter_context(Recording(config, folder))
            with ended_by_itself(record, failed), record.working():
                one = begin(config, folder, record, beside=begun[0] if begun else None)
                if (probe := as_probe(one, own, probes)) is not None:
                    begun.append(one)
                    probes.append(probe)
                    continue
                fit(one, own, interruption, Followers(config, folder, follow))
                finish(one)
            record.end()  # whatever becomes of the others
        fit_heads(begun, probes)
        for one in begun:
            with ended_by_itself(one.record, failed), one.record.working():
                finish(one)
            one.record.end()
    if failed:
        raise failed[0]


@contextmanager
def ended_by_itself(record: Recording, failed: list[Exception]) -> Iterator[None]:
    """What fails in this context ends its own run and is added to `failed`; the others go on."""
    try:
        yield
    except Exception as error:
        failed.append(error)
        record.end(error)


def begin(config: dict[str, Any], folder: Path, record: Recording, beside: Run | None = None) -> Run:
    """Prepare a run, and measure what there is to be measured before its training.

    What a run `beside` it, of the same model and data set, has loaded already, is in memory once.
    """
    quiet_lightning()
    set_threads(config["trainer"]["threads"])
    seed_everything(config["seed"])
    calibrates = config["strategy"].get("calibrate", False)  # by its own training examples
    with contents_as_planned(config):
        data, module = assemble(config)
        shared = beside is not None and not calibrates and share_frozen(module, beside.module, module.plan)
        if beside and shared:  # what is known of the tensors and the tokenizer need not be found out again
            module.backbone.preprocessing = beside.module.backbone.preprocessing
        check_monitor(config, data.validation.labels)
        loaders = make_loaders(config, data, module, beside=(beside.data, beside.work.parts) if beside else None)
        meter = source_meter(config, module)
    if calibrates:
        with moved(module, device_of(config)):
            calibrate(module.backbone, loaders["train"].dataset)
    compact = compact_table(config, module, loaders)
    module.frozen_work = work = frozen_work(config, module, loaders)
    if beside and shared:
        work.share(beside.work)
    loaders["test"] = Sealed(loaders["test"], record.counts)
    module.base = base = (beside.module.base if beside and shared else None) or frozen_hash(module, module.plan)
    record.describe(module, data, frozen=base)
    record.counts |= compact.counts if compact else {}

    monitor = config["dataset"]["monitor"]
    watch = NegativeTransferWarning(
        f"val/{monitor}",
        scratch_curves(config, folder, f"val/{monitor}"),
        higher_is_better=direction(monitor) == "higher",
    )
    measures = Measures(config, module, loaders)
    with moved(module, device_of(config)):
        work.prepare(("train", "validation"))
        before = evaluate(module, loaders, "validation").compute()
        if meter is not None:
            if beside and shared and beside.meter:
                meter.before = dict(beside.meter.before)
            meter.measure_before(module)
            record.shared += meter.spared
        further = measures.before(module)
    watch.untrained = before[monitor]
    earlier = resume_point(folder / "checkpoints")
    record.resumes(earlier)
    profile = TimeProfile() if config["profile"] else None
    return Run(
        config, folder, record, data, module, loaders, compact, work, meter, measures, before, further, watch,
        earlier, profile,
    )  # fmt: skip


def fit(one: Run, callbacks: Sequence[L.Callback], interruption: Interruption, followers: Followers) -> None:
    """Train in a Lightning Trainer, from the start or from the run's checkpoint; or let a solver find the head."""
    config, module = one.config, one.module
    if config["strategy"].get("solver"):
        solve(one)
        return
    every = config["trainer"]["checkpoint_seconds"]
    point = ResumePoint(one.folder / "checkpoints", every, interruption, one.profile)
    parts = [*callbacks, *([one.meter] if one.meter else []), one.watch, point]
    trainer = make_trainer(config, one.folder, parts, work=one.work, profile=one.profile)
    trained = copy.deepcopy(module) if is_sharded(config) else module
    loaders, earlier = one.loaders, one.earlier
    try:
        compile = config["trainer"]["compile"]
        with followers.training(earlier), one.compact or nullcontext(), compiled(trained.backbone, compile) as code:
            trainer.fit(trained, loaders["train"], loaders["selection"], ckpt_path=earlier, weights_only=True)
            bring_together(trained, module)
        one.record.details["compiled"] = code or None
    finally:
        one.record.seconds["train"] = point.seconds
        if trained.objectives:
            one.record.seconds["objectives"] = sum(objective.seconds for objective in trained.objectives)
        if one.profile:
            one.record.seconds["profile"] = one.profile.seconds()
    one.record.trained(trainer.global_step, trainer.current_epoch)
    (kept,) = (c for c in trainer.checkpoint_callbacks if isinstance(c, BestWeights))
    (phases,) = (c for c in trainer.callbacks if isinstance(c, PhaseSchedule))  # type: ignore[attr-defined]
    last = trainer.global_step if config["selection"] == "last" else kept.step
    if said := one.record.reached(module, phases.starts, phases.ended_in(trainer), last):
        one.watch.messages.append(said)
    one.chosen = kept.last_scores if config["selection"] == "last" else kept.scores


def solve(one: Run) -> None:
    """Let the strategy's solver find the head."""
    with one.record.clock("train"):
        found, one.chosen, doubts = solve_head(one.config, one.module, one.loaders)
    one.best = {}  # the module has it
    one.record.trained(found.iterations, found.iterations)
    one.record.details["solver"] = {"C": found.C, "converged": found.converged, "gradient": found.gradient}
    for message in doubts:
        one.watch.say(message)
    for logger in make_loggers(one.config, one.folder):
        scores = {f"val/{name}": score for name, score in one.chosen.items()}
        logger.log_metrics(scores | {"epoch": 0}, found.iterations)
        logger.finalize("success")


def as_probe(one: Run, callbacks: Sequence[L.Callback], others: Sequence[Probe] = ()) -> Probe | None:
    """The run's head with all that its training needs; None where a Trainer must train it."""
    listeners = [callback for callback in callbacks if isinstance(callback, Listener)]
    if one.earlier is not None or len(listeners) < len(callbacks) or one.config["strategy"].get("solver"):
        return None
    with moved(one.module, device_of(one.config)):
        return make_probe(one.config, one.module, one.loaders, one.watch, listeners, others)


def fit_heads(runs: Sequence[Run], probes: Sequence[Probe]) -> None:
    """Train the heads of these runs in the same steps; each pays its part of the time."""
    if not runs:
        return
    for one, probe in zip(runs, probes, strict=True):
        probe.loggers = make_loggers(one.config, one.folder)
    began, profile = time.perf_counter(), runs[0].profile
    if profile:
        profile.begin()
    train_together(probes, profile)
    seconds = time.perf_counter() - began
    for one, probe in zip(runs, probes, strict=True):
        one.record.shared_work("train", seconds, len(runs))
        if profile:
            one.record.seconds["profile"] = {name: s / len(runs) for name, s in profile.seconds().items()}
        one.record.trained(probe.steps, probe.epochs)
        one.work.hits += (probe.epochs - 1) * (len(probe.train.labels) + len(probe.validation.labels))
        one.best, one.error = (None if probe.error else probe.best_state()), probe.error


def finish(one: Run) -> None:
    """Choose the weights, score them once on test, and note everything.

    Raises:
        Diverged: the loss of a head became no number.
    """
    config, record, module, loaders = one.config, one.record, one.module, one.loaders
    if one.error is not None:
        raise one.error
    record.details["warnings"] += [*one.watch.messages, *noted()]
    loaders["test"].open()
    one.work.finish()

    record.keep_last(module)
    load_selected(config, module, one.folder, one.compact, one.best)
    record.check_frozen(frozen_hash(module, module.plan))
    adapter = config["strategy"]["adapter"]
    if adapter and adapter["merge"]:
        merge_adapters(module.eval(), next(iter(loaders["validation"])))
        module.frozen_work = None  # it knows the network as it was
    device, meter = device_of(config), one.meter
    with record.clock("evaluate"), moved(module, device):
        validation = one.chosen or evaluate(module, loaders, "validation").compute()
        test = evaluate(module, loaders, "test")
        forgotten: dict[str, float] = {}
        if meter is not None:
            # Where nothing but the head was trained, as the hashes just said, the source's scores are as before.
            untouched = module.plan.ever_trainable == {HEAD}
            forgotten = meter.measure_unchanged() if untouched else meter.measure_after(module)
    with record.clock("measure"), moved(module, device):
        tested = test.compute()
        further = one.further | one.measures.after(module, tested)
        record.cost |= one.measures.cost(module, None if "solver" in record.details else record.counts["steps"])

    record.add_metrics("before/val", one.before)
    record.add_metrics("val", validation)
    record.add_metrics("test", tested)
    if meter is not None:
        record.add_metrics("source", {f"{n}_before": v for n, v in meter.before.items()})
        record.add_metrics("source", {f"{n}_after": v for n, v in meter.after.items()})
        record.add_metrics("forgetting", forgotten)
    record.metrics |= further
    for message in undefined(record.metrics):
        one.watch.say(message)
    record.directions = directions(module.task.metric_names)
    record.played_back(one.work)
    record.keep(module, test, one.data)
    if config["register"]:
        described = card(config, list(one.data.spec.label_names), record.metrics, record.identity)
        entries.add(Path(config["paths"]["registry"]), config["register"], module, described)


def follow(
    config: dict[str, Any], folder: Path, rank: int, begin: Callable[[], Path | None], interruption: Interruption
) -> None:
    """What the other processes of a run do: prepare the same, then train along on their shares of each batch.

    `begin` waits for rank 0, which does everything else, and returns the checkpoint to go on from.
    """
    quiet_lightning()
    set_threads(config["trainer"]["threads"])
    seed_everything(config["seed"])
    with contents_as_planned(config):
        data, module = assemble(config)
        loaders = make_loaders(config, data, module, rank)
    if config["strategy"].get("calibrate"):
        calibrate(module.backbone, loaders["train"].dataset)
    compact = compact_table(config, module, loaders)
    seed_rank(config["seed"], rank)
    earlier = begin()
    point = ResumePoint(folder / "checkpoints", config["trainer"]["checkpoint_seconds"], interruption)
    trainer = make_trainer(config, folder, [point], rank)
    with compact or nullcontext(), compiled(module.backbone, config["trainer"]["compile"]):
        trainer.fit(module, loaders["train"], loaders["selection"], ckpt_path=earlier, weights_only=True)
    bring_together(module, None)


def load_selected(
    config: dict[str, Any],
    module: TransferModule,
    folder: Path,
    compact: CompactTable | None = None,
    best: dict[str, Tensor] | None = None,
) -> None:
    """Put the weights that were best on validation into the module; selection=last leaves the last ones.

    They are `best`, or those of the checkpoint; `compact` is what the embedding table was while that was made.
    """
    if config["selection"] == "last":
        return
    if best is not None:
        module.load_state_dict(best, strict=False)
    else:
        state = torch.load(folder / "checkpoints" / BEST, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(compact.whole_state(state) if compact else state, strict=False)


def set_threads(threads: int | None) -> None:
    """Fix torch's CPU threads; the number is recorded, because it changes the last bits of sums."""
    if threads:
        torch.set_num_threads(threads)
