"""Colours of classes, far apart to the eye, and what is legible on them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

Color = tuple[int, int, int]

DARK, LIGHT = (0, 0, 0), (255, 255, 255)
NUM_COLORS = 96


def class_color(label: int) -> Color:
    """The fixed colour of a class, RGB in 0 .. 255.

    Neighbouring labels differ most: each colour is the one farthest from all earlier ones in OKLab, among colours of
    medium lightness and high chroma. They repeat after `NUM_COLORS`.

    Raises:
        ValueError: the label is below 1.
    """
    if label < 1:
        raise ValueError(f"label {label}: the classes are numbered from 1")
    return _palette()[(label - 1) % NUM_COLORS]


@lru_cache(maxsize=1)
def _palette() -> tuple[Color, ...]:
    levels = np.linspace(0, 255, 18).round()
    colors = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = oklab(colors)
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    good = (lightness > 0.58) & (lightness < 0.92) & (chroma > 0.12)
    colors, lab = colors[good], lab[good]
    chosen = [int(np.linalg.norm(colors - (255, 75, 60), axis=1).argmin())]  # start from a clear red
    nearest = np.full(len(lab), np.inf)
    while len(chosen) < NUM_COLORS:
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return tuple((int(r), int(g), int(b)) for r, g, b in colors[chosen])


def linear(colors: np.ndarray) -> np.ndarray:
    """sRGB in 0 .. 255 to linear light in [0, 1] (IEC 61966-2-1)."""
    srgb = np.asarray(colors, dtype=np.float64) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def oklab(colors: np.ndarray) -> np.ndarray:
    """sRGB [N, 3] in 0 .. 255 to OKLab [N, 3], where distances match what is seen.

    Source: B. Ottosson, "A perceptual color space for image processing", https://bottosson.github.io/posts/oklab/
    """
    to_cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.cbrt(linear(colors) @ np.transpose(to_cones)) @ np.transpose(to_lab)


def text_color(background: Color) -> Color:
    """Black on light colours and white on dark ones, by OKLab's lightness.

    WCAG's contrast ratio would put black even on a saturated purple, where white reads better.
    """
    lightness = oklab(np.array([background]))[0, 0]
    return DARK if lightness > 0.64 else LIGHT
