"""How files of single images write a box, which nothing in them tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layout:
    """The numbers of a box: their order, and where pixels are counted from.

    Attributes:
        order: ``xyxy``, ``yxyx`` (rows before columns), or ``xywh``.
        first: what the first pixel is called, where boxes include their last one; None for continuous coordinates.
    """

    order: str
    first: int | None

    def to_xyxy(self, boxes: np.ndarray) -> np.ndarray:
        """Numbers float64 [N, 4] -> xyxy in continuous pixels."""
        first = self.first or 0
        if self.order == "xywh":
            corner = boxes[:, :2] - first
            return np.concatenate((corner, corner + boxes[:, 2:]), axis=1)
        boxes = boxes[:, (1, 0, 3, 2)] if self.order == "yxyx" else boxes
        past_the_last = 0 if self.first is None else 1 - first
        return boxes + np.array([-first, -first, past_the_last, past_the_last])

    def __str__(self) -> str:
        counted = "continuous pixels" if self.first is None else f"pixels counted from {self.first}"
        return f"{' '.join(_NAMES[self.order])}, {counted}"


_NAMES = {"xyxy": ("x1", "y1", "x2", "y2"), "yxyx": ("y1", "x1", "y2", "x2"), "xywh": ("x", "y", "width", "height")}

LAYOUTS = {
    "edge-boxes": Layout("xywh", 1),
    "mcg": Layout("yxyx", 1),
    "selective-search": Layout("yxyx", 1),
    "selective-search-ijcv": Layout("xyxy", 1),
    "fast-rcnn-demo": Layout("xyxy", 0),
    "xyxy": Layout("xyxy", None),
    "xywh": Layout("xywh", None),
    "xyxy0": Layout("xyxy", 0),
    "xyxy1": Layout("xyxy", 1),
    "yxyx0": Layout("yxyx", 0),
    "yxyx1": Layout("yxyx", 1),
    "xywh1": Layout("xywh", 1),
}
"""By the name of the tool whose files are such, and by what they are. Selective search's code returns rows first, the
files that came with its IJCV article have columns first."""

LAYOUT_HELP = (
    "How --proposals write a box where each image has a file of its own (.mat, .txt, .csv; one, or a folder of them): "
    "by the tool, or by the order of the numbers and what the first pixel is called."
)


def which_layout(*names: str) -> str:
    """For messages about files that could be read in several ways: the likely ones."""
    shown = ", ".join(f"{name} ({LAYOUTS[name]})" for name in names)
    return f"--proposal-layout says it: {shown}, or another"
