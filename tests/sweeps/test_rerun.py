"""Running again: on purpose, after a crash, from a record; the numbers are the same to the last bit."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest


def metrics(records: list[dict]) -> dict[str, dict]:
    return {record["identity"]: record["metrics"] for record in records}


def test_the_same_run_in_two_folders(tlx) -> None:
    first = tlx.record("study=one", "strategy=full")
    second = tlx.record("study=two", "strategy=full")
    assert first["identity"] == second["identity"]
    assert first["metrics"] == second["metrics"]
    assert first["checkpoint"] == second["checkpoint"]
    # What is measured differs between runs, so it lies elsewhere.
    assert not any(word in name for name in first["metrics"] for word in ("second", "memory", "time", "byte"))
    assert {name.split("/")[0] for name in first["metrics"]} == {"before", "val", "test", "source", "forgetting"}


def test_force_keeps_the_old_attempt(tlx) -> None:
    first = tlx.record("strategy=scratch")
    folder = next((tlx.runs / "adhoc").glob("tiny_vision-*"))
    old = (folder / "record.json").read_bytes()
    again = tlx.record("strategy=scratch", "force=true")
    assert again["attempt"] == 2 and again["metrics"] == first["metrics"]
    assert (folder / "attempt-1/record.json").read_bytes() == old
    assert {f.name for f in (folder / "attempt-1").iterdir()} >= {
        "best.safetensors",
        "predictions.parquet",
        "metrics.csv",
    }
    assert not (folder / "attempt-1/checkpoints").exists() and not (folder / "checkpoints").exists()
    # The old attempt is not counted twice, and a third is kept beside both.
    for _ in range(2):
        rows = json.loads(tlx("table", str(tlx.runs / "adhoc"), "--format", "json").out)["rows"]
        assert [row["n"] for row in rows] == [1]
        tlx.record("strategy=scratch", "force=true")
    assert {f.name for f in folder.glob("attempt-*")} == {"attempt-1", "attempt-2", "attempt-3"}


@pytest.mark.parametrize("strategy", ["full", "lora", "mixout", "ewc"])
def test_a_record_alone_suffices_to_run_again(tlx, strategy: str, tmp_path) -> None:
    from tlx.train import run

    tlx.record(f"strategy={strategy}", "seed=3", "trainer.max_epochs=2")
    record = tlx.records()[0]
    config = record["config"] | {"run": {k: record[k] for k in ("identity", "cell", "choices", "fingerprints")}}
    again = run(config, tmp_path / "again")
    assert again["metrics"] == record["metrics"]
    assert again["checkpoint"] == record["checkpoint"]


def test_a_killed_sweep_goes_on_where_it_was(tlx) -> None:
    words = ["-m", "strategy=full,scratch", "seed=0,1"]
    script = "from tlx.cli import main; main()"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    sweep = subprocess.Popen(
        [sys.executable, "-c", script, "train", *tlx.quick, *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    study = tlx.runs / "adhoc"

    def done() -> list[str]:
        texts = {file.parent.name: file.read_text() for file in study.glob("*/record.json")}
        return [name for name, text in texts.items() if json.loads(text)["status"] == "completed"]

    deadline = time.monotonic() + 300
    while sweep.poll() is None and not done() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    survived = done()
    assert 1 <= len(survived) < 4, "the sweep was not killed in its middle"
    times = {name: (study / name / "record.json").stat().st_mtime_ns for name in survived}
    assert len(json.loads((study / "study.json").read_text())["runs"]) == 4

    assert tlx.train(*words).code == 0
    assert {name: (study / name / "record.json").stat().st_mtime_ns for name in survived} == times
    assert tlx.train(*words, "study=undisturbed").code == 0
    assert metrics(tlx.records()) == metrics(tlx.records("undisturbed"))
    assert len(metrics(tlx.records())) == 4
