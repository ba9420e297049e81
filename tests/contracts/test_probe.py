"""A probe is a good probe: with default settings it comes within a point of logistic regression on the same features.

Needs the real MiniLM (its folder in TLX_MINILM) and the data sets. The frozen encoder's features are computed once and
then stand in for it, since they do not change over twenty epochs; everything else is a run's own.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from tlx.assembly import assemble
from tlx.config.composer import composer
from tlx.data.dataset import encode
from tlx.data.loaders import Examples, eval_loader, train_loader
from tlx.fit.seeding import seed_everything
from tlx.fit.selected import load_selected
from tlx.fit.trainer import make_trainer
from tlx.module import score
from tlx.sweeps.study import plan_run

MINILM = os.environ.get("TLX_MINILM")
DATA = Path(__file__).resolve().parents[2].parent / "shared/data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not MINILM, reason="TLX_MINILM does not name a folder with MiniLM"),
    pytest.mark.skipif(not (DATA / "trec").is_dir(), reason="no real data beside the project"),
]


class Encoded(nn.Module):
    """The backbone's place in the module, with its frozen network; a batch brings its features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["features"]


class Vectors:
    """Examples are pairs of a feature vector and the length that the text had."""

    def length(self, example: tuple[np.ndarray, int]) -> int:
        return example[1]

    def collate(self, examples: Sequence[tuple[np.ndarray, int]]) -> dict[str, Tensor]:
        return {"features": torch.from_numpy(np.stack([vector for vector, _ in examples]))}


def features(module: Any, part: Any) -> Examples:
    """A part of the data set with each text's features, in its order."""
    preprocessing = module.backbone.preprocessing
    texts = encode(part, preprocessing)
    vectors = np.empty((len(texts), module.backbone.feature_dim), np.float32)
    with torch.no_grad():
        for batch in eval_loader(Examples(texts, part.labels, preprocessing), 128):
            vectors[batch["index"].numpy()] = module.backbone(batch).numpy()
    pairs = [(vector, preprocessing.length(text)) for vector, text in zip(vectors, texts, strict=True)]
    return Examples(pairs, part.labels, Vectors())


@pytest.mark.parametrize(("dataset", "size"), [("trec", []), ("clinc150", ["dataset.train_size=8_per_class"])])
def test_within_a_point_of_logistic_regression(dataset: str, size: list[str], tmp_path: Path) -> None:
    words = ["model=minilm", f"model.path={MINILM}", f"dataset={dataset}", f"dataset.path={DATA / dataset}", *size]
    with composer() as compose:
        plan = plan_run(compose([*words, "strategy=feature_extraction", f"paths.cache={tmp_path / 'cache'}"]))
    config = plan.config
    seed_everything(config["seed"])
    data, module = assemble(config)
    module.eval()
    parts = {name: features(module, getattr(data, name)) for name in ("train", "validation", "test")}
    module.backbone = Encoded(module.backbone.network)

    batch_size, buckets = config["trainer"]["batch_size"], config["dataset"]["sampler"] == "length_buckets"
    trainer = make_trainer(config, tmp_path, [])
    trainer.fit(
        module.train(),
        train_loader(parts["train"], batch_size, config["seed"], buckets),
        eval_loader(parts["validation"], 128),
    )
    load_selected(config, module, tmp_path)
    probe = score(module, module.task, eval_loader(parts["test"], 128), forward=module).compute()["accuracy"]

    x = {name: np.stack([vector for vector, _ in part.examples]) for name, part in parts.items()}
    fitted = [LogisticRegression(C=c, max_iter=2000).fit(x["train"], parts["train"].labels) for c in (1, 10, 100)]
    best = max(fitted, key=lambda model: model.score(x["validation"], parts["validation"].labels))
    reference = best.score(x["test"], parts["test"].labels)
    print(f"{dataset}: probe {probe:.4f}, logistic regression {reference:.4f} (C = {best.C})")
    assert probe >= reference - 0.01
