"""Real handwritten digits: the 1,797 images of scikit-learn's `load_digits`, enlarged to 32x32.

Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (CC BY 4.0);
scikit-learn ships the 1,797 images of its test part. Each pixel counts the inked points of a 4x4 block of a 32x32
bitmap, 0..16. There is no official split here, so there is one file: the loader carves validation and test out of it.
"""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tlx.data.bundled import write_split

SIZE = 32
"""Side of the images written, in pixels: that of the bitmaps before they were counted in blocks."""


def enlarge(counts: np.ndarray) -> bytes:
    """One image of counts (8, 8), 0..16, as the bytes of a grey PNG (SIZE, SIZE), 0..255, strokes bright."""
    grey = np.round(counts * (255 / 16)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(file, format="PNG")
    return file.getvalue()


def make(folder: Path) -> None:
    """Write `all.parquet`: `id` (row number in scikit-learn), `image` (PNG bytes), `label` ("0".."9")."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rows = {
        "id": [f"digits-{i:04d}" for i in range(len(digits.target))],
        "image": [enlarge(image) for image in digits.images],
        "label": [str(label) for label in digits.target],
    }
    write_split(folder, "all", pd.DataFrame(rows))
