"""Letters drawn from the fonts that matplotlib ships, distorted until they look like coarse handwriting: 32x32, grey.

Made as a source task for handwritten digits: bright strokes on black, a glyph that fills the frame, and the same loss
of detail (ink counted in blocks, then enlarged). 26 classes; letters whose small form has another shape appear in
both forms under one label, as in EMNIST Letters (Cohen et al. 2017), which brings in loops and hooks that digits have.

Fonts: DejaVu (Bitstream Vera licence), STIX (SIL Open Font License) and Computer Modern (BaKoMa licence).
"""

import io
import string
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.ndimage import map_coordinates

from tlx.data.bundled import package_folder, write_split
from tlx.errors import UserError

SIZE = 32
"""Side of the images written, in pixels."""
CANVAS = 64
"""Side of the canvas a glyph is drawn and distorted on, in pixels."""
PER_CLASS = {"train": 120, "validation": 15, "test": 20}
SMALL_FORMS = frozenset("ABDEFGHMNQRT")
"""Letters with a small form of another shape that cannot be taken for another letter (as l for I could)."""
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralBolIta",
    "STIXGeneralItalic",
    "cmb10",
    "cmmi10",
    "cmr10",
    "cmss10",
    "cmti10",
    "cmtt10",
)
"""The text fonts of mpl-data/fonts/ttf: those for symbols, sizes and last resort lack plain letters."""


def load_fonts() -> list[ImageFont.FreeTypeFont]:
    """The fonts of FONTS, in that order.

    Raises:
        UserError: matplotlib was installed without one of them, as some systems' own packages are.
    """
    folder = package_folder("matplotlib") / "mpl-data" / "fonts" / "ttf"
    missing = [name for name in FONTS if not (folder / f"{name}.ttf").is_file()]
    if missing:
        raise UserError(
            f"the data set 'letters' is drawn from matplotlib's own fonts, but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not in {folder}. Install matplotlib from its wheel."
        )
    # The basic layout is part of Pillow; the other one depends on libraries of the system.
    layout = ImageFont.Layout.BASIC
    return [ImageFont.truetype(folder / f"{name}.ttf", CANVAS * 2 // 3, layout_engine=layout) for name in FONTS]


def draw(letter: str, font: ImageFont.FreeTypeFont, stroke: int) -> np.ndarray:
    """The glyph, made `stroke` pixels thicker on each side, near the middle: (CANVAS, CANVAS), 0..1."""
    canvas = Image.new("L", (CANVAS, CANVAS))
    left, top, right, bottom = font.getbbox(letter, stroke_width=stroke)
    corner = ((CANVAS - left - right) / 2, (CANVAS - top - bottom) / 2)
    ImageDraw.Draw(canvas).text(corner, letter, fill=255, font=font, stroke_width=stroke)
    return np.asarray(canvas, dtype=np.float64) / 255


def distort(glyph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random affine map (size, aspect, rotation, slant, shift) and a smooth random bend of the canvas."""
    rows, columns = np.nonzero(glyph > 0.5)
    height = rows.max() - rows.min() + 1
    width = columns.max() - columns.min() + 1
    # Digits were scaled to fill their bitmap, so letters are too: 80 to 98 % of the frame on the longer side.
    scale = rng.uniform(0.80, 0.98) * CANVAS / max(height, width)
    aspect = rng.uniform(0.65, 1.05)  # handwritten digits are narrower than most printed letters
    angle = np.deg2rad(rng.normal(0, 7))
    slant = rng.normal(0.05, 0.15)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[1, 0], [-slant, 1]])
    forward = rotation @ shear @ np.diag([scale, scale * aspect])
    middle = (CANVAS - 1) / 2
    ink = np.array([rows.max() + rows.min(), columns.max() + columns.min()]) / 2
    shift = rng.uniform(-0.04, 0.04, size=2) * CANVAS
    grid = np.indices(glyph.shape, dtype=np.float64) - middle - shift[:, None, None]
    source = np.einsum("ij,jrc->irc", np.linalg.inv(forward), grid) + ink[:, None, None]
    # A coarse grid of displacements, interpolated, bends strokes as a hand does, without breaking them.
    coarse = rng.normal(0, rng.uniform(0.5, 1.8), size=(2, 5, 5)).astype(np.float32)
    whole = (CANVAS, CANVAS)
    bend = np.stack([np.asarray(Image.fromarray(axis).resize(whole, Image.Resampling.BICUBIC)) for axis in coarse])
    return np.clip(map_coordinates(glyph, source + bend, order=1, mode="constant"), 0, 1)


def coarsen(glyph: np.ndarray, rng: np.random.Generator) -> bytes:
    """Count the ink in coarse blocks, as the digits were made, enlarge to SIZE and add noise: grey PNG bytes."""
    cells = int(rng.choice([8, 8, 12, 16]))
    image = Image.fromarray((glyph * 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.3)))
    image = image.resize((cells, cells), Image.Resampling.BOX).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.float64)
    pixels = pixels * (rng.uniform(0.85, 1.0) * 255 / max(pixels.max(), 1))
    pixels = pixels + rng.normal(0, rng.uniform(0, 8), size=pixels.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()


def make(folder: Path) -> None:
    """Write train, validation and test: `image` (PNG bytes), `label` ("A".."Z"); PER_CLASS images of each letter."""
    fonts = load_fonts()
    for stream, (split, count) in enumerate(PER_CLASS.items()):
        rng = np.random.default_rng([2024, stream])
        images, labels = [], []
        for letter in string.ascii_uppercase:
            for _ in range(count):
                shown = letter.lower() if letter in SMALL_FORMS and rng.random() < 0.5 else letter
                font = fonts[rng.integers(len(fonts))]
                glyph = draw(shown, font, stroke=int(rng.integers(0, 3)))
                images.append(coarsen(distort(glyph, rng), rng))
                labels.append(letter)
        write_split(folder, split, pd.DataFrame({"image": images, "label": labels}))
