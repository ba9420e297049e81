"""From the files to the table: what is remarkable about the examples is said by the run, its record and its table."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

TEXT = ["model=tiny_text", "model.path=null", "strategy=scratch", "dataset=local_text", "dataset.train_size=null"]


def rows(name: str, number: int = 12) -> list[tuple]:
    return [(f"{'good' if i % 2 else 'bad'} film, {name} {i}", "pos" if i % 2 else "neg") for i in range(number)]


def test_findings_reach_output_record_predictions_table_and_report(
    tlx, write_texts: Callable[..., Path], tmp_path: Path
) -> None:
    test = [*rows("train")[:3], *rows("test"), ("odd film", "Pos")]
    folder = write_texts(train=rows("train"), validation=rows("validation"), test=test)
    for name in ("train", "validation", "test"):
        frame = pd.read_csv(folder / f"{name}.csv")
        frame.assign(writer=[f"{name} {i // 4}" for i in range(len(frame))]).to_csv(folder / f"{name}.csv", index=False)
    words = [*TEXT, f"dataset.path={folder}", "dataset.groups=writer", "dataset.untrained_labels=warn"]
    done = tlx.train(*words)
    assert done.code == 0, done.err
    (record,) = tlx.records()
    assert record["data"]["overlap"] == {"test": {"examples": 3, "of": 16, "other_label": 0}}
    assert record["data"]["untrained"] == {"Pos": {"test": 1, "nearest": "pos"}}
    assert record["data"]["groups"] == {"column": "writer", "train": 3, "validation": 3, "test": 4, "shared": {}}
    assert record["labels"] == ["Pos", "neg", "pos"]
    told = ["3 of 16 test examples are in training", "the label 'Pos' (1 examples of test) is never trained"]
    table = tlx("table", str(tlx.runs / "adhoc"))
    report = tmp_path / "report.html"
    assert tlx("report", str(tlx.runs / "adhoc"), "-o", str(report)).code == 0
    for sentence in told:
        assert f"tlx: warning: local_text: {sentence}" in done.err
        assert any(warning.startswith(sentence) for warning in record["warnings"])
        assert f"Warning: {sentence}" in table.out
        assert sentence.replace("'", "&#39;") in report.read_text() or sentence in report.read_text()
    (place,) = tlx.runs.glob("adhoc/*/predictions.parquet")
    assert pd.read_parquet(place)["group"].tolist() == [f"test {i // 4}" for i in range(16)]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("dataset.train_size=0.1,0.5,1", ["mixes shares (0.1, 0.5)", "1 is one labelled example", "1.0"]),
        ("dataset.val_size=5,0.5", ["dataset.val_size=5,0.5 mixes", "5 is 5 labelled examples"]),
        ("dataset.train_size=1", ["one labelled example", "1.0"]),
        ("dataset.task=regression", ["unknown dataset.task 'regression'", "Allowed: classification"]),
        ("dataset.splits.test=train", ["both read 'train'", "dataset.overlap=allow"]),
        ("dataset.columns.input=[]", ["dataset.columns.input=[] names no column"]),
    ],
)
def test_what_cannot_be_meant_is_refused(tlx, write_texts: Callable[..., Path], words: str, parts: list[str]) -> None:
    message = tlx.train("-m", *TEXT, f"dataset.path={write_texts()}", words).complaint
    assert all(part in message for part in parts), message
    assert not tlx.runs.exists()


def test_counts_beside_k_per_class_and_all_are_a_sweep(tlx, write_texts: Callable[..., Path]) -> None:
    sizes = "dataset.train_size=2_per_class,6,null"
    assert tlx.train("-m", *TEXT, f"dataset.path={write_texts()}", sizes).code == 0
    assert sorted(record["counts"]["train_labels"] for record in tlx.records()) == [4, 6, 20]


def test_a_record_of_an_earlier_version_says_that_it_does_not_know(tlx, write_texts: Callable[..., Path]) -> None:
    import json

    assert tlx.train(*TEXT, f"dataset.path={write_texts()}").code == 0
    (file,) = tlx.runs.glob("adhoc/*/record.json")
    assert "Warning: 1 runs of an earlier version" not in tlx("table", str(tlx.runs / "adhoc")).out
    record = json.loads(file.read_text())
    for strange in (None, "x", {"overlap": 3}, {"untrained": {"a": 1}}):
        record.pop("data", None)
        file.write_text(json.dumps(record | ({} if strange is None else {"data": strange})))
        assert "do not say whether training holds" in tlx("table", str(tlx.runs / "adhoc")).out
