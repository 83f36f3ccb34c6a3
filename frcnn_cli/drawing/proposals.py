"""Pictures of selective search: the segments it starts from, and how well its boxes cover the objects."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from frcnn_cli.data.boxes import box_iou
from frcnn_cli.data.samples import Objects
from frcnn_cli.drawing.boxes import Color, Mark, class_color, draw_marks

# Orange and sky blue of Okabe and Ito's palette, which colour-blind readers can tell apart.
OBJECT_COLOR: Color = (86, 180, 233)
PROPOSAL_COLOR: Color = (230, 159, 0)
BOUNDARY_COLOR: Color = (255, 255, 255)


def draw_segments(image: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Fills each segment with its mean colour, and draws its boundary.

    Args:
        image: uint8 [H, W, 3], RGB.
        segments: int [H, W], labels 0, 1, ...

    Returns:
        uint8 [H, W, 3], a new RGB image.
    """
    flat = segments.ravel()
    sums = np.stack([np.bincount(flat, channel.ravel()) for channel in np.moveaxis(image, -1, 0)], axis=-1)
    means = sums / np.maximum(np.bincount(flat), 1)[:, None]
    picture = means.round().astype(np.uint8)[segments]
    boundaries = np.zeros(segments.shape, np.uint8)
    boundaries[:, 1:] |= segments[:, 1:] != segments[:, :-1]
    boundaries[1:] |= segments[1:] != segments[:-1]
    line = max(1, round(np.sqrt(segments.size) / 700))  # a line of one pixel is lost in a large picture
    boundaries = cv2.dilate(boundaries, np.ones((line, line), np.uint8))
    picture[boundaries > 0] = BOUNDARY_COLOR
    return picture


def draw_best_proposals(
    image: np.ndarray, proposals: np.ndarray, objects: Objects, class_names: Sequence[str]
) -> np.ndarray:
    """Draws each object and, with its class, IoU and rank (1 for the first), the proposal that covers it best.

    Args:
        image: uint8 [H, W, 3], RGB.
        proposals: float [N, 4], xyxy in pixels, best first; of equally good ones the first is drawn.
        objects: those to be covered.
        class_names: names of the labels 1, 2, ...

    Returns:
        uint8 [H, W, 3], a new RGB image.
    """
    overlaps = box_iou(proposals, objects.boxes)
    best, truth = [], []
    for box, label, overlap in zip(objects.boxes, objects.labels, overlaps.T, strict=True):
        name = class_names[label - 1]
        if overlap.any():
            rank = int(overlap.argmax())
            best.append(Mark(proposals[rank], f"{name} {overlap[rank]:.2f}, no. {rank + 1}", PROPOSAL_COLOR))
            name = ""
        truth.append(Mark(box, name and f"{name}: no proposal", OBJECT_COLOR))
    return draw_marks(image, best + truth)


def draw_first_proposals(image: np.ndarray, proposals: np.ndarray, count: int = 10) -> np.ndarray:
    """Draws the best-ranked proposals, each with its rank.

    Args:
        image: uint8 [H, W, 3], RGB.
        proposals: float [N, 4], xyxy in pixels, best first.
        count: how many.

    Returns:
        uint8 [H, W, 3], a new RGB image.
    """
    ranked = enumerate(proposals[:count], start=1)
    return draw_marks(image, [Mark(box, str(rank), class_color(rank)) for rank, box in ranked])


def together(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two pictures of one size in one: side by side, or one above the other where they are very wide.

    Args:
        first, second: uint8 [H, W, 3].

    Returns:
        uint8 [H, 2 W + gap, 3] or [2 H + gap, W, 3].
    """
    height, width = first.shape[:2]
    axis = 1 if width <= 2 * height else 0
    shape = list(first.shape)
    shape[axis] = max(2, round(np.sqrt(height * width) / 60))
    return np.concatenate([first, np.full(shape, 255, np.uint8), second], axis=axis)
