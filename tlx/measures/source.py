"""The source task of a backbone, with its own head kept aside: its scores before and after adaptation, its examples."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from tlx.cache.contents import digest_of
from tlx.cache.key import prefix_key, source_of
from tlx.cache.scores import kept_scores
from tlx.cache.stores import limit_of
from tlx.callbacks.forgetting import ForgettingMeter
from tlx.config.instantiate import data_set
from tlx.data.dataset import Dataset
from tlx.data.loaders import Examples, eval_loader
from tlx.data.prepared import prepare
from tlx.errors import UserError
from tlx.identity import check_contents, weights_place
from tlx.module import TransferModule, computed_features, score
from tlx.probes.logistic import Logistic
from tlx.registry.entries import source_card
from tlx.streams import stream
from tlx.tasks import metrics
from tlx.tasks.classification import Classification
from tlx.tasks.metrics import direction

# Encoded source examples of this process: every run of a study scores the same ones.
_LOADERS: dict[tuple[str, str, str, str], Any] = {}
PROBED = 2000


def source_meter(config: dict[str, Any], module: TransferModule) -> "SourceMeter | None":
    """A meter of what is forgotten of the source task; None where the backbone brings none, or knows nothing of it."""
    source = _source(config)
    if source is None:
        return None
    card, dataset, _ = source
    loader = _loader(config, card, dataset, module, "test")
    lower = tuple(name for name in [*dataset.metrics, "loss"] if direction(name) == "lower")
    return SourceMeter(config, card["name"], source_head(config, module), loader, lower)


class SourceMeter(ForgettingMeter):
    """Scores the source task by the head of its training, which reads the backbone's features and never trains.

    The scores before the training are the same for every run that starts from these weights: they are kept in the
    cache. `spared` are the seconds that another run has spent on them.
    """

    def __init__(
        self, config: dict[str, Any], name: str, head: Classification, loader: Any, lower_is_better: tuple[str, ...]
    ) -> None:
        super().__init__(self._scores, lower_is_better, at_fit_end=False)
        self.config, self.name, self.head, self.loader, self.spared = config, name, head, loader, 0.0

    def measure_before(self, module: nn.Module) -> None:
        if self.before:
            return
        assert isinstance(module, TransferModule)
        if self.config["cache"] == "off":
            self.before = self._scores(module)
            return
        examples, head = self.loader.dataset, max(group.depth for group in module.plan.groups)
        code = [source_of(part) for part in (Classification, metrics.scores)]
        versions = [version(package) for package in ("scipy", "scikit-learn")]
        batches = digest_of([np.array(batch) for batch in self.loader.batch_sampler])
        what = [examples.content, batches, digest_of(self.head.state_dict()), self.head.metric_names, code, versions]
        key = prefix_key(module, module.plan, head, {}, "source scores", digest_of(examples.labels), *what)
        about = {"model": self.name, "part": "test (source)", "examples": len(examples)}
        cache = Path(self.config["paths"]["cache"])
        self.before, self.spared = kept_scores(cache, key, about, limit_of(self.config), lambda: self._scores(module))

    def _scores(self, module: nn.Module) -> dict[str, float]:
        assert isinstance(module, TransferModule)
        self.head.to(module.device)
        return score(module, self.head, self.loader, lambda batch: self.head(module.backbone(batch))).compute()


class SourceProbe:
    """A fresh linear probe on the source task: what the features still say of it, whatever became of the old head.

    Multinomial logistic regression (`tlx.probes.logistic` with C = 1) on standardised features of at most PROBED
    training examples of the source; scored on its test part.
    """

    def __init__(self, train: Any, test: Any, task: Classification) -> None:
        self.train, self.test, self.task = train, test, task

    def scores(self, module: TransferModule) -> dict[str, float]:
        """The source task's metrics of a new probe on the features of `module`."""
        features, labels = computed_features(module, self.task, self.train)
        head = Logistic().solve(features, labels, self.task.classes, score=lambda _: 0.0)
        features, labels = computed_features(module, self.task, self.test)
        return self.task.scored(features @ head.weight.T + head.bias, labels).compute()


def source_probe(config: dict[str, Any], module: TransferModule) -> SourceProbe | None:
    """A probe of the source task; None where `source_meter` is None."""
    source = _source(config)
    if source is None:
        return None
    card, dataset, _ = source
    task = _head(module, card, dataset)
    train, test = (_loader(config, card, dataset, module, role) for role in ("train", "test"))
    return SourceProbe(train, test, task)


def has_source(config: dict[str, Any]) -> bool:
    """Whether the run's weights bring their source task, and are used."""
    return _source(config) is not None


def source_head(config: dict[str, Any], module: TransferModule) -> Classification:
    """The source task with the head that its training left, frozen and in eval mode; see `has_source`."""
    source = _source(config)
    assert source is not None
    card, dataset, place = source
    head = _head(module, card, dataset)
    head.load_state_dict(load_file(place / "head.safetensors"))
    return head.requires_grad_(False).eval()


def source_examples(config: dict[str, Any], module: TransferModule) -> Examples:
    """At most PROBED of the source's training examples, the same ones for every run; see `has_source`."""
    source = _source(config)
    assert source is not None
    card, dataset, _ = source
    return _loader(config, card, dataset, module, "train").dataset


def _head(module: TransferModule, card: dict[str, Any], dataset: Dataset) -> Classification:
    """The source task; its random weights are drawn apart, so that what is measured does not change the training."""
    with torch.random.fork_rng():
        return Classification(module.backbone.feature_dim, card["labels"], dataset.metrics)


def _source(config: dict[str, Any]) -> tuple[dict[str, Any], Dataset, Path] | None:
    """Card, data set and place of what the run's weights were trained on, where that is known and they hold it."""
    place = weights_place(config)
    if config["strategy"]["init"] in ("scratch", "shuffled") or place is None:
        return None
    card = source_card(place)
    return None if card is None else (card, data_set(card["dataset"]), place)


def _loader(config: dict[str, Any], card: dict[str, Any], dataset: Dataset, module: TransferModule, role: str) -> Any:
    preprocessing = module.backbone.preprocessing
    # By what the source is, not by what it is called: it may be replaced while this process goes on.
    content = config.get("run", {}).get("fingerprints", {}).get("source", "")
    key = (str(card["dataset"]), content, preprocessing.key(), role)
    if key not in _LOADERS:
        # The source's own seed drew its splits; no label of it is used to train or select here.
        data = dataset.load(0, Path(config["paths"]["cache"]))
        if list(data.spec.label_names) != card["labels"]:
            raise UserError(
                f"the source data set now has other labels than the head of {card['name']} was trained on "
                f"({', '.join(card['labels'][:8])}, …): its scores would mean nothing. Make the entry anew."
            )
        part = data.test
        if role == "train":
            part = data.train.take(np.sort(stream(0, "source_examples").permutation(len(data.train))[:PROBED]))
        encoded = prepare(config, part, preprocessing, f"{role} (source)")
        if content:
            check_contents(config)
        _LOADERS[key] = eval_loader(Examples(encoded, part.labels, preprocessing), 256)
    return _LOADERS[key]
