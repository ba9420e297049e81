"""docs/reference/record.md names the keys that records have, and no others."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parent))

from pages import ROOT, sources, tables

TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "whole number": (int,),
    "true or false": (bool,),
    "list": (list,),
    "object": (dict,),
    "null": (type(None),),
    "any": (object,),
}


def flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(key, value) of every leaf; the config, which has a page of its own, is one."""
    if isinstance(value, dict) and value and key != "config":
        for name, inner in value.items():
            yield from flat(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for entry in value:
            yield from flat(entry, f"{key}[]")
    else:
        yield key, value


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, str]]:
    """The page's rows by their keys, each as an expression that keys of records match."""
    found = {row["Key"].strip("`"): row for row in tables("reference/record.md", "Key")}
    assert len(found) > 100
    return found


def expression(key: str) -> re.Pattern[str]:
    if key == "config.*":
        return re.compile("config")
    head, star, last = key.rpartition("*") if key.endswith("*") else (key, "", "")
    return re.compile(re.escape(head).replace(r"\*", "[^.]+") + (".+" if star else "") + last)


def fits(value: Any, types: str) -> bool:
    kinds = tuple(kind for word in types.split(" or ") for kind in TYPES.get(word, ()))
    kinds += TYPES["true or false"] if "true or false" in types else ()
    return isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds and object not in kinds)


def check_files(folder: Path) -> None:
    """The page names the files of a completed run's folder, and their columns."""
    files = {row["File"].strip("`").rstrip("/") for row in tables("reference/record.md", "File")}
    assert {file.name for file in folder.iterdir()} <= files
    there = {"record.json", "metrics.csv", "predictions.parquet", "best.safetensors", "last.safetensors", ".lock"}
    assert there <= {file.name for file in folder.iterdir()}
    text = "\n".join(sources().values())
    for name in files - {"attempt-1"}:
        assert f'"{name}"' in text, f"nothing writes {name}"
    assert ('ATTEMPT = "attempt-"') in text
    columns = [row["Column"].strip("`") for row in tables("reference/record.md", "Column")]
    curves, answers = columns[: columns.index("id")], columns[columns.index("id") :]
    written = list(pd.read_csv(folder / "metrics.csv").columns)
    assert all(any(expression(column).fullmatch(name) for column in curves) for name in written), written
    assert all(any(expression(column).fullmatch(name) for name in written) for column in curves), written
    assert [*pd.read_parquet(folder / "predictions.parquet").columns] == [name for name in answers if name != "group"]
    plan = json.loads((folder.parent / "study.json").read_text())["runs"][0]
    page = (ROOT / "docs/reference/record.md").read_text()
    assert all(f"`{key}`" in page for key in plan)


def test_records_have_the_keys_that_the_page_names(tlx, rows: dict[str, dict[str, str]]) -> None:
    """In both directions; of a run that was completed, one that failed, and all that are published."""
    own = ["strategy=gradual_unfreezing", "trainer.max_epochs=3", "trainer.batch_size=4", "profile=true"]
    assert tlx.train(*own, "measures=[drift,train,flops]", "keep_checkpoints=both").code == 0
    assert tlx.train("strategy=lora", "optimizer.lr=1e30", "trainer.max_epochs=9").code == 1
    fresh = {record["status"]: record for record in tlx.records()}
    published = [json.loads(file.read_text()) for file in ROOT.glob("experiments/*/records/*/record.json")]
    assert len(published) > 100
    patterns = {key: expression(key) for key in rows}
    met: set[str] = set()
    known: dict[str, list[str]] = {}
    for record in [*fresh.values(), *published]:
        for key, value in flat(record):
            if key not in known:
                known[key] = [name for name, pattern in patterns.items() if pattern.fullmatch(key)]
            names = known[key]
            if value == {} and not names:
                assert any(name.startswith(f"{key}.") for name in rows), f"{key} is not on the page"
                continue
            assert names, f"{key} is not on the page"
            assert any(fits(value, rows[name]["Type"]) for name in names), f"{key} is {value!r}"
            met |= set(names)
    # What none of these runs had must be a word of the source.
    text = "\n".join(sources().values())
    general = ("always", "ended", "prepared", "complete")
    for name in rows.keys() - met:
        assert rows[name]["There"] not in general, f"no record has {name}"
        assert re.search(rf"\b{re.escape(name.removesuffix('.*').split('.')[-1])}\b", text), f"nothing writes {name}"
    # And what is said to be there is.
    for status, words in (("completed", general), ("failed", ("always", "ended", "prepared"))):
        keys = [key for key, _ in flat(fresh[status])]
        absent = {name for name, row in rows.items() if row["There"] in words}
        absent -= {name for name in absent if any(patterns[name].fullmatch(key) for key in keys)}
        assert not absent, f"{absent} of a {status} run"
    check_files(next((tlx.runs / "adhoc").glob("*gradual*")))
