"""One more metric asked of a finished run: from its predictions, without training; what cannot be had is said."""

import json

import pandas as pd
import pytest

from tlx.results.later import complete


def test_one_more_metric_trains_nothing_and_splits_no_row(tlx) -> None:
    tlx.record("seed=0")
    more = ["dataset.metrics=[accuracy,macro_f1,auroc]", "measures=[drift]"]
    (file,) = (tlx.runs / "adhoc").glob("*/record.json")
    before = json.loads(file.read_text())
    outcome = tlx.train(*more, "seed=0")
    after = json.loads(file.read_text())
    assert outcome.code == 0 and "test/auroc of 1 finished runs was computed from their predictions" in outcome.err
    assert "finished before they were asked for: val/auroc (1 runs), drift (1 runs)" in outcome.err
    assert "force=true" in outcome.err
    new = {"test/auroc": pytest.approx(after["metrics"]["test/auroc"])}
    assert after["metrics"] == before["metrics"] | new and after["directions"]["auroc"] == "higher"
    assert after["computed_later"].keys() == {"test/auroc"} and after["attempt"] == before["attempt"] == 1
    # Trained with the metric from the beginning it is the same number, in the same row.
    tlx.record(*more, "seed=0", "force=true")
    direct = json.loads(file.read_text())
    assert direct["metrics"]["test/auroc"] == after["metrics"]["test/auroc"] and "val/auroc" in direct["metrics"]
    tlx.record("seed=1")
    rows = json.loads(tlx("table", str(tlx.runs), "--format", "json").out)["rows"]
    assert [row["n"] for row in rows] == [2]
    assert "computed" not in tlx.train(*more, "seed=0").err


def test_predictions_that_are_not_the_runs_give_nothing(tlx) -> None:
    tlx.record("seed=0")
    (file,) = (tlx.runs / "adhoc").glob("*/record.json")
    record = json.loads(file.read_text())
    config = record["config"] | {"dataset": record["config"]["dataset"] | {"metrics": ["accuracy", "auroc"]}}
    path = file.parent / "predictions.parquet"
    frame = pd.read_parquet(path)
    frame.assign(label=frame["label"][::-1].to_numpy()).to_parquet(path)
    assert complete(config, file.parent) == ([], ["test/auroc", "val/auroc"])
    path.unlink()
    assert complete(config, file.parent) == ([], ["test/auroc", "val/auroc"])
    assert json.loads(file.read_text()) == record
