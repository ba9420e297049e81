"""Images: from files, bytes or arrays to uint8 tensors of one size, normalised when they are batched."""

import hashlib
import io
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from tlx.data.augmentation import read_options
from tlx.data.image_augmentation import OPTIONS, RandomVariant
from tlx.errors import UserError, unknown

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
VERSION = 1  # to be raised when the same settings give other pixels


class ImagePreprocessing:
    """Decoding, resizing and normalisation as a timm checkpoint expects them.

    `size` is (height, width) in pixels. The shorter side is scaled to size / `crop_pct`, then the centre is cut out, so
    that shapes are never distorted. `mean` and `std` refer to pixel values / 255, one per channel; three numbers are
    averaged for grey images (`channels` = 1), one number serves all channels.

    Raises:
        UserError: an impossible size, channel count, interpolation, mean or std.
    """

    def __init__(
        self,
        size: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        channels: int = 3,
        interpolation: str = "bicubic",
        crop_pct: float = 1.0,
    ) -> None:
        if len(size) != 2 or min(size) < 1:
            raise UserError(f"image size {size} does not work: (height, width) in pixels is needed.")
        if channels not in (1, 3):
            raise UserError(f"images with {channels} channels are not supported: 1 (grey) or 3 (RGB).")
        if interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", interpolation, INTERPOLATIONS)
        if not 0 < crop_pct <= 1:
            raise UserError(f"crop_pct={crop_pct} must lie above 0 and not above 1.")
        self.size = (int(size[0]), int(size[1]))
        self.channels, self.interpolation, self.crop_pct = channels, interpolation, float(crop_pct)
        self.mean, self.std = self._per_channel("mean", mean), self._per_channel("std", std)
        if min(self.std) <= 0:
            raise UserError(f"std {self.std} must be positive.")
        self._variants: dict[str, RandomVariant] = {}

    def _per_channel(self, name: str, values: Sequence[float]) -> tuple[float, ...]:
        numbers = tuple(float(v) for v in values)
        if len(numbers) == 3 and self.channels == 1:
            return (sum(numbers) / 3,)
        if len(numbers) == 1:
            return numbers * self.channels
        if len(numbers) != self.channels:
            raise UserError(f"{name} has {len(numbers)} numbers for {self.channels} channels.")
        return numbers

    def key(self) -> str:
        """Hash of all settings."""
        settings = [self.size, self.channels, self.interpolation, self.crop_pct, self.mean, self.std, VERSION]
        return hashlib.sha256(json.dumps(["image", *settings]).encode()).hexdigest()

    def encode(self, raw: Any) -> Tensor:
        """One image as (channels, height, width) uint8.

        `raw`: a path, the bytes of an image file, a PIL image, or an array: (H, W), (H, W, C) or (C, H, W) with 1, 3 or
        4 channels, uint8 (or integers within it), uint16 (scaled from 65535), bool, or floats within [0, 1]. EXIF
        orientation is applied; transparent parts are laid on white; 16-bit grey is scaled from 65535.

        Raises:
            UserError: no such file, or nothing that can be decoded as an image; the message names the file if there is
                one.
        """
        pixels = self._resize(_flat(_open(raw), self.channels))
        assert pixels.dtype == torch.uint8 and pixels.shape == (self.channels, *self.size)
        return pixels

    @cached_property
    def _resize(self) -> Any:
        from timm.data.transforms_factory import transforms_imagenet_eval

        # "Prefetcher" is timm's word for: leave the pixels as uint8, normalise later.
        return transforms_imagenet_eval(
            self.size, crop_pct=self.crop_pct, interpolation=self.interpolation, use_prefetcher=True
        )

    def length(self, example: Tensor) -> int:
        """1: all images have the same size."""
        return 1

    @classmethod
    def check_augmentation(cls, augmentation: Any) -> dict[str, Any]:
        """The options switched on (see `RandomVariant`). Raises UserError for unknown or impossible ones."""
        return read_options(augmentation, OPTIONS)

    def augment(self, example: Tensor, augmentation: Any, rng: np.random.Generator) -> Tensor:
        """A random variant, uint8 of the same shape: a function of the example, the options and the state of `rng`."""
        if not augmentation:
            return example
        word = repr(augmentation)
        if word not in self._variants:
            options = self.check_augmentation(augmentation)
            self._variants[word] = RandomVariant(options, torch.tensor(self.mean), self.interpolation)
        return self._variants[word](example, rng)

    def collate(self, examples: Sequence[Tensor]) -> dict[str, Tensor]:
        """`pixel_values` (B, C, H, W) float32: (pixel / 255 − mean) / std."""
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (self.mean, self.std))
        return {"pixel_values": (torch.stack(list(examples)).float() / 255 - mean) / std}


def _open(raw: Any) -> Image.Image:
    """`raw` as a loaded PIL image of any mode, the right way up."""
    name = f"the image file {raw}" if isinstance(raw, (str, Path)) else "the image"
    image: Image.Image
    try:
        if isinstance(raw, (bytes, bytearray, memoryview)):
            image = Image.open(io.BytesIO(raw))
        elif isinstance(raw, (str, Path)):
            image = Image.open(raw)
        elif isinstance(raw, Image.Image):
            image = raw
        elif isinstance(raw, (np.ndarray, list)):
            return Image.fromarray(_array(np.asarray(raw)))
        else:
            missing = raw is None or (isinstance(raw, float) and np.isnan(raw))
            what = "it is missing" if missing else f"{type(raw).__name__} is no path, bytes or array"
            raise UserError(f"the image cannot be read: {what}.")
        return ImageOps.exif_transpose(image)
    except FileNotFoundError as error:
        raise UserError(f"{name} does not exist.") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{name} cannot be decoded: no known image format, or damaged.") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"{name} cannot be decoded: {error}") from error


def _array(array: np.ndarray) -> np.ndarray:
    """An array as uint8 (H, W) or (H, W, C)."""
    if array.dtype == object:  # nested lists, as parquet returns them
        array = np.array([np.stack(list(row)) for row in array])
    if array.ndim == 3 and array.shape[-1] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[-1] not in (3, 4)):
        raise UserError(f"an array of shape {array.shape} is no image: (H, W), (H, W, C) or (C, H, W) is needed.")
    if array.dtype == np.uint16:
        return _from_16_bit(array)
    if array.dtype.kind not in "buif":
        raise UserError(f"an array of {array.dtype} is no image.")
    top = 1 if array.dtype.kind in "bf" else 255
    if not (array.min() >= 0 and array.max() <= top):  # NaN fails here, too
        raise UserError(
            f"pixel values from {array.min()} to {array.max()} as {array.dtype} have no known scale: "
            "floats must lie in [0, 1], integers in 0…255 (or be uint16)."
        )
    return np.round(array * (255 / top)).astype(np.uint8) if top == 1 else array.astype(np.uint8)


def _from_16_bit(array: np.ndarray) -> np.ndarray:
    return np.round(array.astype(np.float64) / 257).clip(0, 255).astype(np.uint8)


def _flat(image: Image.Image, channels: int) -> Image.Image:
    """`image` as 8-bit grey ("L") or RGB, without palette and transparency."""
    if image.mode.startswith("I;16"):
        # PIL's own conversion would cut everything above 255.
        image = Image.fromarray(_from_16_bit(np.asarray(image.convert("I"))))
    elif image.mode in ("I", "F"):
        raise UserError("the image has 32-bit pixels of unknown scale: save it with 8 or 16 bits.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert("L" if channels == 1 else "RGB")
