"""One run, readable aloud: config -> data -> backbone -> strategy -> fit -> evaluate -> record."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L

from tlx.assembly import assemble, make_loaders
from tlx.cache.checksums import noted
from tlx.cache.frozen_work import frozen_work
from tlx.data.dataset import Data
from tlx.data.sealed import Sealed
from tlx.fit.checkpoints import resume_point
from tlx.fit.compact import compact_table
from tlx.fit.in_trainer import fit, fit_along
from tlx.fit.recording import Recording
from tlx.fit.seeding import seed_rank
from tlx.fit.selected import take_selected
from tlx.fit.start import calibrate_as_asked, start
from tlx.fit.time_profile import TimeProfile
from tlx.fit.training import Fitted, Training
from tlx.identity import contents_as_planned
from tlx.measures.scoring import Scoring
from tlx.measures.source import source_meter
from tlx.plan import frozen_hash, share_frozen
from tlx.probes.fit import as_probe, fit_heads, solve
from tlx.processes.interruption import Interruption
from tlx.processes.ranks import Followers
from tlx.registry.card import register
from tlx.results.scratch_curves import watch_for_scratch
from tlx.tasks.metrics import check_monitor, directions, undefined


class Begun(NamedTuple):
    """A run before its training."""

    training: Training
    data: Data
    scoring: Scoring


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
        if (probe := as_probe(one.training, callbacks)) is not None:
            (fitted,) = fit_heads([one.training], [probe])
        else:
            fitted = train(one, callbacks, interruption, followers)
        finish(one, fitted)
    return record.written


def begin(config: dict[str, Any], folder: Path, record: Recording, beside: Begun | None = None) -> Begun:
    """Prepare a run, and measure what there is to be measured before its training.

    What a run `beside` it, of the same model and data set, has loaded already, is in memory once.
    """
    start(config)
    calibrates = config["strategy"].get("calibrate", False)  # by its own training examples
    other = beside and beside.training
    with contents_as_planned(config):
        data, module = assemble(config)
        shared = other if other and not calibrates and share_frozen(module, other.module, module.plan) else None
        if shared:  # what is known of the tensors and the tokenizer need not be found out again
            module.backbone.preprocessing = shared.module.backbone.preprocessing
        check_monitor(config, data.validation.labels)
        loaders = make_loaders(config, data, module, beside=beside and (beside.data, beside.training.examples))
        meter = source_meter(config, module)
    calibrate_as_asked(config, module, loaders)
    compact = compact_table(config, module, loaders)
    module.frozen_work = work = frozen_work(config, module, loaders)
    if shared:
        work.share(shared.work)
    loaders["test"] = Sealed(loaders["test"], record.counts)
    module.base = (shared and shared.module.base) or frozen_hash(module, module.plan)
    record.describe(module, data, frozen=module.base)
    record.counts |= compact.counts if compact else {}

    scoring = Scoring(config, module, loaders, meter, record)
    scoring.before(work, beside.scoring if beside and shared else None)
    watch = watch_for_scratch(config, folder, scoring.untrained)
    earlier = resume_point(folder / "checkpoints")
    record.resumes(earlier)
    training = Training(
        config=config, folder=folder, record=record, module=module, loaders=loaders, work=work, compact=compact,
        watch=watch, earlier=earlier, profile=TimeProfile() if config["profile"] else None,
    )  # fmt: skip
    return Begun(training, data, scoring)


def train(one: Begun, callbacks: Sequence[L.Callback], interruption: Interruption, followers: Followers) -> Fitted:
    """Let the strategy's solver find the head, or train in a Lightning Trainer."""
    if one.training.config["strategy"].get("solver"):
        return solve(one.training)
    meter = [one.scoring.meter] if one.scoring.meter else []
    return fit(one.training, [*callbacks, *meter], interruption, followers)


def finish(one: Begun, fitted: Fitted) -> None:
    """Choose the weights, score them once on test, and note everything.

    Raises:
        Diverged: the loss of a head became no number.
    """
    run = one.training
    record, module, watch = run.record, run.module, run.watch
    if fitted.error is not None:
        raise fitted.error
    record.details["warnings"] += [*watch.messages, *noted()]
    run.loaders["test"].open()
    take_selected(run, fitted)
    test = one.scoring.after(fitted.scores)
    for message in undefined(record.metrics):
        watch.say(message)
    record.directions = directions(module.task.metric_names)
    record.played_back(run.work)
    record.keep(module, test, one.data)
    register(run.config, module, list(one.data.spec.label_names), record.metrics, record.identity)


def follow(
    config: dict[str, Any], folder: Path, rank: int, begin: Callable[[], Path | None], interruption: Interruption
) -> None:
    """What another process of a run does: prepare the same, then train along on its share of each batch.

    `begin` waits for rank 0, which does everything else, and returns the checkpoint to go on from.
    """
    start(config)
    with contents_as_planned(config):
        data, module = assemble(config)
        loaders = make_loaders(config, data, module, rank)
    calibrate_as_asked(config, module, loaders)
    compact = compact_table(config, module, loaders)
    seed_rank(config["seed"], rank)
    fit_along(config, folder, rank, module, loaders, compact, begin(), interruption)
