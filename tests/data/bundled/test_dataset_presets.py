"""Every yaml of configs/dataset composes, says nothing unknown, and fits the files where the data are at hand."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "configs" / "dataset"
DATA = ROOT / "../shared/data"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
BASES = {"text": "local_text", "image": "local_image", "audio": "local_audio"}
METRICS = {"accuracy", "macro_f1", "matthews", "balanced_accuracy"}
HERE = [name for name in NAMES if (DATA / name).is_dir()]


def load(name: str) -> dict[str, Any]:
    """The preset with what it inherits."""
    with initialize_config_dir(str(ROOT / "configs"), version_base=None):
        config = compose(overrides=[f"+dataset={name}"])
    loaded = OmegaConf.to_container(config.dataset, resolve=True)
    assert isinstance(loaded, dict)
    return {str(key): value for key, value in loaded.items()}


def inputs(preset: dict[str, Any]) -> list[str]:
    """The input columns: one, or two for pairs."""
    given = preset["columns"]["input"]
    return given if isinstance(given, list) else [given]


def read(path: Path, columns: list[str]) -> dict[str, np.ndarray]:
    """Columns of a parquet or npz file."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {column: arrays[column] for column in columns}
    frame = pd.read_parquet(path, columns=columns)
    return {column: frame[column].to_numpy() for column in columns}


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_composes_to_the_keys_of_its_base(name):
    preset = load(name)
    base = load(BASES[preset["modality"]])
    assert preset.keys() == base.keys()
    assert preset["columns"].keys() == base["columns"].keys()
    assert preset["splits"].keys() == base["splits"].keys()
    assert preset["splits"]["train"]
    assert set(preset["metrics"]) <= METRICS
    assert preset["monitor"] in preset["metrics"]
    assert len(inputs(preset)) <= 2


@pytest.mark.parametrize("name", [name for name in NAMES if name not in BASES.values()])
def test_a_preset_says_what_it_is_under_which_licence_and_what_to_expect(name):
    header = (FOLDER / f"{name}.yaml").read_text().split("defaults:")[0]
    for word in ("Size:", "Licence:", "Cite:"):
        assert word in header
    assert "Baseline:" in header or "Published:" in header


@pytest.mark.parametrize("name", NAMES)
def test_the_maker_of_a_bundled_set_exists(name):
    preset = load(name)
    assert not (preset["make"] and preset["path"])
    if preset["make"]:
        module, function = preset["make"].rsplit(".", 1)
        assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("name", NAMES)
def test_a_hub_set_has_a_revision_and_others_have_none(name):
    preset = load(name)
    assert (preset["revision"] is not None) == str(preset["path"]).startswith("hub:")


@pytest.mark.skipif(not HERE, reason="needs the data sets of ../shared/data")
@pytest.mark.parametrize("name", HERE)
def test_columns_splits_and_label_names_fit_the_files(name):
    preset = load(name)
    label = preset["columns"]["label"]
    classes: set[Any] = set()
    for split in filter(None, preset["splits"].values()):
        (path,) = (DATA / name).glob(f"{split}.*")
        columns = read(path, [*inputs(preset), label])
        assert len({len(values) for values in columns.values()}) == 1
        labels = columns[label]
        if preset["where"]:
            labels = pd.read_parquet(path).query(preset["where"])[label].to_numpy()
        classes |= set(labels.tolist())
    if preset["label_names"] is None:
        assert all(isinstance(value, str) for value in classes)
    else:
        assert len(set(preset["label_names"])) == len(preset["label_names"])
        assert classes == set(range(len(preset["label_names"])))


@pytest.mark.skipif("chemprot" not in HERE, reason="needs ../shared/data/chemprot")
@pytest.mark.parametrize("name", [name for name in ("chemprot", "scicite", "acl_arc") if name in HERE])
def test_label_names_are_in_the_order_of_the_name_column(name):
    rows = pd.read_parquet(DATA / name / "train.parquet")
    by_id = rows.groupby("label")["label_name"].unique()
    expected = load(name)["label_names"]
    assert {number: list(names) for number, names in by_id.items()} == {i: [n] for i, n in enumerate(expected)}


@pytest.mark.skipif("clinc150" not in HERE, reason="needs ../shared/data/clinc150")
def test_clinc150_keeps_its_150_intents():
    rows = pd.read_parquet(DATA / "clinc150" / "test.parquet").query(load("clinc150")["where"])
    assert rows["intent"].nunique() == 150
    assert len(rows) == 4500
