"""Tables: every layout that users have, and what they read when it is not one of them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tlx.data import hub
from tlx.data.fingerprint import fingerprint
from tlx.data.tables import read_tables
from tlx.errors import UserError

SPLITS = {"train": "train", "validation": "validation", "test": "test"}
TWO = {"train": "train", "validation": None, "test": "test"}
SHARED = Path(__file__).resolve().parents[2] / "../shared/data"


def read(path: Path | str, modality: str = "text", splits: dict | None = None, **rest):
    return read_tables(str(path), modality=modality, splits=SPLITS if splits is None else splits, **rest)


def frame(*texts: str) -> pd.DataFrame:
    return pd.DataFrame({"text": list(texts), "label": [len(t) % 2 for t in texts]})


def picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)
    return path


@pytest.mark.parametrize("ending", ["parquet", "csv", "tsv", "jsonl"])
def test_files_named_after_their_split(tmp_path: Path, ending: str) -> None:
    write = {
        "parquet": lambda f, p: f.to_parquet(p),
        "csv": lambda f, p: f.to_csv(p, index=False),
        "tsv": lambda f, p: f.to_csv(p, sep="\t", index=False),
        "jsonl": lambda f, p: f.to_json(p, orient="records", lines=True),
    }[ending]
    for number, name in enumerate(["train", "dev", "test"]):
        write(frame(*[f'a "word", {i}\tand more' for i in range(number + 2)]), tmp_path / f"{name}.{ending}")
    tables = read(tmp_path, splits=SPLITS | {"validation": "dev"})
    assert {role: len(t) for role, t in tables.items()} == {"train": 2, "validation": 3, "test": 4}
    assert tables["test"]["text"].tolist() == [f'a "word", {i}\tand more' for i in range(4)]
    assert tables["test"]["label"].tolist() == frame(*tables["test"]["text"])["label"].tolist()


def test_npz_columns_may_be_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", images=np.arange(24, dtype=np.uint8).reshape(3, 2, 4), labels=np.array([1, 0, 1]))
    table = read(tmp_path, "image")["all"]
    assert table["labels"].tolist() == [1, 0, 1]
    assert np.array_equal(table["images"][1], np.arange(8, 16).reshape(2, 4)) and table["images"][1].dtype == np.uint8


def test_npz_refuses_pickles_and_ragged_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}, {}], dtype=object))
    np.savez(tmp_path / "b.npz", x=np.zeros(3), y=np.zeros(4))
    with pytest.raises(UserError, match=r"a\.npz cannot be read as npz"):
        read(tmp_path / "a.npz")
    with pytest.raises(UserError, match="different lengths"):
        read(tmp_path / "b.npz")


def test_shards_and_sub_folders_are_joined_in_order(tmp_path: Path) -> None:
    for i in range(2):
        frame(f"train {i}").to_parquet(tmp_path / f"train-0000{i}-of-00002.parquet")
        (tmp_path / "test").mkdir(exist_ok=True)
        frame(f"test {i}").to_parquet(tmp_path / "test" / f"part{i}.parquet")
    tables = read(tmp_path, splits=TWO)
    assert tables["train"]["text"].tolist() == ["train 0", "train 1"]
    assert tables["test"]["text"].tolist() == ["test 0", "test 1"] and tables["test"].index.tolist() == [0, 1]


def test_a_downloaded_hub_folder_is_read_as_it_is(tmp_path: Path) -> None:
    for folder in ("data", "german"):
        (tmp_path / folder).mkdir()
        for name in ("train", "test"):
            frame(f"{folder} {name}").to_parquet(tmp_path / folder / f"{name}-00000-of-00001.parquet")
    assert read(tmp_path, splits=TWO, subset="german")["test"]["text"].tolist() == ["german test"]
    for file in (tmp_path / "german").iterdir():
        file.unlink()
    assert read(tmp_path, splits=TWO)["train"]["text"].tolist() == ["data train"]


def test_one_file_or_one_unnamed_file_has_no_splits(tmp_path: Path) -> None:
    frame("a", "b").to_csv(tmp_path / "reviews.csv", index=False)
    assert list(read(tmp_path)) == ["all"] == list(read(tmp_path / "reviews.csv"))
    (tmp_path / "reviews.csv").rename(tmp_path / "train.csv")
    assert list(read(tmp_path / "train.csv")) == ["all"]
    assert list(read(tmp_path, splits={"train": "train", "validation": None, "test": None})) == ["train"]


def test_words_that_look_like_missing_values_stay_words(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nNA,None\n,null\n007 x,nan\n", encoding="utf-8")
    table = read(tmp_path)["all"]
    assert table["label"].tolist() == ["None", "null", "nan"]
    assert table["text"].isna().tolist() == [False, True, False]
    (tmp_path / "a.csv").unlink()
    (tmp_path / "b.jsonl").write_text('{"text": "007", "date": "2020-01-01"}\n\n', encoding="utf-8")
    assert read(tmp_path)["all"].iloc[0].tolist() == ["007", "2020-01-01"]


def test_a_stray_quote_in_a_tsv_swallows_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('text\tlabel\n"open\t0\nmiddle\t1\n"again\t0\nlast\t1\n', encoding="utf-8")
    table = read(tmp_path)["all"]
    assert table["text"].tolist() == ['"open', "middle", '"again', "last"] and table["label"].tolist() == [0, 1, 0, 1]


def test_integer_labels_of_hub_files_get_their_names(tmp_path: Path) -> None:
    classes = {"names": ["no", "yes"], "_type": "ClassLabel"}
    features = {"label": classes, "tags": {"feature": classes, "_type": "List"}}
    table = pa.table({"label": [1, 0, -1], "tags": [[0, 1], [], [1]]})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "x.parquet")
    read_back = read(tmp_path)["all"]
    assert read_back["label"].tolist() == ["yes", "no", None]
    assert read_back["tags"].tolist() == [["no", "yes"], [], ["yes"]]


def test_image_folders(tmp_path: Path) -> None:
    for split, label in [("train", "dog"), ("train", "cat"), ("test", "cat")]:
        picture(tmp_path / split / label / "1.PNG")
    (tmp_path / "train" / "cat" / ".hidden.png").touch()
    (tmp_path / "train" / "cat" / "notes.txt").touch()
    tables = read(tmp_path, "image", TWO)
    assert tables["train"]["label"].tolist() == ["cat", "dog"] and tables["test"]["label"].tolist() == ["cat"]
    assert tables["train"]["image"].tolist() == [str(tmp_path / "train" / c / "1.PNG") for c in ("cat", "dog")]
    assert read(tmp_path / "train", "image")["all"]["label"].tolist() == ["cat", "dog"]
    with pytest.raises(UserError, match="no audio file"):
        read(tmp_path, "audio", TWO)
    picture(tmp_path / "loose.png")
    with pytest.raises(UserError, match="SPLIT/CLASS/FILE; found"):
        read(tmp_path, "image", TWO)


def test_manifests_get_absolute_paths(tmp_path: Path) -> None:
    picture(tmp_path / "clips" / "a.wav".replace("wav", "png")).rename(tmp_path / "clips" / "a.wav")
    rows = pd.DataFrame({"audio": ["clips/a.wav"], "label": ["x"], "origin": ["elsewhere/b.wav"]})
    rows.to_csv(tmp_path / "train.csv", index=False)
    table = read(tmp_path, "audio", {"train": "train"})["train"]
    assert table["audio"].tolist() == [str(tmp_path / "clips/a.wav")] and table["origin"].tolist() == [
        "elsewhere/b.wav"
    ]
    rows.assign(audio="clips/b.wav").to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(UserError, match=r"1 of 1 files that the column 'audio' names do not exist, such as .*b\.wav"):
        read(tmp_path, "audio", {"train": "train"})


def test_hub_style_cells_are_unpacked(tmp_path: Path) -> None:
    file = picture(tmp_path / "p.png")
    cells = [{"bytes": b"abc", "path": "x.png"}, {"bytes": None, "path": "p.png"}]
    pd.DataFrame({"photo": cells, "label": [0, 1]}).to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path, "image")["all"]["photo"].tolist() == [b"abc", str(file)]


def test_errors_name_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "reviews").mkdir()
    with pytest.raises(UserError, match=r"Did you mean .*reviews"):
        read(tmp_path / "review")
    with pytest.raises(UserError, match="nothing readable"):
        read(tmp_path / "reviews")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"no table: known endings are \.parquet"):
        read(tmp_path / "notes.txt")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=r"bad\.parquet cannot be read as parquet"):
        read(tmp_path / "bad.parquet")
    (tmp_path / "bad.csv").write_bytes("text,label\ncaf\u00e9,1\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"bad\.csv is not in UTF-8 .*dataset\.encoding=NAME"):
        read(tmp_path / "bad.csv")
    (tmp_path / "wide.csv").write_text("text,label\nHello, world,1\nYes, sir,0\n")
    with pytest.raises(UserError, match="more cells than the header"):
        read(tmp_path / "wide.csv")
    for text in ("", "text,label\n"):
        (tmp_path / "empty.csv").write_text(text)
        with pytest.raises(UserError, match="no rows"):
            read(tmp_path / "empty.csv")


def test_missing_splits(tmp_path: Path) -> None:
    for name in ("train", "valid"):
        frame("a").to_csv(tmp_path / f"{name}.csv", index=False)
    with pytest.raises(UserError, match=r"no split 'validation'.*Did you mean dataset\.splits\.validation=valid\?"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"no split 'test'. It has train, valid.*dataset\.splits\.test=null"):
        read(tmp_path, splits=SPLITS | {"validation": "valid"})
    with pytest.raises(UserError, match="Did you mean 'validation'"):
        read(tmp_path, splits={"valid": "valid"})
    with pytest.raises(UserError, match=r"say in dataset\.splits which"):
        read(tmp_path, splits={})
    frame("a").to_parquet(tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"two sources for 'train': train\.csv and train\.parquet"):
        read(tmp_path)


def test_shards_must_have_the_same_columns(tmp_path: Path) -> None:
    frame("a").to_parquet(tmp_path / "train-00000-of-00002.parquet")
    frame("a").rename(columns={"label": "y"}).to_parquet(tmp_path / "train-00001-of-00002.parquet")
    with pytest.raises(UserError, match="different columns: label, y"):
        read(tmp_path, splits={"train": "train"})


def test_hub_data_sets_come_as_encoded_bytes_and_label_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    picture(tmp_path / "p.png", 7)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])})
    part = datasets.Dataset.from_dict({"image": [str(tmp_path / "p.png")], "label": [1]}, features=features)
    asked = []

    def load(*args, **options):
        asked.append((args, options))
        return datasets.DatasetDict({"train": part, "other": part})

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(hub, "_ask", lambda name, revision: "c" * 40)
    tables = read("hub:owner/name", "image", {"train": "train", "test": None}, revision="v1", subset="small")
    assert asked == [(("owner/name", "small"), {"revision": "c" * 40})] and list(tables) == ["train"]
    assert tables["train"]["label"].tolist() == ["yes"]
    assert tables["train"]["image"][0] in ((tmp_path / "p.png").read_bytes(), str(tmp_path / "p.png"))
    with pytest.raises(UserError, match=r"hub:owner/name has no split 'test'\. It has other, train"):
        read("hub:owner/name", "image", TWO)


def test_without_network_the_hub_fails_at_once_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(name, revision):
        raise OSError("Name or service not known")

    monkeypatch.setattr(hub, "_ask", no_network)
    with pytest.raises(
        UserError, match=r"hub:o/n cannot be reached.*hf download --repo-type dataset o/n.*dataset\.path="
    ):
        read("hub:o/n")


def test_without_the_datasets_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs the package `datasets`: pip install 'tlx\[hub\]'.*hf download"):
        read("hub:o/n")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not there")
@pytest.mark.parametrize(("name", "modality", "rows"), [("trec", "text", 4907), ("mnist", "image", 19999)])
def test_real_data(name: str, modality: str, rows: int) -> None:
    tables = read(SHARED / name, modality)
    assert list(tables) == ["train", "validation", "test"] and len(tables["train"]) == rows
    assert len(fingerprint(str(SHARED / name))) == 64


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_text_in_other_encodings_is_read_when_the_encoding_is_named(tmp_path: Path, ending: str, encoding: str) -> None:
    words = ["crème", "brûlée"]
    content = {
        "csv": "text,label\n" + "".join(f"{word},1\n" for word in words),
        "tsv": "text\tlabel\n" + "".join(f"{word}\t1\n" for word in words),
        "jsonl": "".join(json.dumps({"text": word, "label": 1}, ensure_ascii=False) + "\n" for word in words),
    }[ending]
    (tmp_path / f"all.{ending}").write_bytes(content.encode(encoding))
    assert read(tmp_path / f"all.{ending}", encoding=encoding)["all"]["text"].tolist() == words
    fingerprint(str(tmp_path / f"all.{ending}"), encoding=encoding)
    if encoding != "utf-8-sig":
        with pytest.raises(UserError, match=r"dataset\.encoding="):
            read(tmp_path / f"all.{ending}")


def test_an_encoding_that_the_file_is_not_in_is_refused(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("text,label\ncrème,1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"is in UTF-8, and dataset\.encoding=latin-1"):
        read(tmp_path / "all.csv", encoding="latin-1")
    (tmp_path / "all.csv").write_text("text,label\ncrème,1\n", encoding="utf-16")
    with pytest.raises(UserError, match=r"in utf-16 by its first bytes, not in cp1252: say dataset\.encoding=utf-16"):
        read(tmp_path / "all.csv", encoding="cp1252")
    (tmp_path / "all.csv").write_text("text,label\nplain,1\n", encoding="ascii")
    assert read(tmp_path / "all.csv", encoding="latin-1")["all"]["text"].tolist() == ["plain"]
