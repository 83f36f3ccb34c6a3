"""The one palette: colours by what they stand for, in light and in dark, and the colours of maps."""

from __future__ import annotations

import base64
import io

import cv2
import numpy as np
from PIL import Image

LIGHT = {
    "paper": "#ffffff", "raised": "#f5f6f8", "ink": "#1c2430", "muted": "#586273", "line": "#d3d9e2",
    "blue": "#0b62b8", "orange": "#c2500a", "green": "#0c7a55", "purple": "#8a3a86", "grey": "#8f99a8",
}  # fmt: skip
DARK = {
    "paper": "#12161d", "raised": "#1b212b", "ink": "#e8ecf2", "muted": "#a3aebd", "line": "#39424f",
    "blue": "#6db3f2", "orange": "#f79b57", "green": "#4fc79a", "purple": "#d490d0", "grey": "#78828f",
}  # fmt: skip
"""Blue is a proposal or a RoI, orange what the model makes of it, green what stands for the truth, purple a second RoI.
All are told apart by colour-blind readers, and by the words and dashes beside them."""


def variables(colours: dict[str, str]) -> str:
    """Custom properties of CSS."""
    return " ".join(f"--{name}: {value};" for name, value in colours.items())


def heat(plane: np.ndarray, top: float | None = None) -> np.ndarray:
    """Values of a map, float [h, w], from 0 to `top`, its largest, in colours from dark to bright: uint8 [h, w, 3]."""
    top = max(float(plane.max()) if top is None else top, 1e-12)
    levels = np.clip(plane / top * 255, 0, 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def both_signs(plane: np.ndarray) -> np.ndarray:
    """A map of values around 0: blue below, white at 0, red above."""
    share = plane / max(float(np.abs(plane).max()), 1e-12)
    white, blue, red = (np.array(colour, float) for colour in ((247, 247, 247), (33, 102, 172), (178, 24, 43)))
    end = np.where(share[..., None] < 0, blue, red)
    return (white + (end - white) * np.abs(share)[..., None]).astype(np.uint8)


def png(pixels: np.ndarray) -> str:
    """uint8 [h, w, 3 or 4] as a data URI without loss: small maps."""
    return _uri(pixels, "PNG", optimize=True)


def jpeg(pixels: np.ndarray, quality: int = 82) -> str:
    """uint8 RGB [h, w, 3] as a data URI: photographs."""
    return _uri(pixels, "JPEG", quality=quality)


def _uri(pixels: np.ndarray, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
