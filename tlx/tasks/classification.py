"""Classification: a linear head on pooled features, cross-entropy, and accuracy-like metrics."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tlx.errors import UserError
from tlx.processes.distributed import gather, world_size
from tlx.tasks.metrics import check, scores


class Classification(nn.Module):
    """Head, loss and metrics for single-label classification.

    features (B, D) → logits (B, classes) through dropout and one linear layer. The loss is mean cross-entropy in nats;
    `tlx.tasks.metrics` knows the metrics and which way each is better.

    Raises:
        UserError: an unknown metric, or fewer than two classes.
    """

    def __init__(
        self, feature_dim: int, label_names: Sequence[str], metrics: Sequence[str] = ("accuracy",), dropout: float = 0.1
    ) -> None:
        super().__init__()
        if len(label_names) < 2:
            raise UserError(f"classification needs two classes or more; the labels are {list(label_names)}.")
        for name in metrics:
            check(name)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(feature_dim, len(label_names)))
        self.metric_names = tuple(metrics)
        self.classes = len(label_names)

    @property
    def linear(self) -> nn.Linear:
        """The head's only layer with parameters."""
        layer = self.head[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    @property
    def dropout(self) -> float:
        """The probability with which a number of the features is dropped in training."""
        layer = self.head[0]
        assert isinstance(layer, nn.Dropout)
        return layer.p

    def forward(self, features: Tensor) -> Tensor:
        return self.head(features)

    def loss(self, logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Mean cross-entropy over the batch: a scalar."""
        return nn.functional.cross_entropy(logits.float(), batch["label"])

    def scored(self, logits: Tensor, labels: Tensor) -> "ClassificationMeter":
        """A meter that has seen the logits (n, classes) of all examples of a part, in their order, and labels (n,)."""
        meter = self.meter()
        meter.update(logits, {"label": labels, "index": torch.arange(len(labels))})
        return meter

    def meter(self) -> "ClassificationMeter":
        """A fresh accumulator of this task's metrics over one pass."""
        return ClassificationMeter(self.metric_names)


class ClassificationMeter:
    """Accumulates logits over a pass; `compute` gives {metric: value, "loss": mean over examples} as doubles."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.logits: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.index: list[Tensor] = []

    def update(self, logits: Tensor, batch: dict[str, Tensor]) -> None:
        self.logits.append(logits.detach().float().cpu())
        self.labels.append(batch["label"].cpu())
        self.index.append(batch["index"].cpu())

    def gather(self) -> None:
        """Add what the other processes of this run saw; an example that several saw counts once."""
        if world_size() == 1:
            return
        seen = gather(tuple(torch.cat(part).numpy() for part in (self.logits, self.labels, self.index)))
        logits, labels, index = (np.concatenate(parts) for parts in zip(*seen, strict=True))
        _, first = np.unique(index, return_index=True)
        self.logits, self.labels, self.index = ([torch.from_numpy(p[first])] for p in (logits, labels, index))

    def predictions(self) -> tuple[Tensor, Tensor]:
        """Logits (n, classes) and labels (n,), in the order of the examples."""
        order = torch.cat(self.index).argsort()
        return torch.cat(self.logits)[order], torch.cat(self.labels)[order]

    def compute(self) -> dict[str, float]:
        logits, labels = self.predictions()
        return scores(self.names, logits, labels)
