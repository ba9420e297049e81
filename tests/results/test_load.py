"""A run's folder gives back the model that made its numbers."""

import numpy as np
import pandas as pd
import pytest
import torch

import tlx
from tlx.data.dataset import encode
from tlx.errors import UserError
from tlx.results import load_model


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("load")
    record = tlx.run(
        [
            "strategy=scratch",
            "dataset.train_size=2_per_class",
            "trainer.max_epochs=1",
            "trainer.threads=1",
            "model.path=null",
            *(f"paths.{kind}={root / kind}" for kind in ("runs", "registry", "cache")),
        ]
    )
    return next((root / "runs").glob("*/*/record.json")).parent, record


def test_the_loaded_model_gives_the_stored_predictions(run_folder):
    folder, record = run_folder
    from pathlib import Path

    from tlx.config.instantiate import instantiate

    module = load_model(folder)
    assert not module.training
    stored = pd.read_parquet(folder / "predictions.parquet")
    noted = record["predictions"]
    assert noted["examples"] == len(stored) and noted["predicted_classes"] == stored["predicted"].nunique()
    assert noted["majority"] == stored["label"].value_counts(normalize=True).max()
    config = record["config"]
    test = instantiate(config["dataset"], "dataset").load(config["seed"], Path(config["paths"]["cache"])).test
    assert list(stored["id"]) == test.ids
    batch = module.backbone.preprocessing.collate(encode(test, module.backbone.preprocessing))
    with torch.no_grad():
        logits = module(batch).numpy()
    np.testing.assert_allclose(logits, np.stack(stored["logits"]), atol=1e-5)
    assert (stored["predicted"] == stored["label"]).mean() == pytest.approx(record["metrics"]["test/accuracy"])


def test_a_folder_without_a_completed_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="no completed run"):
        load_model(tmp_path)
