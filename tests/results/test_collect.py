"""Collecting: every run once, planned ones too, older attempts never."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlx.errors import UserError
from tlx.record.jsonfile import write_json_rows
from tlx.record.record import write_record
from tlx.results import collect, frame


def states(path: Path) -> list[tuple]:
    return [(run.choices.get("strategy"), run.seed, run.status) for run in collect(path)]


def test_records_and_plan_make_the_list(study) -> None:
    study.run("scratch", 0)
    study.run("full", 10, status="running")
    study.run("full", 2, status="failed", error={"type": "ValueError", "message": "no"})
    study.run("full", 1, status="missing")
    study.plan()
    expected = [
        ("full", 1, "missing"),
        ("full", 2, "failed"),
        ("full", 10, "running"),
        ("scratch", 0, "completed"),
    ]
    assert states(study.folder) == expected
    assert states(study.folder.parent) == expected
    assert states(study.folder / "study.json") == expected


@pytest.mark.parametrize("by_row", [True, False], ids=["a row a line", "on one line"])
def test_of_a_plan_only_runs_without_a_record_are_read(study, by_row: bool) -> None:
    """The config of a planned run is large, and its record has it, too."""
    study.run("scratch", 0)
    study.run("full", 1, status="missing")
    study.plan()
    file = study.folder / "study.json"
    known, missing = study.entries
    if by_row:
        write_json_rows(file, {"schema": 1, "study": "s"}, "runs", study.entries)
        # Nobody misses what is wrong with a row that is not wanted; of the other one it is said.
        text = file.read_text()
        file.write_text(
            text.replace(json.dumps(known, ensure_ascii=False), f'{{"identity": "{known["identity"]}", no json')
        )
        assert file.read_text() != text
    assert states(study.folder) == [("full", 1, "missing"), ("scratch", 0, "completed")]
    assert collect(study.folder)[0].config == missing["config"]
    file.write_text(file.read_text().replace(missing["identity"], missing["identity"] + '"'))
    assert sorted(state[2] for state in states(study.folder)) == ["completed", "damaged"]


def test_one_run_folder(study) -> None:
    folder = study.run("full", 0)
    study.run("full", 1)
    study.plan()
    assert states(folder) == states(folder / "record.json") == [("full", 0, "completed")]


def test_older_attempts_are_left_out_even_when_the_new_one_has_no_record(study) -> None:
    folder = study.run("full", 0, 0.9)
    old = json.loads((folder / "record.json").read_text())
    write_record(folder / "attempt-1", {**old, "metrics": {"test/accuracy": 0.1}})
    assert [run.metric("test/accuracy") for run in collect(study.folder)] == [0.9]
    (folder / "record.json").unlink()
    study.plan()
    assert states(study.folder) == [("full", 0, "missing")]


def test_each_run_once_in_its_best_state(study, tmp_path: Path) -> None:
    other = study.beside("adhoc")
    study.run("full", 0, 0.7)
    other.run("full", 0, status="missing")
    other.run("full", 1, status="interrupted")
    study.run("full", 1, 0.8)
    study.plan()
    other.plan()
    runs = collect([tmp_path / "runs", study.folder, other.folder])
    assert [(run.study, run.seed, run.status) for run in runs] == [("demo", 0, "completed"), ("demo", 1, "completed")]
    assert states(other.folder) == [("full", 0, "missing"), ("full", 1, "interrupted")]


def test_links_in_a_circle_end(study) -> None:
    study.run("full", 0)
    (study.folder / "again").symlink_to(study.folder.parent, target_is_directory=True)
    assert states(study.folder) == [("full", 0, "completed")]


def test_a_damaged_record_is_told_and_does_not_hide_the_others(study) -> None:
    study.run("full", 0)
    bad = study.run("full", 1) / "record.json"
    stray = study.folder / "stray" / "record.json"
    stray.parent.mkdir()
    for path in (bad, stray):
        path.write_text('{"schema": 1,')
    study.plan()
    runs = collect(study.folder)
    assert [(run.seed, run.status) for run in runs] == [(0, "completed"), (1, "damaged"), (None, "damaged")]
    assert str(bad) in (runs[1].problem or "")
    assert str(stray) in (runs[2].problem or "")


def test_no_such_folder_says_what_there_is(study) -> None:
    study.run("full", 0)
    with pytest.raises(UserError, match=r"no such folder: .*dmeo.*holds: demo/"):
        collect(study.folder.parent / "dmeo")


def test_a_folder_without_runs_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UserError, match="holds: pictures/"):
        collect(tmp_path)
    with pytest.raises(UserError, match="is empty"):
        collect(tmp_path / "pictures")


def test_frame_has_a_row_a_run(study) -> None:
    study.runs("full", [0.5, 0.75])
    study.run("full", 2, status="missing")
    study.plan()
    table = frame(collect(study.folder))
    assert table["seed"].tolist() == [0, 1, 2]
    assert table["test/accuracy"].tolist()[:2] == [0.5, 0.75]
    assert table["config.optimizer.lr"].tolist() == [0.001] * 3
    assert table["status"].tolist() == ["completed", "completed", "missing"]
    assert table["counts.trainable_share"].isna().tolist() == [False, False, True]


def test_a_table_of_1000_records_needs_no_heavy_library(study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # a thousand waits for the disk test nothing here
    for size in range(20):
        for strategy in ("scratch", "full", "lora", "mixout", "partial"):
            study.runs(strategy, [0.5 + 0.01 * (seed * 7 % 5) for seed in range(10)], train_size=size + 1)
    program = (
        "import sys, tlx.results as r\n"
        f"runs = r.collect({str(study.folder)!r})\n"
        "table = r.build_table(runs)\n"
        "for format in r.FORMATS: r.render(table, format)\n"
        "assert len(runs) == 1000 and len(table.rows) == 100\n"
        "heavy = {'torch', 'lightning', 'pandas', 'scipy.stats', 'sklearn', 'matplotlib', 'transformers', 'timm'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_published_study_has_a_name(study) -> None:
    """A page on experiments/questions/records was called "records", and so were the studies its commands would make."""
    published = study.beside("records")
    published.run("full")
    (run,) = collect(published.folder)
    assert run.study == published.folder.parent.name
