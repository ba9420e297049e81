"""The training loop of heads on frozen features: all of them in the same steps, each with its own data and dropout."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from tlx.config import budget
from tlx.data.sampling import training_length
from tlx.fit.time_profile import TimeProfile
from tlx.probes.heads import Clock, Heads, no_clock
from tlx.probes.probe import Probe


def train_together(probes: Sequence[Probe], profile: TimeProfile | None = None) -> None:
    """Train the heads of these probes, which differ in seeds, learning rates and weight decays alone.

    What becomes of each is what becomes of it alone, bit for bit on a CPU; one that stops early or diverges changes
    nothing for the others.
    """
    first = probes[0]
    config, module = first.config, first.module
    device = first.train.features.device
    heads = Heads([probe.module for probe in probes], config["trainer"]["gradient_clip"], device)
    total, _ = training_length(config, first.sampler.count)
    (phase,) = module.plan.phases
    part: Clock = no_clock if profile is None else profile.part
    draw, step = Draw(probes), 0
    for epoch in range(budget.epochs(config)):
        with part("data"):
            batches = draw.epoch(epoch)
        for number in range(batches):
            with part("data"):
                features, labels, share = draw.batch(number)
            losses = heads.step(features, labels, share, module.schedule(step, total) * phase.lr_factor, part)
            step += 1
            values = losses.tolist()
            for row, probe in enumerate(probes):
                probe.stepped(epoch, values[row], lambda row=row: heads.values()[row])
        with part("validation"):
            for probe, loss, head in zip(probes, values, heads.values(), strict=True):
                if not probe.done:
                    known = probe.validation
                    scores = probe.module.task.scored(linear(known.features, *head), known.labels).compute()
                    probe.validated(epoch, loss, scores, head)
        if all(probe.done for probe in probes):
            return


class Draw:
    """The batches of all probes, with the dropout that the layer before each head applies.

    All have the room of the epoch's largest batch, and in a smaller one the last places have no share in the loss: sums
    over more zeros may differ in the last bits, so the room must not depend on who else is trained.
    """

    def __init__(self, probes: Sequence[Probe]) -> None:
        self.probes, self.rate = probes, probes[0].module.task.dropout
        first = probes[0].train
        self.shared = all(probe.train.features is first.features for probe in probes)
        self.device = first.features.device

    def epoch(self, epoch: int) -> int:
        """Begin an epoch; returns how many batches it has."""
        orders = [probe.batches(epoch) for probe in self.probes]
        sizes = torch.tensor([[len(batch) for batch in order] for order in orders])  # (S, batches)
        room = int(sizes.max())
        self.sizes = sizes.T.tolist()
        chosen = torch.zeros(*sizes.T.shape, room, dtype=torch.int64)  # (batches, S, room)
        for row, order in enumerate(orders):
            for number, batch in enumerate(order):
                chosen[number, row, : len(batch)] = torch.from_numpy(batch)
        self.chosen = chosen.to(self.device)
        within = torch.arange(room) < sizes.T.unsqueeze(2)
        self.share = (within / sizes.T.unsqueeze(2)).to(self.device)
        labels = [probe.train.labels[self.chosen[:, row]] for row, probe in enumerate(self.probes)]
        self.labels = torch.stack(labels, 1)
        return len(self.sizes)

    def batch(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Features (S, room, D), labels (S, room) and shares in the loss (S, room) of a batch of this epoch."""
        chosen = self.chosen[number]
        if self.shared:
            features = self.probes[0].train.features[chosen]
        else:
            features = torch.stack([p.train.features[rows] for p, rows in zip(self.probes, chosen, strict=True)])
        if self.rate:
            kept = torch.zeros_like(features)
            for own, size, probe in zip(kept, self.sizes[number], self.probes, strict=True):
                own[:size].bernoulli_(1 - self.rate, generator=probe.generator)
            features.mul_(kept.div_(1 - self.rate))
        return features, self.labels[number], self.share[number]
