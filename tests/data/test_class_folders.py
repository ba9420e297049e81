"""Folders of images and clips: every ending that Pillow and libsndfile read, and what is said of the others."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from tlx.data.audio import AudioPreprocessing
from tlx.data.dataset import Dataset
from tlx.data.image import ImagePreprocessing
from tlx.data.media import ENDINGS
from tlx.data.tables import data_files, read_tables
from tlx.errors import UserError
from tlx.record.remarks import remarks

SPLITS = {"train": "train", "validation": "validation", "test": "test"}
# Registered with Pillow, and read with other programs alone (Ghostscript, Windows), stubs of other formats, or films.
NOT_READ = {".eps", ".ps", ".emf", ".wmf", ".bufr", ".grib", ".h5", ".hdf", ".iim", ".mpg", ".mpeg"}


def picture(shade: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), shade, np.uint8)).save(file, kind)
    return file.getvalue()


def fill(folder: Path, endings: dict[str, str], count: int = 4, kind: str = "JPEG") -> Path:
    for number, (name, ending) in enumerate(endings.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            (folder / name / f"{i}{ending}").write_bytes(picture(40 * number + i, kind))
    return folder


def test_all_that_pillow_opens_by_itself_is_an_image() -> None:
    Image.init()
    opened = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    assert opened - NOT_READ - set(ENDINGS["image"]) == set()
    assert set(ENDINGS["image"]) <= set(Image.registered_extensions())


def test_each_format_of_libsndfile_that_names_itself_is_a_clip() -> None:
    endings = {kind: f".{kind.lower()}" for kind in soundfile.available_formats()}
    # Without a header, or of another program's data; W64 and the like bear their names.
    endings |= {"SVX": ".svx", "MAT4": None, "MAT5": None, "MPC2K": None, "RAW": None, "WAVEX": ".wav", "IRCAM": ".sf"}
    assert {ending for ending in endings.values() if ending} - set(ENDINGS["audio"]) == set()


@pytest.mark.parametrize("ending", [".jfif", ".JPE", ".jpeg", ".Mpo"])
def test_a_jpeg_is_read_whatever_its_ending_is_called(tmp_path: Path, ending: str) -> None:
    folder = fill(tmp_path, {"crane": ".jpg", "heron": ending})
    frame = read_tables(str(folder), modality="image", splits=SPLITS)["all"]
    assert frame["label"].value_counts().to_dict() == {"crane": 4, "heron": 4}
    assert frame.attrs == {}
    assert len(data_files(str(folder))[1]) == 8, "and belongs to the content"
    preprocessing = ImagePreprocessing((8, 8), [0.5], [0.5], channels=1)
    assert all(preprocessing.encode(file).shape == (1, 8, 8) for file in frame["image"])


@pytest.mark.parametrize(("kind", "ending"), [("AU", ".au"), ("CAF", ".caf"), ("AIFF", ".AIFC"), ("W64", ".w64")])
def test_clips_of_rarer_formats_are_read(tmp_path: Path, kind: str, ending: str) -> None:
    for name in ("low", "high"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", np.ones(800) / 2, 8000)
        (tmp_path / name / f"b{ending}").write_bytes(b"")
        with (tmp_path / name / f"b{ending}").open("wb") as file:
            soundfile.write(file, np.ones(800) / 2, 8000, format=kind)
    frame = read_tables(str(tmp_path), modality="audio", splits=SPLITS)["all"]
    assert len(frame) == 4
    assert all(len(AudioPreprocessing(8000, 1.0).encode(file)) == 800 for file in frame["audio"])


@pytest.mark.parametrize("split", ["", "train/"])
def test_a_class_whose_files_have_unknown_endings_is_an_error(tmp_path: Path, split: str) -> None:
    folder = fill(tmp_path, {f"{split}crane": ".png", f"{split}egret": ".png", f"{split}heron": ".heic"})
    with pytest.raises(UserError, match=r"class 'heron' can be read: its 4 files.*0\.heic.*\(\.heic: 4\).*\.png"):
        read_tables(str(folder), modality="image", splits={"train": "train"})
    (tmp_path / f"{split}heron" / "5.PNG").write_bytes(picture(9))
    (frame,) = read_tables(str(folder), modality="image", splits={"train": "train"}).values()
    assert frame["label"].value_counts()["heron"] == 1
    assert frame.attrs["skipped"] == {"files": 4, "endings": {".heic": 4}, "first": "0.heic"}


def test_a_class_whose_files_have_no_ending_is_an_error(tmp_path: Path) -> None:
    folder = fill(tmp_path, {"crane": ".png", "egret": ".png", "heron": ""}, count=8, kind="PNG")
    with pytest.raises(UserError, match=r"class 'heron' can be read: its 8 files.*heron/0, .*\(none: 8\).*\.png"):
        read_tables(str(folder), modality="image", splits=SPLITS)
    for i in range(8):
        (folder / "heron" / str(i)).unlink()
    for name in ("LICENSE", "README", "Makefile", "sha256sums"):
        (folder / "heron" / name).write_text("about it")
    frame = read_tables(str(folder), modality="image", splits=SPLITS)["all"]
    assert set(frame["label"]) == {"crane", "egret"}
    assert frame.attrs["skipped"] == {"files": 4, "endings": {"none": 4}, "first": "LICENSE"}


def test_a_class_of_the_other_modality_is_an_error(tmp_path: Path) -> None:
    folder = fill(tmp_path, {"crane": ".png", "egret": ".png", "heron": ".wav"})
    with pytest.raises(UserError, match="no file of the class 'heron' can be read"):
        read_tables(str(folder), modality="image", splits=SPLITS)


@pytest.mark.parametrize("split", ["", "train/"])
def test_a_class_that_is_a_link_is_a_class(tmp_path: Path, split: str) -> None:
    folder = fill(tmp_path / "data", {f"{split}crane": ".png", f"{split}egret": ".png"})
    fill(tmp_path / "elsewhere", {"c": ".png"})
    (folder / split / "heron").symlink_to(tmp_path / "elsewhere" / "c")
    (frame,) = read_tables(str(folder), modality="image", splits={"train": "train"}).values()
    assert frame["label"].value_counts().to_dict() == {"crane": 4, "egret": 4, "heron": 4}
    assert len(data_files(str(folder))[1]) == 12


def test_folders_of_notes_are_no_class(tmp_path: Path) -> None:
    folder = fill(tmp_path, {"crane": ".png", "egret": ".png", "about": ".txt"})
    (folder / "LICENSE").write_text("free")
    frame = read_tables(str(folder), modality="image", splits=SPLITS)["all"]
    assert set(frame["label"]) == {"crane", "egret"}
    assert frame.attrs["skipped"]["endings"] == {".txt": 4}


def test_what_was_passed_over_is_counted_and_named(tmp_path: Path) -> None:
    folder = fill(tmp_path, {"crane": ".png", "egret": ".png"}, count=20)
    for i in range(3):
        (folder / "crane" / f"raw{i}.heic").write_bytes(b"x")
    about = Dataset("image", path=str(folder), columns={"input": "image", "label": "label"}).load(0, tmp_path).about
    assert about["skipped"] == {"all": {"files": 3, "endings": {".heic": 3}, "first": "raw0.heic"}}
    (sentence,) = [r.sentence for r in remarks(about) if r.kind == "skipped/all"]
    assert sentence.startswith("3 files were passed over, such as raw0.heic")


def test_long_texts_that_end_like_a_file_are_no_file(tmp_path: Path) -> None:
    import pandas as pd

    texts = [f"{'a long sentence about the shop ' * 40}at www.shop{i}.com.au" for i in range(4)]
    pd.DataFrame({"text": texts, "label": ["a", "b"] * 2}).to_csv(tmp_path / "train.csv", index=False)
    assert len(data_files(str(tmp_path))[1]) == 1
