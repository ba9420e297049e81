"""What is published of a study makes the same table, and says nothing of the machine."""

import json

import pytest

from tlx.errors import UserError
from tlx.results import build_table, collect, render
from tlx.results.curves import curve
from tlx.results.publish import publish


def test_the_same_table_without_names_of_machines(study, tmp_path) -> None:
    study.runs("scratch", [0.4, 0.5], sittings=[{"host": "secret"}])
    study.runs("full", [0.6, 0.7], sittings=[{"host": "secret"}])
    study.run("full", 2, status="missing")
    study.plan()
    folder = study.run("full", 1, 0.7, sittings=[{"host": "secret"}])
    (folder / "metrics.csv").write_text("step,val/accuracy\n1,0.5\n")
    (folder / "best.safetensors").write_bytes(b"large")
    target = tmp_path / "published"
    assert publish(study.folder, target) == 4
    tables = [render(build_table(collect(place)), "json") for place in (study.folder, target)]
    assert tables[0] == tables[1] and json.loads(tables[0])["rows"][1]["missing"] == 1
    assert curve(target / folder.name, "val/accuracy") == [(1, 0.5)]
    files = [file for file in target.rglob("*") if file.is_file()]
    assert {file.name for file in files} == {"study.json", "record.json", "metrics.csv"}
    assert not any("secret" in file.read_text() for file in files)


def test_what_cannot_be_published(study, tmp_path) -> None:
    study.run(config={"model.path": "/home/me/weights"})
    with pytest.raises(UserError, match=r"no study's folder: it holds no study.json"):
        publish(study.folder, tmp_path / "published")
    study.plan()
    with pytest.raises(UserError, match="was given the path /home/me/weights: run the study with relative paths"):
        publish(study.folder, tmp_path / "published")
    assert not (tmp_path / "published").exists()
