"""A record with one part that is not what it should be is set aside by name; what it says elsewhere hides nothing."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tlx.errors import UserError
from tlx.results import build_table, collect, compare, frame, list_runs, render
from tlx.results.figures import KINDS, Absent
from tlx.results.findings import findings
from tlx.results.price import price
from tlx.results.report.rows import page_table
from tlx.results.report.sentences import question, verdict
from tlx.results.report.settings import shared_settings

GROUPS = ("stem", "block1", "block2", "block3", "head")
WRONG = ["a word", "", [0.5], {"a": {"b": 1}}, True, -1, 1e308, None]


def spoil(folder: Path, change: Any) -> None:
    path = folder / "record.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("value", ["high", "", [0.9], {"mean": 0.9}])
def test_a_metric_that_is_no_number_sets_its_record_aside(study, value) -> None:
    study.runs("scratch", [0.5, 0.6, 0.7])
    study.runs("full", [0.6, 0.8])
    bad = study.run("full", 2, 0.9)
    spoil(bad, lambda record: record["metrics"].update({"test/accuracy": value}))
    built = build_table(collect(study.folder))
    assert [(row["strategy"], row["n"]) for row in built.rows] == [("scratch", 3), ("full", 2)]
    assert f"{bad / 'record.json'} is damaged ('metrics.test/accuracy' is {json.dumps(value)}, no number)" in (
        built.caption
    )


@pytest.mark.parametrize("literal", ["1e999", "NaN", "-Infinity"])
def test_a_metric_without_end_is_missing(study, literal: str) -> None:
    study.runs("scratch", [0.5, 0.6])
    path = study.run("full", 0, 0.123) / "record.json"
    study.run("full", 1, 0.7)
    path.write_text(path.read_text().replace('"test/accuracy": 0.123', f'"test/accuracy": {literal}'))
    built = build_table(collect(study.folder))
    assert [row["n"] for row in built.rows] == [2, 1] and built.rows[1]["mean"] == 0.7
    assert "some completed runs have no finite test/accuracy and are left out of tiny_vision × full" in built.caption


def test_a_record_of_a_newer_schema_is_left_out_alone(study) -> None:
    study.runs("full", [0.6, 0.8])
    newer = study.run("full", 2, 0.9)
    spoil(newer, lambda record: record.update(schema=2))
    before = (newer / "record.json").read_text()
    runs = collect(study.folder)
    built = build_table(runs)
    assert built.rows[0]["n"] == 2
    assert "has schema 2; this tlx reads records up to schema 1. Update tlx to read it." in built.caption
    assert [run["status"] for run in list_runs(runs)["runs"]] == ["completed", "completed", "damaged"]
    assert (newer / "record.json").read_text() == before


@pytest.mark.parametrize("plan", ['{"schema": 2, "runs": []}', '{"schema": 1,', '{"schema": 1, "runs": [{"cell": 1}]}'])
def test_a_plan_that_cannot_be_read_hides_no_record(study, plan: str) -> None:
    study.runs("full", [0.6, 0.8])
    (study.folder / "study.json").write_text(plan)
    built = build_table(collect(study.folder))
    assert built.rows[0]["n"] == 2 and str(study.folder / "study.json") in built.caption


def leaves(nested: Any, path: tuple = ()) -> list[tuple]:
    """The places of all sections of a record, and of all values in them, two levels deep."""
    found = [path] if path else []
    if isinstance(nested, dict) and len(path) < 2:
        for key, value in nested.items():
            found += leaves(value, (*path, key))
    return found


def read_everything(folder: Path) -> None:
    runs = collect(folder)
    render(build_table(runs, tune_over="optimizer.lr"), "json")
    found = findings(runs)
    for figure in KINDS.values():
        try:
            figure.picture(found)
        except Absent:
            continue
    page_table(found), shared_settings(runs), question(found), verdict(found)
    str(compare(runs, "full", "scratch")), frame(runs), list_runs(runs, log=True), price(runs)


def test_whatever_stands_in_one_part_of_one_record_the_others_are_shown(full_study, study) -> None:
    full_study(study, seeds=2, sizes=(2,))
    for other in study.folder.iterdir():  # three strategies will do
        if other.is_file():
            other.unlink()
        elif not other.name.startswith(("scratch-", "full-", "lora-")):
            shutil.rmtree(other)
    folder = next(study.folder.glob("lora-*"))
    path = folder / "record.json"
    record = json.loads(path.read_text())
    places = [place for place in leaves(record) if place[1:2] not in [(f"cka/{name}",) for name in GROUPS[1:]]]
    assert ("metrics", "test/accuracy") in places and ("plan", "groups") in places and ("seconds", "total") in places
    for number, place in enumerate(places):
        spoilt = copy.deepcopy(record)
        inside: Any = spoilt
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = WRONG[number % len(WRONG)]
        path.write_text(json.dumps(spoilt))
        try:
            read_everything(study.folder)
        except UserError as error:  # what it is of contradicts the others of its cell: that is for people
            assert place[0] in ("identity", "cell", "choices", "config") or str(folder) in str(error)
        except Exception as error:
            error.add_note(f"{place} = {inside[place[-1]]!r}")
            raise
