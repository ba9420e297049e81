"""Every yaml of configs/dataset: its keys, and where the data are at hand, loading, splits and encoding."""

import os
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from tlx.config.instantiate import instantiate
from tlx.data.dataset import Dataset, Part, encode
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
    spec, parts = data.spec, {"train": data.train, "validation": data.validation, "test": data.test}
    assert spec.sizes == {name: len(part) for name, part in parts.items()}
    assert len(set(spec.label_names)) == len(spec.label_names) >= 2
    ids = [i for part in parts.values() for i in part.ids]
    assert len(ids) == len(set(ids)), "an example in two parts"
    for part in parts.values():
        assert part.labels.dtype == np.int64
        assert 0 <= part.labels.min() <= part.labels.max() < len(spec.label_names)
    assert len(np.unique(data.train.labels)) == len(spec.label_names), "a class without a training example"

    assert not {"unlabelled", "untrained", "undrawn"} & set(data.about), "a preset's labels are all trained"
    assert (data.test.groups is None) == (dataset.groups is None)
    if data.test.groups is not None:
        both = set(data.test.groups) & set(data.train_pool.groups or ())
        assert len(both) == data.about["groups"]["shared"].get("test", 0)

    preprocessing = contract.build(MODELS[spec.modality]).preprocessing
    for part in parts.values():
        some = part.take(np.arange(0, len(part), max(1, len(part) // 5))[:5])
        assert isinstance(some, Part)
        batch = preprocessing.collate(encode(some, preprocessing))
        assert all(len(tensor) == len(some) for tensor in batch.values())
        assert not any(tensor.isnan().any() for tensor in batch.values() if tensor.is_floating_point())

    few = instantiate(config | {"train_size": "2_per_class"}, "dataset").load(seed=1, cache=cache)
    assert np.bincount(few.train.labels).tolist() == [2] * len(spec.label_names)
    assert (few.test.ids, few.validation.ids) == (data.test.ids, data.validation.ids)
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
    data = load(contract, composed(compose, name), tmp_path)
    again = instantiate(composed(compose, name), "dataset").load(0, tmp_path)
    assert again.spec == data.spec


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
