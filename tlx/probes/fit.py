"""Training of nothing but heads: by a solver, or many heads in the same steps."""

import time
from collections.abc import Sequence

import lightning as L

from tlx.callbacks.progress import Listener
from tlx.fit.evaluation import device_of, moved
from tlx.fit.loggers import make_loggers
from tlx.fit.training import Fitted, Training
from tlx.probes.probe import Probe, make_probe
from tlx.probes.solved import solve_head
from tlx.probes.together import train_together


def solve(run: Training) -> Fitted:
    """Let the strategy's solver find the head."""
    record = run.record
    with record.clock("train"):
        found, scores, doubts = solve_head(run.config, run.module, run.loaders)
    record.trained(found.iterations, found.iterations)
    record.details["solver"] = {"C": found.C, "converged": found.converged, "gradient": found.gradient}
    for message in doubts:
        run.watch.say(message)
    for logger in make_loggers(run.config, run.folder):
        logger.log_metrics({f"val/{name}": score for name, score in scores.items()} | {"epoch": 0}, found.iterations)
        logger.finalize("success")
    return Fitted({}, scores)


def as_probe(run: Training, callbacks: Sequence[L.Callback], others: Sequence[Probe] = ()) -> Probe | None:
    """The run's head with all that its training needs; None where a Trainer must train it."""
    listeners = [callback for callback in callbacks if isinstance(callback, Listener)]
    if run.earlier is not None or len(listeners) < len(callbacks) or run.config["strategy"].get("solver"):
        return None
    with moved(run.module, device_of(run.config)):
        return make_probe(run.config, run.module, run.loaders, run.watch, listeners, others)


def fit_heads(runs: Sequence[Training], probes: Sequence[Probe]) -> list[Fitted]:
    """Train the heads of these runs in the same steps; each pays its part of the time."""
    if not runs:
        return []
    for run, probe in zip(runs, probes, strict=True):
        probe.loggers = make_loggers(run.config, run.folder)
    began, profile = time.perf_counter(), runs[0].profile
    if profile:
        profile.begin()
    train_together(probes, profile)
    seconds = time.perf_counter() - began
    for run, probe in zip(runs, probes, strict=True):
        run.record.shared_work("train", seconds, len(runs))
        if profile:
            run.record.seconds["profile"] = {name: s / len(runs) for name, s in profile.seconds().items()}
        run.record.trained(probe.steps, probe.epochs)
        run.work.hits += (probe.epochs - 1) * (len(probe.train.labels) + len(probe.validation.labels))
    return [Fitted(error=probe.error) if probe.error else Fitted(probe.best_state()) for probe in probes]
