"""The training loop of heads on frozen features: all of them in the same steps, each with its own data and dropout."""

from collections.abc import Sequence

import torch

from tlx import budget
from tlx.data.sampling import training_length
from tlx.probes.heads import Clock, Heads, no_clock
from tlx.probes.probe import Known, Probe
from tlx.profile import TimeProfile


def train_together(probes: Sequence[Probe], profile: TimeProfile | None = None) -> None:
    """Train the heads of these probes, which differ in seeds, learning rates and weight decays alone.

    What becomes of each is what becomes of it alone, but for the last bits of sums: one that stops early or diverges
    changes nothing for the others.
    """
    first = probes[0]
    config, module = first.config, first.module
    device = first.train.features.device
    heads = Heads([probe.module for probe in probes], config["trainer"]["gradient_clip"], device)
    total, _ = training_length(config, first.sampler.count)
    assert module.plan is not None
    (phase,) = module.plan.phases
    part: Clock = no_clock if profile is None else profile.part
    step = 0
    for epoch in range(budget.epochs(config)):
        with part("data"):
            orders = [probe.batches(epoch) for probe in probes]
            # All batches have the room of the largest: sums over more zeros may differ in the last bits.
            size = max(map(len, orders[0]))
        for batches in zip(*orders, strict=True):
            with part("data"):
                features = torch.zeros(len(probes), size, first.train.features.shape[1], device=device)
                labels = torch.zeros(len(probes), size, dtype=torch.int64, device=device)
                share = torch.zeros(len(probes), size, device=device)
                for row, (probe, batch) in enumerate(zip(probes, batches, strict=True)):
                    probe.draw(batch, features[row], labels[row], share[row])
            losses = heads.step(features, labels, share, module.schedule(step, total) * phase.lr_factor, part)
            step += 1
            values = losses.tolist()
            for row, probe in enumerate(probes):
                probe.stepped(epoch, values[row], lambda row=row: heads.values()[row])
        with part("validation"):
            for probe, loss, head in zip(probes, values, heads.values(), strict=True):
                if not probe.done:
                    probe.validated(epoch, loss, score(probe, head, probe.validation), head)
        if all(probe.done for probe in probes):
            return


def score(probe: Probe, head: tuple[torch.Tensor, torch.Tensor], known: Known) -> dict[str, float]:
    """The metrics of a head on a part's features."""
    meter = probe.module.task.meter()
    logits = torch.nn.functional.linear(known.features, *head)
    meter.update(logits, {"label": known.labels, "index": torch.arange(len(logits))})
    return meter.compute()
