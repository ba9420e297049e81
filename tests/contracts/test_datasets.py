"""Every yaml of configs/dataset: its keys, and where the data are at hand, loading, splits and encoding."""

import os
import re
from dataclasses import fields
from pathlib import Path

import pytest

from tlx.config.instantiate import instantiate
from tlx.contracts import datasets as contracts
from tlx.data.dataset import Dataset
from tlx.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "../shared/data"
YAML = {path.stem: path.read_text() for path in (ROOT / "configs/dataset").glob("*.yaml")}
NAMES = sorted(YAML)
BUNDLED = [n for n in NAMES if re.search(r"^make: \S*\.make", YAML[n], re.M)]
HUB = [n for n in NAMES if re.search(r"^path: hub:", YAML[n], re.M)]
GIVEN_A_PATH = [n for n in NAMES if n not in BUNDLED + HUB and not n.startswith("local_")]
MODELS = {"text": "tiny_text", "image": "tiny_vision", "audio": "tiny_speech"}
SLOW = {"docstrings", "letters", "vowels"}  # more than about three seconds to make
MODALITY = {base: kind for kind, base in (("text", "local_text"), ("image", "local_image"), ("audio", "local_audio"))}


def modality(name):
    return MODALITY[next(base for base in MODALITY if base == name or f"- {base}" in YAML[name])]


def composed(compose, name, *overrides):
    return compose([f"dataset={name}", f"model={MODELS[modality(name)]}", *overrides]).config["dataset"]


def marked(names):
    return [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in names]


def load(contract, config, cache):
    """Load a data set as a run does, check its parts, and put a handful of examples through the preprocessing."""
    dataset = instantiate(config, "dataset")
    data = dataset.load(seed=0, cache=cache)
    contracts.labels_and_parts(dataset, data)
    contracts.is_encoded(data, contract.build(MODELS[data.spec.modality]).preprocessing)
    contracts.can_be_drawn_from(config, data, cache)  # Left, where a class has too few, is no pass here
    return data


def test_sets_with_speakers_recordings_or_documents_name_the_column(compose):
    column = {"fsdd": "speaker", "bengali_digits": "speaker", "esc10": "source_id", "docstrings": "document"}
    assert {name: composed(compose, name)["groups"] for name in column} == column


def test_all_data_set_yamls_are_found():
    assert len(NAMES) >= 30
    assert len(BUNDLED) >= 4
    assert {"trec", "caltech20", "cifar10", "fsdd", "bengali_digits"} <= set(GIVEN_A_PATH)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_every_key_of_a_data_set_and_no_other(compose, name):
    config = composed(compose, name)
    assert config.keys() - {"_target_"} == {field.name for field in fields(Dataset)}
    assert isinstance(instantiate(config, "dataset"), Dataset)


@pytest.mark.parametrize("name", NAMES)
def test_classes_are_named_and_never_counted(name):
    content = re.sub(r"#.*", "", YAML[name])
    assert not re.search(r"\b(n|num|number_of)?_?(classes|labels|outputs)\s*:", content)


@pytest.mark.parametrize("name", marked(BUNDLED))
def test_a_bundled_set_is_made_and_loads(contract, compose, name, tmp_path):
    config = composed(compose, name)
    contracts.is_the_same_twice(config, load(contract, config, tmp_path), tmp_path)


@pytest.mark.parametrize("name", marked(GIVEN_A_PATH))
def test_a_set_on_this_machine_loads(contract, compose, name, tmp_path):
    if not (DATA / name).is_dir():
        pytest.skip(f"no ../shared/data/{name}")
    load(contract, composed(compose, name, f"dataset.path={DATA / name}"), tmp_path)


@pytest.mark.parametrize("name", GIVEN_A_PATH)
def test_a_set_without_its_path_says_what_to_give(compose, name, tmp_path):
    with pytest.raises(UserError, match=r"dataset\.path=FOLDER"):
        instantiate(composed(compose, name), "dataset").load(0, tmp_path)


@pytest.mark.skipif(os.environ.get("HF_HUB_OFFLINE") != "1", reason="only without the hub: HF_HUB_OFFLINE=1")
@pytest.mark.parametrize("name", HUB)
def test_a_hub_set_that_is_not_here_fails_at_once_and_says_what_to_do(compose, name, tmp_path):
    with pytest.raises(UserError, match=r"(?s)hub.*dataset\.path"):
        instantiate(composed(compose, name), "dataset").load(0, tmp_path)
