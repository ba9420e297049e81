"""Learning curves: read from metrics.csv, asked for steps, and found for the baseline of a run."""

import json
from pathlib import Path

import pytest

from tlx.results.curves import curve, steps_to
from tlx.results.scratch_curves import scratch_curves


def test_a_curve_is_what_was_logged_of_one_metric(tmp_path: Path) -> None:
    assert curve(tmp_path, "val/accuracy") == []
    rows = "step,epoch,train/loss,val/accuracy\n10,0,0.9,\n4,0,,0.25\n9,1,,0.5\n"
    (tmp_path / "metrics.csv").write_text(rows)
    assert curve(tmp_path, "val/accuracy") == [(4, 0.25), (9, 0.5)]
    assert curve(tmp_path, "val/loss") == []


def test_steps_to_a_share_of_the_way() -> None:
    points = [(1, 0.25), (2, 0.625), (3, 0.95), (4, 1.0), (5, 0.9)]
    assert [steps_to(points, share) for share in (0, 0.5, 0.9, 1)] == [1, 2, 3, 4]
    assert steps_to([(1, 3.0), (2, 1.1), (3, 1.0)], 0.9, higher_is_better=False) == 2
    assert steps_to([], 0.9) is None


def test_a_run_finds_the_curves_of_its_scratch_cell(tlx) -> None:
    words = ["seed=0", "trainer.max_epochs=2"]
    tlx.train(*words, "strategy=scratch")
    tlx.train(*words, "strategy=scratch", "seed=1")
    tlx.train("seed=0", "trainer.max_epochs=1", "strategy=scratch")  # another budget
    outcome = tlx.train(*words, "strategy=feature_extraction")
    assert outcome.code == 0, outcome.err
    (folder,) = (tlx.runs / "adhoc").glob("*feature_extraction*")
    record = json.loads((folder / "record.json").read_text())
    config = record["config"] | {"run": {key: record[key] for key in ("identity", "cell", "choices")}}
    curves = scratch_curves(config, folder, "val/accuracy")
    assert [len(points) for points in curves] == [2, 2]
    assert record["warnings"] == [] or "negative transfer?" in record["warnings"][0]
    assert scratch_curves(config | {"run": config["run"] | {"choices": {"strategy": "scratch"}}}, folder, "x") == []


@pytest.mark.parametrize("file", ["", "step\n"])
def test_an_empty_file_is_no_curve(tmp_path: Path, file: str) -> None:
    (tmp_path / "metrics.csv").write_text(file)
    assert curve(tmp_path, "val/accuracy") == []
