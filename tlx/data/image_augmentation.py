"""Random variants of images: timm's and torchvision's transforms, drawing from one generator only."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from tlx.data.augmentation import Kind, Number, Pair, Word


def _rand_augment_problem(word: str) -> str | None:
    """What timm has against a RandAugment policy such as rand-m9-mstd0.5-inc1, or None."""
    from timm.data.auto_augment import rand_augment_transform

    try:
        rand_augment_transform(word, {})
    except (AssertionError, ValueError, KeyError, NotImplementedError) as error:
        return f"timm's notation is needed, as in rand-m9-mstd0.5-inc1 ({type(error).__name__}: {error})"
    return None


OPTIONS: dict[str, Kind] = {
    "crop_scale": Pair(0.01, 1.0),
    "horizontal_flip": Number(0.0, 1.0),
    "vertical_flip": Number(0.0, 1.0),
    "rotation": Number(0.0, 180.0),
    "shift": Number(0.0, 1.0),
    "rand_augment": Word(_rand_augment_problem),
    "color_jitter": Number(0.0, 1.0),
    "erasing": Number(0.0, 1.0),
}


class RandomVariant:
    """The transforms that `options` name, in timm's order; maps an image (C, H, W) uint8 to another of the same shape.

    `crop_scale: [a, b]` cuts out a share of the area and scales it back up; `horizontal_flip`, `vertical_flip` and
    `erasing` are probabilities; `rotation` is the largest angle in degrees, `shift` the largest share of height and
    width; `rand_augment` is timm's notation; `color_jitter` is the strength for brightness, contrast and saturation.
    Erased rectangles get the `mean` colour (0 after normalisation), places that rotation and shift lay bare the median
    colour of the image's border.
    """

    def __init__(self, options: dict[str, Any], mean: Tensor, interpolation: str) -> None:
        self.options, self.mean, self.interpolation = options, mean, interpolation
        self._steps: dict[tuple[int, ...], list[Any]] = {}

    def __call__(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        from torchvision.transforms.functional import pil_to_tensor, to_pil_image

        shape = tuple(pixels.shape)
        if shape not in self._steps:
            self._steps[shape] = self._build(*shape)
        with global_generators(rng):
            image = to_pil_image(pixels)
            for step in self._steps[shape]:
                image = step(image)
            return self._erase(pil_to_tensor(image))

    def _build(self, channels: int, height: int, width: int) -> list[Any]:
        from timm.data.auto_augment import rand_augment_transform
        from timm.data.transforms import RandomResizedCropAndInterpolation
        from torchvision import transforms

        options = self.options
        steps: list[Any] = []
        if "crop_scale" in options:
            scale = tuple(options["crop_scale"])
            steps.append(RandomResizedCropAndInterpolation((height, width), scale, interpolation=self.interpolation))
        if options.get("horizontal_flip"):
            steps.append(transforms.RandomHorizontalFlip(options["horizontal_flip"]))
        if options.get("vertical_flip"):
            steps.append(transforms.RandomVerticalFlip(options["vertical_flip"]))
        if options.get("rotation") or options.get("shift"):
            steps.append(self._affine)
        if "rand_augment" in options:
            colours = tuple(round(255 * float(m)) for m in self.mean.expand(3))
            hparams = {"translate_const": int(min(height, width) * 0.45), "img_mean": colours}
            steps.append(rand_augment_transform(options["rand_augment"], hparams))
            if channels == 1:  # its operations are made for three channels
                steps[-1:] = [transforms.Grayscale(3), steps[-1], transforms.Grayscale(1)]
        if options.get("color_jitter"):
            steps.append(transforms.ColorJitter(*[options["color_jitter"]] * 3))
        return steps

    def _affine(self, image: Image) -> Image:
        from torchvision.transforms import InterpolationMode, RandomAffine

        shift = self.options.get("shift", 0.0)
        return RandomAffine(
            self.options.get("rotation", 0.0),
            translate=(shift, shift),
            interpolation=InterpolationMode.BILINEAR,
            fill=border_colour(image),
        )(image)

    def _erase(self, pixels: Tensor) -> Tensor:
        if not self.options.get("erasing"):
            return pixels
        from timm.data.random_erasing import RandomErasing

        # timm writes zeros, meant for normalised images: there, zero is the mean.
        mean = 255 * self.mean.view(-1, 1, 1)
        erased = RandomErasing(self.options["erasing"], mode="const", device="cpu")(pixels.float() - mean)
        return (erased + mean).round().clamp(0, 255).to(torch.uint8)


def border_colour(image: Image) -> list[int]:
    """The median colour of the outermost pixels, one number per channel."""
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return [int(v) for v in np.median(border, axis=0)]


@contextmanager
def global_generators(rng: np.random.Generator) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's (CPU) global generators from `rng`, and put them back afterwards.

    timm and torchvision draw from them; so their result becomes a function of `rng` alone. Not for several threads.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    seeds = rng.integers(2**32, size=3).tolist()
    try:
        random.seed(seeds[0])
        np.random.seed(seeds[1])  # noqa: NPY002
        # torch.manual_seed would also reseed CUDA's generators.
        torch.default_generator.manual_seed(seeds[2])
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
