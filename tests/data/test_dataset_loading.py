"""From files to parts: validation and test are fixed by one seed, the training subset by another, labels by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tlx.data.dataset import Data, Dataset, encode
from tlx.errors import UserError

CLASSES = ("bird", "cat", "dog")


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    labels = np.random.default_rng(seed).choice(CLASSES, rows, p=[0.2, 0.3, 0.5])
    return pd.DataFrame({"text": [f"{label} number {i}" for i, label in enumerate(labels)], "label": labels})


def load(path: Path, run_seed: int = 0, **changes: Any) -> Data:
    return Dataset(modality="text", path=str(path), **changes).load(run_seed, path.parent / "cache")


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    table(300).to_csv(tmp_path / "all.csv", index=False)
    return tmp_path / "all.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    for name, rows in (("train", 120), ("validation", 30), ("test", 40)):
        table(rows, rows).to_csv(tmp_path / "set" / f"{name}.csv", index=False)
    return tmp_path / "set"


def test_parts_do_not_overlap_and_hold_everything(one_file: Path) -> None:
    data = load(one_file)
    ids = [set(part.ids) for part in (data.train, data.validation, data.test)]
    assert sum(map(len, ids)) == len(set.union(*ids)) == 300
    assert data.spec.sizes == {"train": 204, "validation": 36, "test": 60}
    assert data.spec.label_names == CLASSES
    for part in (data.train, data.validation, data.test):
        assert np.allclose(np.bincount(part.labels) / len(part), [0.2, 0.3, 0.5], atol=0.08)
        assert all(text.startswith(CLASSES[label]) for text, label in zip(part.inputs, part.labels, strict=True))


def test_validation_and_test_stay_the_same_over_seeds_sizes_and_reruns(one_file: Path) -> None:
    loaded = [load(one_file, s, train_size=n) for s, n in ((0, None), (0, 50), (1, 50), (7, "4_per_class"))]
    assert len({tuple(d.test.ids) for d in loaded}) == len({tuple(d.validation.ids) for d in loaded}) == 1
    assert len({d.spec.split_hash for d in loaded}) == len({d.spec.part_hashes["train"] for d in loaded}) == 4
    assert len({d.spec.part_hashes["test"] for d in loaded}) == 1
    assert load(one_file, 1, train_size=50).spec.split_hash == loaded[2].spec.split_hash
    assert load(one_file, 0, split_seed=1).test.ids != loaded[0].test.ids


def test_the_subset_follows_the_runs_seed_unless_it_has_its_own(one_file: Path) -> None:
    free = [load(one_file, s, train_size=50).train.ids for s in (0, 1)]
    fixed = [load(one_file, s, train_size=50, subset_seed=0).train.ids for s in (0, 1)]
    assert free[0] != free[1] and fixed[0] == fixed[1] == free[0]


def test_subsets_are_nested_and_k_per_class_is_exact(one_file: Path) -> None:
    sizes = [load(one_file, 3, train_size=k).train for k in ("2_per_class", "5_per_class", "11_per_class")]
    assert [np.bincount(part.labels).tolist() for part in sizes] == [[2] * 3, [5] * 3, [11] * 3]
    assert set(sizes[0].ids) < set(sizes[1].ids) < set(sizes[2].ids)
    share = load(one_file, 3, train_size=0.1)
    assert len(share.train) == round(0.1 * len(share.train_pool)) and len(share.train_pool) == 204


def test_given_splits_are_kept_and_selection_labels_can_be_limited(folder: Path) -> None:
    data = load(folder)
    assert data.spec.sizes == {"train": 120, "validation": 30, "test": 40}
    few = load(folder, 5, val_size="2_per_class")
    assert np.bincount(few.validation.labels).tolist() == [2, 2, 2]
    assert few.validation.ids == load(folder, 6, val_size="2_per_class").validation.ids
    assert few.train.ids == data.train.ids and few.test.ids == data.test.ids


def test_a_missing_validation_part_is_carved_out_of_train(folder: Path) -> None:
    (folder / "validation.csv").unlink()
    data = load(folder, splits={"train": "train", "validation": None, "test": "test"})
    assert data.spec.sizes == {"train": 102, "validation": 18, "test": 40}
    assert {i.split("/")[0] for i in data.validation.ids} == {"train"}


def test_rows_keep_their_ids_when_some_are_filtered_out(one_file: Path) -> None:
    data = load(one_file, where="label != 'dog'")
    whole = load(one_file)
    text = dict(
        zip(
            whole.train.ids + whole.validation.ids + whole.test.ids,
            whole.train.inputs + whole.validation.inputs + whole.test.inputs,
            strict=True,
        )
    )
    assert data.spec.label_names == ("bird", "cat")
    assert all(text[i] == given for i, given in zip(data.train.ids, data.train.inputs, strict=True))


def test_labels_are_matched_by_name_and_numbers_sorted_as_numbers(tmp_path: Path) -> None:
    frame = table(60)
    frame["label"] = (np.arange(60) % 12).tolist()
    frame.to_csv(tmp_path / "n.csv", index=False)
    assert load(tmp_path / "n.csv").spec.label_names == tuple(str(i) for i in range(12))
    named = load(tmp_path / "n.csv", label_names=[f"month {i}" for i in range(12)])
    assert named.train.labels.tolist() == load(tmp_path / "n.csv").train.labels.tolist()
    reordered = table(60)
    reordered.to_csv(tmp_path / "r.csv", index=False)
    data = load(tmp_path / "r.csv", label_names=["dog", "bird", "cat"])
    names = [data.spec.label_names[label] for label in data.train.labels]
    assert all(text.startswith(name) for text, name in zip(data.train.inputs, names, strict=True))


def test_mistakes_are_named(folder: Path, one_file: Path) -> None:
    with pytest.raises(UserError, match=r"asks for more labels than these classes have: .*bird"):
        load(one_file, train_size="60_per_class")
    with pytest.raises(UserError, match=r"dataset\.val_size=31 asks for more examples than there are"):
        load(folder, val_size=31)
    with pytest.raises(UserError, match=r"no column 'label_'.*did you mean 'label'"):
        load(folder, columns={"input": "text", "label": "label_"})
    with pytest.raises(UserError, match="label in row 0 of the train split"):
        load(folder, label_names=["bird", "horse"])
    with pytest.raises(UserError, match="the train split is empty"):
        load(folder, where="text == 'nobody wrote this'", label_names=list(CLASSES))
    with pytest.raises(UserError, match=r"unknown column 'labl'. Did you mean 'label'"):
        load(folder, where="labl == 'bird'")


def test_an_undecodable_input_is_named_by_its_example(one_file: Path) -> None:
    class Picky:
        def encode(self, raw: str) -> str:
            if raw.endswith(" 7"):
                raise UserError("cannot be decoded")
            return raw

    data = load(one_file)
    part = next(p for p in (data.train, data.validation, data.test) if "all/7" in p.ids)
    with pytest.raises(UserError, match="example all/7: cannot be decoded"):
        encode(part, Picky())
