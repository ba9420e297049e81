"""What every bundled set promises: the same bytes each time, the stated sizes, balanced classes, no repeated inputs."""

import importlib
from pathlib import Path

import pandas as pd
import pytest

from tlx.data.bundled import package_folder
from tlx.errors import UserError

NAMES = ["digits", "letters", "vowels", pytest.param("docstrings", marks=pytest.mark.slow)]
INPUT = {"digits": "image", "letters": "image", "vowels": "audio", "docstrings": "text"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function that makes a set once for all tests of this module and gives its folder."""
    folders: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            importlib.import_module(f"tlx.data.bundled.{name}").make(folders[name])
        return folders[name]

    return get


@pytest.mark.parametrize("name", NAMES)
def test_making_a_set_twice_gives_the_same_bytes(name, made, tmp_path):
    importlib.import_module(f"tlx.data.bundled.{name}").make(tmp_path)
    first = {path.name: path.read_bytes() for path in made(name).iterdir()}
    second = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert first.keys() == second.keys()
    assert all(first[file] == second[file] for file in first)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits"])
def test_each_part_has_the_stated_number_of_each_class(name, made):
    per_class = importlib.import_module(f"tlx.data.bundled.{name}").PER_CLASS
    assert {path.name for path in made(name).iterdir()} == {f"{split}.parquet" for split in per_class}
    for split, count in per_class.items():
        labels = pd.read_parquet(made(name) / f"{split}.parquet")["label"]
        assert set(labels.value_counts()) == {count}
        assert labels.map(type).eq(str).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_input_occurs_twice(name, made):
    inputs = pd.concat(pd.read_parquet(path)[INPUT[name]] for path in made(name).iterdir())
    assert not inputs.duplicated().any()


def test_digits_are_one_file_with_every_example_of_scikit_learn(made):
    from sklearn.datasets import load_digits

    assert [path.name for path in made("digits").iterdir()] == ["all.parquet"]
    rows = pd.read_parquet(made("digits") / "all.parquet")
    assert rows["id"].is_unique
    assert rows["label"].astype(int).tolist() == load_digits().target.tolist()


def test_a_missing_package_is_named():
    with pytest.raises(UserError, match="no_such_package_of_ours"):
        package_folder("no_such_package_of_ours")
