"""The record: whole or absent, strict JSON, readable or refused by name."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tlx.errors import UserError
from tlx.record.record import read_record, write_record

RECORD = {"identity": "a", "cell": "b", "status": "completed", "choices": {"seed": 0}, "config": {}, "metrics": {}}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    metrics = {"test/accuracy": 0.1 + 0.2, "test/loss": np.float32(0.5), "n": np.int64(3)}
    path = write_record(tmp_path / "new" / "run", {**RECORD, "metrics": metrics, "betas": (0.9, 0.999)})
    record = read_record(path.parent)
    assert record == {
        **RECORD,
        "schema": 1,
        "metrics": {"test/accuracy": 0.1 + 0.2, "test/loss": 0.5, "n": 3},
        "betas": [0.9, 0.999],
    }
    assert [entry.name for entry in path.parent.iterdir()] == ["record.json"]


def test_no_record_is_none(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    assert read_record(tmp_path / "nowhere") is None


def test_numbers_that_json_lacks_are_null_and_named(tmp_path: Path) -> None:
    given = {**RECORD, "metrics": {"test/loss": float("nan"), "val/loss": float("inf")}, "rates": [1.0, -np.inf]}
    path = write_record(tmp_path, given)
    data = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert data["metrics"] == {"test/loss": None, "val/loss": None}
    assert data["non_finite"] == {"metrics.test/loss": "nan", "metrics.val/loss": "inf", "rates.1": "-inf"}
    assert "non_finite" not in given


def test_a_write_that_fails_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(tmp_path, RECORD)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_record(tmp_path, {**RECORD, "status": "failed"})
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]
    assert json.loads((tmp_path / "record.json").read_text())["status"] == "completed"


def test_what_json_cannot_hold_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"config\.model is a object"):
        write_record(tmp_path / "run", {**RECORD, "config": {"model": object()}})
    assert not (tmp_path / "run").exists()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path, RECORD)
    path.write_text(json.dumps({**RECORD, "schema": 2}))
    with pytest.raises(UserError, match=r"schema 2.*Update tlx") as error:
        read_record(tmp_path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"schema": 1, "identity"',
        "[]",
        json.dumps(RECORD),
        json.dumps({**RECORD, "schema": 1, "status": "fine"}),
        json.dumps({"schema": 1, "status": "completed"}),
        json.dumps({**RECORD, "schema": 1, "metrics": [1]}),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(UserError, match="is damaged") as error:
        read_record(tmp_path)
    assert str(path) in str(error.value)
