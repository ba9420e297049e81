"""Image preprocessing: every kind of image becomes the same kind of tensor, and augmentation draws from one source."""

import io
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from tlx.data.image import ImagePreprocessing
from tlx.data.image_augmentation import global_generators
from tlx.errors import UserError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def grey(size: tuple[int, int] = (8, 8), **options) -> ImagePreprocessing:
    return ImagePreprocessing(size, [0.5], [0.5], channels=1, **options)


def colour(size: tuple[int, int] = (16, 16), **options) -> ImagePreprocessing:
    return ImagePreprocessing(size, MEAN, STD, **options)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_paths_bytes_arrays_and_pil_images_agree(tmp_path: Path) -> None:
    image = Image.fromarray(PHOTO)
    image.save(tmp_path / "p.png")
    raws = [tmp_path / "p.png", str(tmp_path / "p.png"), encoded(image), image, PHOTO, np.moveaxis(PHOTO, -1, 0)]
    raws += [PHOTO.astype(np.int64), PHOTO / 255, (PHOTO / 255).astype(np.float32), PHOTO.astype(np.uint16) * 257]
    first = colour().encode(raws[0])
    assert first.shape == (3, 16, 16) and first.dtype == torch.uint8
    for raw in raws[1:]:
        assert torch.equal(colour().encode(raw), first)


def test_pixels_of_the_right_size_are_untouched() -> None:
    pixels = PHOTO[:16, :16]
    assert np.array_equal(colour().encode(pixels).numpy(), np.moveaxis(pixels, -1, 0))
    nested = [row.tolist() for row in pixels[..., 0]]
    assert np.array_equal(grey((16, 16)).encode(nested)[0].numpy(), pixels[..., 0])
    rows = np.empty(16, dtype=object)
    rows[:] = list(pixels[..., 0])  # a list of lists, as it comes out of parquet
    assert np.array_equal(grey((16, 16)).encode(rows)[0].numpy(), pixels[..., 0])


def test_the_centre_is_kept_and_shapes_are_not_distorted() -> None:
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 255  # the central square
    assert (grey((10, 10)).encode(wide) == 255).all()
    assert (grey((10, 10)).encode(wide.T) == 255).all()
    framed = np.zeros((20, 20), np.uint8)
    framed[5:15, 5:15] = 255
    assert (grey((10, 10), crop_pct=0.5, interpolation="nearest").encode(framed) == 255).all()
    assert (grey((10, 10)).encode(framed) == 0).any()


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.floats(0.5, 1.0),
)
def test_any_shape_fills_the_frame(shape: tuple[int, int], size: tuple[int, int], crop_pct: float) -> None:
    white = grey(size, crop_pct=crop_pct).encode(np.full(shape, 255, np.uint8))
    assert white.shape == (1, *size) and (white == 255).all()


def test_grey_and_rgb_are_converted() -> None:
    flat = np.full((8, 8), 100, np.uint8)
    assert (colour((8, 8)).encode(flat) == 100).all() and colour((8, 8)).encode(flat).shape[0] == 3
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert (grey().encode(red) == 76).all()  # ITU-R 601: 0.299 · 255


def test_sixteen_bits_are_scaled_not_cut() -> None:
    levels = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    expected = np.round(levels / 257).astype(np.uint8)
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(grey().encode(encoded(Image.fromarray(levels), kind))[0].numpy(), expected)
    with pytest.raises(UserError, match="32-bit pixels of unknown scale"):
        grey().encode(encoded(Image.fromarray(levels.astype(np.float32)), "TIFF"))


def test_transparent_parts_lie_on_white_and_palettes_are_resolved() -> None:
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[:4, :, 3] = 255  # black ink above, nothing (black, but transparent) below
    half = np.repeat([0, 255], 4)
    assert np.array_equal(grey().encode(encoded(Image.fromarray(ink)))[0, :, 0].numpy(), half)
    palette = Image.fromarray(ink).convert("LA").convert("RGBA").quantize(4)
    assert palette.mode == "P"
    assert np.array_equal(colour((8, 8)).encode(encoded(palette))[1, :, 0].numpy(), half)
    assert (grey().encode(encoded(Image.new("1", (8, 8), 1))) == 255).all()
    assert colour((8, 8)).encode(encoded(Image.new("CMYK", (8, 8)), "JPEG")).shape == (3, 8, 8)


def test_exif_orientation_is_applied() -> None:
    pixels = np.zeros((8, 8), np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = grey().encode(encoded(Image.fromarray(pixels), "PNG", exif=exif))[0]
    assert (turned[-1] == 255).all() and (turned[0] == 0).all()


def test_what_cannot_be_decoded(tmp_path: Path) -> None:
    whole = encoded(Image.fromarray(PHOTO), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no image")
    for raw, message in [
        (tmp_path / "cut.jpg", r"cut\.jpg cannot be decoded: .*[Tt]runcated"),
        (tmp_path / "text.png", r"text\.png cannot be decoded: no known image format"),
        (tmp_path / "none.png", r"none\.png does not exist"),
        (b"", "the image cannot be decoded"),
        (b"no image", "the image cannot be decoded"),
        (None, "it is missing"),
        (float("nan"), "it is missing"),
        (7, "int is no path, bytes or array"),
        (np.zeros((5, 5, 2), np.uint8), r"shape \(5, 5, 2\) is no image"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\) is no image"),
        (np.full((4, 4), 16.0), r"from 16\.0 to 16\.0 as float64 have no known scale"),
        (np.full((4, 4), np.nan), "no known scale"),
        (np.full((4, 4), 256), "no known scale"),
        (np.array([["a"]]), "is no image"),
        (tmp_path, "cannot be decoded"),
    ]:
        with pytest.raises(UserError, match=message):
            grey().encode(raw)


def test_batches_are_normalised() -> None:
    examples = [colour().encode(PHOTO), colour().encode(PHOTO[::-1])]
    batch = colour().collate(examples)
    assert list(batch) == ["pixel_values"] and batch["pixel_values"].shape == (2, 3, 16, 16)
    for c in range(3):
        expected = (examples[1][c].double() / 255 - MEAN[c]) / STD[c]
        torch.testing.assert_close(batch["pixel_values"][1, c].double(), expected, atol=1e-5, rtol=0)
    averaged = ImagePreprocessing((8, 8), MEAN, STD, channels=1)
    assert averaged.mean == (pytest.approx(sum(MEAN) / 3),) and averaged.std == (pytest.approx(sum(STD) / 3),)
    assert ImagePreprocessing((8, 8), [0.5], [0.25]).std == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (8,)}, "image size"),
        ({"size": (0, 8)}, "image size"),
        ({"channels": 2}, "2 channels"),
        ({"mean": [0.5, 0.5]}, "mean has 2 numbers for 3 channels"),
        ({"std": [0.0]}, "must be positive"),
        ({"interpolation": "bicubik"}, "Did you mean 'bicubic'"),
        ({"crop_pct": 1.5}, "crop_pct=1.5"),
    ],
)
def test_impossible_settings(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ImagePreprocessing(**({"size": (8, 8), "mean": [0.5], "std": [0.5]} | options))


def test_the_key_follows_every_setting() -> None:
    variants = [grey(), grey((8, 9)), grey(crop_pct=0.9), grey(interpolation="bilinear"), colour()]
    variants += [ImagePreprocessing((8, 8), [0.4], [0.5], 1), ImagePreprocessing((8, 8), [0.5], [0.4], 1)]
    assert len({v.key() for v in variants}) == len(variants) and grey().key() == grey().key()


OPTIONS = [
    {"horizontal_flip": 0.5},
    {"vertical_flip": 0.5},
    {"crop_scale": [0.3, 0.8]},
    {"rotation": 30},
    {"shift": 0.3},
    {"rand_augment": "rand-m9-mstd0.5-inc1"},
    {"color_jitter": 0.4},
    {"erasing": 0.5},
    {"crop_scale": [0.6, 1.0], "horizontal_flip": 0.5, "rotation": 10, "rand_augment": "rand-m5", "erasing": 0.5},
]


def global_states() -> tuple:
    numpy = np.random.get_state()  # noqa: NPY002
    return random.getstate(), (numpy[1].tolist(), *numpy[2:]), torch.get_rng_state().tolist()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o))
def test_augmentation_is_a_function_of_the_generator_alone(options: dict, channels: int) -> None:
    preprocessing = ImagePreprocessing((16, 16), MEAN, STD, channels)
    example = preprocessing.encode(PHOTO)
    before, states = example.clone(), global_states()
    rng = np.random.default_rng(5)
    draws = [preprocessing.augment(example, options, rng) for _ in range(12)]
    assert states == global_states() and torch.equal(example, before)
    random.seed(1)
    torch.manual_seed(1)
    other, rng = ImagePreprocessing((16, 16), MEAN, STD, channels), np.random.default_rng(5)
    again = [other.augment(example, OmegaConf.create(options), rng) for _ in range(12)]
    assert all(torch.equal(a, b) for a, b in zip(draws, again, strict=True))
    assert all(d.shape == example.shape and d.dtype == torch.uint8 for d in draws)
    assert len({d.numpy().tobytes() for d in draws}) > 1


def test_global_generators_come_back_after_an_error() -> None:
    states = global_states()
    with pytest.raises(ZeroDivisionError), global_generators(np.random.default_rng(0)):
        assert states[0] != random.getstate()
        _ = 1 / 0
    assert states == global_states()


def test_each_option_does_what_it_says() -> None:
    rng = np.random.default_rng(0)
    pixels = colour().encode(PHOTO)
    assert torch.equal(colour().augment(pixels, {"horizontal_flip": 1.0}, rng), pixels.flip(-1))
    assert torch.equal(colour().augment(pixels, {"vertical_flip": 1.0}, rng), pixels.flip(-2))
    assert colour().augment(pixels, None, rng) is pixels
    assert torch.equal(colour().augment(pixels, {"horizontal_flip": 0, "erasing": None}, rng), pixels)
    erased = colour().augment(pixels, {"erasing": 1.0}, rng)
    changed = (erased != pixels).any(0)
    assert 0 < changed.float().mean() < 0.5
    normal = colour().collate([erased])["pixel_values"][0][:, changed]
    assert normal.abs().max() < 0.5 / 255 / min(STD) + 1e-6  # the mean colour, up to rounding


def test_bare_places_get_the_colour_of_the_border() -> None:
    bright = np.full((16, 16), 230, np.uint8)
    bright[6:10, 6:10] = 0
    preprocessing = grey((16, 16))
    rng = np.random.default_rng(0)
    for _ in range(10):
        moved = preprocessing.augment(preprocessing.encode(bright), {"shift": 0.2, "rotation": 45}, rng)
        assert (moved[0, [0, -1]] == 230).all() and (moved < 100).any()


def test_augmentation_travels_to_worker_processes() -> None:
    preprocessing = colour()
    example = preprocessing.encode(PHOTO)
    for options in OPTIONS:
        first = preprocessing.augment(example, options, np.random.default_rng(3))
        copy = pickle.loads(pickle.dumps(preprocessing))
        assert torch.equal(copy.augment(example, options, np.random.default_rng(3)), first)


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        ({"flip": 0.5}, "unknown augmentation 'flip'"),
        ({"horizontal_flp": 0.5}, "Did you mean 'horizontal_flip'"),
        ({"horizontal_flip": 1.5}, "a number from 0 to 1 is needed"),
        ({"crop_scale": 0.5}, "two numbers"),
        ({"crop_scale": [0.9, 0.5]}, "first number is larger"),
        ({"crop_scale": [0.5, 1.5]}, "from 0.01 to 1"),
        ({"rand_augment": 9}, "a word is needed"),
        ({"rand_augment": "randaugment"}, "timm's notation is needed"),
        ({"rand_augment": "rand-z9"}, "timm's notation is needed"),
    ],
)
def test_impossible_augmentations(augmentation: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ImagePreprocessing.check_augmentation(augmentation)
