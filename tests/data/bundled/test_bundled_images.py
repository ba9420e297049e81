"""Letters and digits: readable, of one size and polarity, neither trivial nor hopeless."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlx.data.bundled import digits, letters


def pixels(rows: pd.DataFrame) -> np.ndarray:
    """The images of a frame: (rows, 32 * 32), 0..1."""
    images = [Image.open(io.BytesIO(data)) for data in rows["image"]]
    assert {(image.format, image.mode, image.size) for image in images} == {("PNG", "L", (32, 32))}
    return np.stack([np.asarray(image).ravel() / 255 for image in images])


@pytest.fixture(scope="module")
def letter_rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("letters")
    letters.make(folder)
    return {split: pd.read_parquet(folder / f"{split}.parquet") for split in letters.PER_CLASS}


@pytest.fixture(scope="module")
def digit_rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    digits.make(folder)
    return pd.read_parquet(folder / "all.parquet")


def test_both_are_bright_strokes_on_black_with_about_as_much_ink(letter_rows, digit_rows):
    for rows in (letter_rows["train"], digit_rows):
        images = pixels(rows)
        assert np.median(images[:, [0, 31, -32, -1]]) < 0.05  # the corners are background
        assert images.max(axis=1).min() > 0.5
        assert 0.15 < images.mean() < 0.4


@pytest.mark.slow
def test_letters_can_be_learned_from_pixels_but_not_perfectly(letter_rows):
    from sklearn.linear_model import LogisticRegression

    train, test = letter_rows["train"], letter_rows["test"]
    model = LogisticRegression(C=0.1, max_iter=300).fit(pixels(train), train["label"])
    assert 0.55 < model.score(pixels(test), test["label"]) < 0.95


def test_digits_keep_what_scikit_learn_has(digit_rows):
    from sklearn.datasets import load_digits

    images = pixels(digit_rows).reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
    originals = load_digits().images / 16
    assert np.corrcoef(images.ravel(), originals.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("font", letters.load_fonts(), ids=letters.FONTS)
def test_every_font_has_every_letter(font):
    missing = bytes(font.getmask("\uffff"))
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + "".join(letters.SMALL_FORMS).lower():
        glyph = bytes(font.getmask(letter))
        assert any(glyph)
        assert glyph != missing


def test_a_drawn_glyph_is_whole():
    for font in letters.load_fonts():
        for letter in "WMgQ":
            glyph = letters.draw(letter, font, stroke=2)
            assert glyph.max() == 1
            assert glyph[[0, -1]].max() == glyph[:, [0, -1]].max() == 0


def test_distorted_glyphs_fill_the_frame_around_its_middle():
    rng = np.random.default_rng(0)
    glyph = letters.draw("H", letters.load_fonts()[0], stroke=1)
    boxes = []
    for _ in range(50):
        rows, columns = np.nonzero(letters.distort(glyph, rng) > 0.5)
        boxes.append([rows.min(), rows.max(), columns.min(), columns.max()])
    top, bottom, left, right = np.mean(boxes, axis=0) / (letters.CANVAS - 1)
    assert (top + bottom) / 2 == pytest.approx(0.5, abs=0.03)
    assert (left + right) / 2 == pytest.approx(0.5, abs=0.03)
    assert bottom - top > 0.75


def test_missing_fonts_are_named(tmp_path, monkeypatch):
    from tlx.errors import UserError

    monkeypatch.setattr(letters, "package_folder", lambda name: tmp_path)
    with pytest.raises(UserError, match="DejaVuSans"):
        letters.load_fonts()
