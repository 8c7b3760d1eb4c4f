"""Photographs as they might have been taken: cropped, mirrored, lit otherwise, smaller. Pillow and NumPy only.

What a caption says stays true: no mirror image where one says left or right, no greys where one names a colour, and the
hue is never turned. Every function takes its source of randomness; nothing else decides.

Sources: random resized crops as in Szegedy et al., “Going deeper with convolutions” (CVPR 2015); brightness, contrast
and saturation as in Howard, “Some improvements on deep convolutional neural network based image classification” (2013).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from peyda.errors import ConfigError
from peyda.persian import normalize

_SIDE_ENDINGS = "(?:ی|ش|شان|شون|م|مان|ت|تان|تر|ترین|ها|های)?"
_SIDES = re.compile(
    rf"(?<!\w)(?:(?:چپ|راست){_SIDE_ENDINGS}|(?:چپ|راست)دست{_SIDE_ENDINGS}"
    r"|(?:left|right)(?:s|y|ies|most|ward|wards|hand|handed|er)?|clockwise|counterclockwise|anticlockwise)(?!\w)"
)
_COLOURS = re.compile(
    r"(?<!\w)(?:قرمز|سرخ|صورتی|نارنجی|زرد|طلایی|سبز|آبی|فیروزه|سرمه|بنفش|یاسی|ارغوانی|قهوه|کرم|رنگ|زرشکی|نیلی|سفید|سیاه|مشکی"
    r"|red|pink|orange|yellow|gold|golden|green|blue|turquoise|navy|purple|violet|brown|tan|colou?r|blond)"
)
_CROP_TRIES = 10
_Range = tuple[float, float]


def says_side(texts: Sequence[str]) -> bool:
    """Whether a caption says left or right, so that a mirror image would make it wrong.

    >>> says_side(["سگی سمتِ چپِ تصویر"]), says_side(["a man raises his right hand"]), says_side(["سگی در برف"])
    (True, True, False)
    """
    return any(_SIDES.search(normalize(text)) for text in texts)


def names_colour(texts: Sequence[str]) -> bool:
    """Whether a caption names a colour, so that greys would make it wrong.

    >>> names_colour(["توپ قرمز"]), names_colour(["a dog in the snow"])
    (True, False)
    """
    return any(_COLOURS.search(normalize(text)) for text in texts)


@dataclass(frozen=True, slots=True)
class ImageAugmentation:
    """A photograph, changed by chance; call it with (image, source of randomness, captions).

    Attributes:
        crop_area: Smallest and largest share of the area that is kept; (1, 1) does not crop.
        crop_ratio: Smallest and largest factor on the proportions of the crop.
        flip: Chance of a mirror image, where no caption says left or right.
        brightness: Factor from 1 − this to 1 + this.
        contrast: Likewise.
        saturation: Likewise.
        grey: Chance of greys, where no caption names a colour.
        small: Chance to lose detail as small files do: down to a smaller size, and up again.
        small_px: Least shorter side of that smaller size, in pixels.
    """

    crop_area: _Range = (0.5, 1.0)
    crop_ratio: _Range = (3 / 4, 4 / 3)
    flip: float = 0.5
    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.25
    grey: float = 0.05
    small: float = 0.15
    small_px: int = 64

    def __post_init__(self) -> None:
        for name in ("flip", "brightness", "contrast", "saturation", "grey", "small"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", hint=f"{name} is a share, from 0 to 1")
        if not 0 < self.crop_area[0] <= self.crop_area[1] <= 1:
            raise ConfigError(
                f"crop_area is {self.crop_area}", hint="two shares of the area, 0 < smallest ≤ largest ≤ 1"
            )
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ConfigError(f"crop_ratio is {self.crop_ratio}", hint="two factors, 0 < smallest ≤ largest")
        if self.small_px < 1:
            raise ConfigError(f"small_px is {self.small_px}", hint="at least 1 pixel")

    @classmethod
    def none(cls) -> ImageAugmentation:
        """One that changes nothing."""
        whole = (1.0, 1.0)
        return cls(whole, whole, flip=0.0, brightness=0.0, contrast=0.0, saturation=0.0, grey=0.0, small=0.0)

    def __call__(self, image: Image.Image, rng: np.random.Generator, texts: Sequence[str] = ()) -> Image.Image:
        """An RGB image, changed; the size is that of the crop.

        The draws are the same whatever the captions say, so that two captions of a photograph differ in the mirror
        image alone.
        """
        image = random_crop(image, rng, self.crop_area, self.crop_ratio)
        is_flipped, is_grey, is_small = (rng.random(3) < (self.flip, self.grey, self.small)).tolist()
        if is_small:
            image = lose_detail(image, rng, self.small_px)
        if is_flipped and not says_side(texts):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = jitter_colours(image, rng, self.brightness, self.contrast, self.saturation)
        if is_grey and not names_colour(texts):
            image = image.convert("L").convert("RGB")
        return image


def random_crop(image: Image.Image, rng: np.random.Generator, area: _Range, ratio: _Range) -> Image.Image:
    """A part of the image: its share of the area and its proportions (against the image's own) drawn at random.

    Where no such part fits in ten tries, the whole image is taken.
    """
    width, height = image.size
    for _ in range(_CROP_TRIES):
        share = rng.uniform(*area)
        stretch = math.sqrt(math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1]))))
        side = math.sqrt(share)
        across, down = max(1, round(width * side * stretch)), max(1, round(height * side / stretch))
        if across <= width and down <= height:
            left, top = int(rng.integers(width - across + 1)), int(rng.integers(height - down + 1))
            return image if (across, down) == image.size else image.crop((left, top, left + across, top + down))
    return image


def jitter_colours(
    image: Image.Image, rng: np.random.Generator, brightness: float, contrast: float, saturation: float
) -> Image.Image:
    """Brightness, contrast and saturation, each by a factor from 1 − its strength to 1 + it, in random order."""
    steps = [
        (ImageEnhance.Brightness, brightness),
        (ImageEnhance.Contrast, contrast),
        (ImageEnhance.Color, saturation),
    ]
    factors = rng.uniform(-1, 1, len(steps))
    for at in rng.permutation(len(steps)).tolist():
        enhance, strength = steps[at]
        if strength:
            image = enhance(image).enhance(1 + strength * float(factors[at]))
    return image


def lose_detail(image: Image.Image, rng: np.random.Generator, least_px: int) -> Image.Image:
    """Down to a shorter side between `least_px` and its own (even in the logarithm), and up to the same size again.

    An image that is no larger than `least_px` stays as it is.
    """
    shorter = min(image.size)
    wanted = math.exp(rng.uniform(math.log(least_px), math.log(max(shorter, least_px))))
    if shorter <= least_px:
        return image
    factor = wanted / shorter
    small = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    back = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)[int(rng.integers(2))]
    return image.resize(small, Image.Resampling.BOX, reducing_gap=2.0).resize(image.size, back)
