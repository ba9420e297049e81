"""What parts have in common or lack: examples in two of them, labels that training never has, groups."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlx.data.dataset import Data, Dataset
from tlx.data.spelling import alike
from tlx.errors import UserError
from tlx.record.remarks import remarks

SPLITS = ("train", "validation", "test")


def texts(name: str, *labels: Any) -> pd.DataFrame:
    return pd.DataFrame({"text": [f"{name} {i}" for i in range(len(labels))], "label": labels})


def write(folder: Path, **frames: pd.DataFrame) -> Path:
    """A folder of csv files; parts that are not given have two examples of a and two of b."""
    folder.mkdir(exist_ok=True)
    for name in SPLITS:
        frames.get(name, texts(name, *"abab")).to_csv(folder / f"{name}.csv", index=False)
    return folder


def load(path: Path, seed: int = 0, modality: str = "text", **changes: Any) -> Data:
    columns = {"input": modality, "label": "label"}
    return Dataset(modality, path=str(path), **{"columns": columns} | changes).load(seed, path.parent / "cache")


def test_labels_of_csv_files_stay_as_written_in_every_file(tmp_path: Path) -> None:
    codes = write(tmp_path / "codes", **{name: texts(name, "01", "1", "02", "2") for name in SPLITS})
    assert load(codes).spec.label_names == ("01", "1", "02", "2")
    # One word among numbers makes pandas read a column of that file as text.
    mixed = write(
        tmp_path / "mixed", **{n: texts(n, "0", "1", "0", "1") for n in SPLITS[:2]}, test=texts("t", "1", "n/a")
    )
    data = load(mixed, untrained_labels="warn")
    assert data.spec.label_names == ("0", "1", "n/a") and data.test.labels.tolist() == [1, 2]
    numbers = pd.DataFrame({"text": ["007", "1.50", "True", "-"], "label": list("abab")})
    assert load(write(tmp_path / "numbers", train=numbers)).train.inputs == ["007", "1.50", "True", "-"]


@pytest.mark.parametrize(
    ("strange", "near"),
    [
        ("a ", "nearest that is trained: 'a', which differs in spaces alone"),
        ("A", "nearest that is trained: 'a', which differs in upper and lower case alone"),
        ("01", "1 example of test"),
    ],
)
def test_a_label_that_is_never_trained_is_an_error_with_the_nearest(tmp_path: Path, strange: str, near: str) -> None:
    folder = write(tmp_path / "set", test=texts("test", "a", "b", strange))
    with pytest.raises(UserError, match="never trained") as error:
        load(folder)
    assert f"'{strange}'" in str(error.value) and near in str(error.value)
    data = load(folder, untrained_labels="warn", train_size="1_per_class")
    assert data.about["untrained"][strange]["test"] == 1 and len(data.test) == 3
    assert strange in data.spec.label_names


def test_the_nearest_label_is_told_with_what_alone_differs() -> None:
    known = ["café", "pos", "1"]
    assert alike("cafe\u0301", known) == ("café", ", which differs in the Unicode form of its letters alone")
    assert alike("01", known) == ("1", ", which differs in how the number is written alone")
    assert alike(" Pos", known) == ("pos", ", which differs in spelling alone")
    assert alike("poss", known) == ("pos", "")
    assert alike("xyz", known) == (None, "")


def test_examples_without_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    train = texts("train", "0", "1", "0", "1", "")
    folder = write(tmp_path / "set", train=train, validation=texts("v", "1", "0"), test=texts("test", "-1", "1", "0"))
    data = load(folder)
    assert data.about == {"unlabelled": {"train": 1, "test": 1}}
    assert data.train.ids == [f"train/{i}" for i in range(4)] and data.test.ids == ["test/1", "test/2"]


def test_examples_of_other_parts_in_training_are_counted_dropped_or_refused(tmp_path: Path) -> None:
    test = texts("test", *"abab")
    test.loc[1:2, "text"] = ["train 0", "train 2"]  # labelled b and a; in training both are a
    validation = texts("validation", *"abab")
    validation.loc[3, "text"] = "train 3"
    folder = write(tmp_path / "set", test=test, validation=validation)
    told = {
        "test": {"examples": 2, "of": 4, "other_label": 1},
        "validation": {"examples": 1, "of": 4, "other_label": 0},
    }
    assert load(folder).about["overlap"] == told
    with pytest.raises(UserError, match=r"1 of 4 validation examples .*validation/3|2 of 4 test examples .*test/1"):
        load(folder, overlap="error")
    with pytest.raises(UserError, match=r"these labels are never trained.*overlap=drop took 3 training examples away"):
        load(folder, overlap="drop")
    dropped = load(folder, overlap="drop", untrained_labels="warn")
    assert dropped.train.inputs == ["train 1"] and dropped.about["overlap"] == {"dropped": 3}
    assert len(dropped.test) == len(dropped.validation) == 4


def test_only_what_a_run_trains_and_scores_on_counts(tmp_path: Path) -> None:
    test = texts("test", *"ab" * 10)
    test.loc[0, "text"] = "train 0"
    folder = write(tmp_path / "set", train=texts("train", *"ab" * 20), test=test)
    counts = {bool(load(folder, seed, train_size="1_per_class").about.get("overlap")) for seed in range(30)}
    assert counts == {True, False}
    drawn = next(d for s in range(30) if "train/0" in (d := load(folder, s, train_size="1_per_class")).train.ids)
    assert drawn.about["overlap"]["test"]["examples"] == 1


def test_a_part_that_lies_in_training_is_an_error_unless_said_otherwise(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", test=texts("train", *"abab"))
    with pytest.raises(UserError, match="all 4 test examples are in the training data"):
        load(folder)
    assert load(folder, overlap="allow").about["overlap"]["test"]["examples"] == 4
    with pytest.raises(UserError, match="leaves no training example"):
        load(folder, overlap="drop")
    for role, name in (("test", "train"), ("test", "validation"), ("validation", "train")):
        splits = {name: name for name in SPLITS} | {role: name}
        with pytest.raises(UserError, match=rf"both read '{name}'"):
            load(folder, splits=splits)
    both = load(folder, splits={"train": "train", "validation": "validation", "test": "train"}, overlap="allow")
    assert both.test.inputs == both.train.inputs


def test_validation_examples_in_the_test_part_are_counted_dropped_or_refused(tmp_path: Path) -> None:
    """Where both are one file, the checkpoint is chosen on the very examples that it is scored on."""
    test = texts("test", *"abab")
    test.loc[1:2, "text"] = ["validation 0", "validation 2"]
    folder = write(tmp_path / "some", test=test)
    told = {"validation_test": {"examples": 2, "of": 4, "other_label": 1}}
    about = load(folder).about
    assert about["overlap"] == told
    (said,) = remarks(about)
    assert said.sentence.startswith("2 of 4 validation examples are in test, too, 1 of them with another label")
    with pytest.raises(UserError, match="2 of 4 validation examples are in the test data"):
        load(folder, overlap="error")
    dropped = load(folder, overlap="drop")
    assert dropped.validation.inputs == ["validation 1", "validation 3"] and len(dropped.test) == 4
    assert "overlap" not in dropped.about
    folder = write(tmp_path / "all", test=texts("validation", *"abab"))
    (said,) = remarks(load(folder).about)
    assert "4 of 4 validation examples are in test, too: what chooses the checkpoint also scores it" in said.sentence
    with pytest.raises(UserError, match="leaves no validation example"):
        load(folder, overlap="drop")
    assert load(folder, overlap="allow").about["overlap"]["validation_test"]["examples"] == 4


def test_bytes_in_a_table_are_compared_with_the_files_of_another(tmp_path: Path) -> None:
    files = []
    for shade in range(8):
        file = tmp_path / f"{shade}.png"
        Image.fromarray(np.full((4, 4), shade, np.uint8)).save(file)
        files.append(file)
    folder = tmp_path / "set"
    folder.mkdir()
    held = [{"bytes": file.read_bytes(), "path": None} for file in files[:4]]
    pd.DataFrame({"image": held, "label": list("abab")}).to_parquet(folder / "train.parquet")
    for name, numbers in (("validation", (4, 5)), ("test", (0, 6))):
        frame = pd.DataFrame({"image": [str(files[n]) for n in numbers], "label": list("ab")})
        frame.to_csv(folder / f"{name}.csv", index=False)
    assert load(folder, modality="image").about["overlap"] == {"test": {"examples": 1, "of": 2, "other_label": 0}}


def test_a_class_without_an_example_is_named(tmp_path: Path) -> None:
    """Ids that count from 1 slip through with one name too many."""
    numbered = {name: texts(name, 1, 2, 1, 2) for name in SPLITS}
    about = load(write(tmp_path / "set", **numbered), label_names=["zero", "one", "two"]).about
    assert about["unused"] == ["zero"]
    assert [said.sentence for said in remarks(about)] == ["no example has the label 'zero'."]


def test_images_are_compared_by_the_bytes_of_their_files_and_pairs_as_pairs(tmp_path: Path) -> None:
    for place, shade in (("train/a/1", 1), ("train/b/2", 2), ("validation/a/1", 3), ("validation/b/1", 4)):
        file = tmp_path / "set" / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), shade, np.uint8)).save(file)
    for name, shade in (("a/other-name", 1), ("b/new", 5)):
        file = tmp_path / "set/test" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), shade, np.uint8)).save(file)
    assert load(tmp_path / "set", modality="image").about["overlap"]["test"]["examples"] == 1
    Image.fromarray(np.full((4, 4), 6, np.uint8)).save(tmp_path / "set/test/a/other-name.png")
    assert "overlap" not in load(tmp_path / "set", modality="image").about

    frames = {n: texts(n, *"abab").assign(second=[f"x {i}" for i in range(4)]) for n in SPLITS}
    frames["test"].loc[0, ["text", "second"]] = ["train 0", "x 1"]  # one half of the pair is new
    frames["test"].loc[1, ["text", "second"]] = ["train 1", "x 1"]
    pairs = write(tmp_path / "pairs", **frames)
    data = load(pairs, columns={"input": ["text", "second"], "label": "label"})
    assert data.about["overlap"] == {"test": {"examples": 1, "of": 4, "other_label": 0}}


def test_pixels_are_compared_as_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    pixels = {name: rng.integers(0, 256, (4, 5, 5), dtype=np.uint8) for name in SPLITS}
    pixels["test"][2] = pixels["train"][3]
    for name in SPLITS:
        np.savez(tmp_path / "set" / f"{name}.npz", image=pixels[name], label=np.array(list("abab")))
    found = load(tmp_path / "set", modality="image").about["overlap"]
    assert found == {"test": {"examples": 1, "of": 4, "other_label": 1}}


def test_a_class_of_one_or_two_stays_in_training(tmp_path: Path) -> None:
    labels = ["common", "usual"] * 30 + ["one", "two", "two"]
    texts("all", *labels).to_csv(tmp_path / "all.csv", index=False)
    for seed in range(40):
        data = load(tmp_path / "all.csv", split_seed=seed)
        assert set(data.train.labels) == {0, 1, 2, 3}, seed
        assert "one" in data.about["absent"]["test"] and "one" in data.about["absent"]["validation"]
        assert sum(data.spec.sizes.values()) == 63 and data.spec.sizes["test"] == 13


def test_classes_of_one_each_cannot_be_split(tmp_path: Path) -> None:
    texts("all", "a", "b", "c").to_csv(tmp_path / "all.csv", index=False)
    with pytest.raises(UserError, match="no test part can be carved"):
        load(tmp_path / "all.csv")


def speakers(path: Path, number: int = 20, clips: int = 6) -> Path:
    labels = ["a", "b"] * (number * clips // 2)
    frame = texts("all", *labels).assign(speaker=[f"{i // clips:02}" for i in range(len(labels))])
    frame.to_csv(path, index=False)
    return path


def test_groups_stay_whole_in_carved_parts_and_in_subsets(tmp_path: Path) -> None:
    file = speakers(tmp_path / "all.csv")
    for seed in range(10):
        data = load(file, seed, groups="speaker", split_seed=seed, train_size=30)
        members = [set(part.groups) for part in (data.train_pool, data.validation, data.test)]
        assert sum(map(len, members)) == len(set.union(*members)) == 20
        assert data.spec.sizes["test"] == 24 and data.spec.sizes["validation"] in (12, 18)
        assert len(set(data.train.groups)) == 5, "30 examples are 5 whole speakers of 6"
        told = {"column": "speaker", "train": 5, "validation": len(members[1]), "test": 4, "shared": {}}
        assert data.about["groups"] == told
    few, more = (load(file, 3, groups="speaker", train_size=size).train for size in ("2_per_class", "4_per_class"))
    assert set(few.ids) < set(more.ids)
    assert len(set(few.groups)) == 1 and np.bincount(more.labels).tolist() == [4, 4]
    spread = load(file, 3, groups="speaker", train_size=30, subset_by="examples").train
    assert len(set(spread.groups)) > 5
    assert len({tuple(load(file, seed, groups="speaker", train_size=12).train.ids) for seed in range(6)}) > 3


def test_groups_in_two_given_parts_are_counted(tmp_path: Path) -> None:
    frames = {name: texts(name, *"abab").assign(speaker=[1, 1, 2, 2]) for name in SPLITS}
    frames["test"]["speaker"] = [1, 3, 3, 4]
    folder = write(tmp_path / "set", **frames)
    assert load(folder, groups="speaker").about["groups"] == {
        "column": "speaker", "train": 2, "validation": 2, "test": 3, "shared": {"validation": 2, "test": 1}
    }  # fmt: skip
    with pytest.raises(UserError, match=r"no column 'speakr'.*did you mean 'speaker'"):
        load(folder, groups="speakr")
    frames["test"]["speaker"] = [1, None, 3, 4]
    with pytest.raises(UserError, match="1 examples of the test split have no group"):
        load(write(tmp_path / "set", **frames), groups="speaker")


def test_a_subset_that_misses_a_class_says_so(tmp_path: Path) -> None:
    labels = ["common", "usual"] * 30 + ["rare"] * 2
    folder = write(
        tmp_path / "set",
        train=texts("t", *labels),
        test=texts("x", "rare", "usual"),
        validation=texts("v", "common", "usual"),
    )
    data = load(folder, train_size=4)
    assert data.about["undrawn"] == ["rare"]
    assert load(folder).about["absent"] == {"validation": ["rare"], "test": ["common"]}
    for key in ("train_size", "val_size"):
        with pytest.raises(UserError, match=rf"{key}=1 is one labelled example.*1\.0"):
            load(folder, **{key: 1})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": {"input": [], "label": "label"}}, "dataset.columns.input=.* names no column"),
        ({"columns": {"input": None, "label": "label"}}, "dataset.columns.input=None names no column"),
        ({"columns": {"input": ["text", None], "label": "label"}}, "names no column"),
        ({"columns": {"input": "text", "label": []}}, "dataset.columns.label=.* names no column"),
        ({"columns": {"input": "label", "label": "label"}}, "both name 'label'"),
        ({"columns": {"input": "text", "label": "label", "group": "who"}}, "unknown key in dataset.columns 'group'"),
        ({"columns": {"input": "text", "label": "label", "id": []}}, "dataset.columns.id=.* names no column"),
        ({"task": "regression"}, "unknown dataset.task 'regression'.*Allowed: classification"),
        ({"task": "clasification"}, "Did you mean 'classification'"),
        ({"overlap": "dropp"}, "unknown dataset.overlap 'dropp'. Did you mean 'drop'"),
        ({"untrained_labels": "ignore"}, "unknown dataset.untrained_labels 'ignore'"),
        ({"subset_by": "group"}, "Did you mean 'groups'"),
        ({"encoding": "utf16le-"}, "unknown dataset.encoding"),
        ({"encoding": "zip"}, "unknown dataset.encoding 'zip'"),
    ],
)
def test_values_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Dataset("text", **changes)
