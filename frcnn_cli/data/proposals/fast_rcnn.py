"""The .mat of fast-rcnn, one for a split (``voc_2007_trainval.mat``): two cell arrays, ``boxes`` and ``images``.

``boxes{i}`` is [N, 4], (y1, x1, y2, x2) in pixels counted from 1, the last one included; ``images{i}`` is the image's
id. So the pixel columns 3 to 5 are the continuous 2 to 5.

A .mat of one image, as of fast-rcnn's demo (x1 first, counted from 0) or of the IJCV article (x1 first, counted from
1), is refused: nothing in it tells which of the two it is. Where the user does, `single` reads it; a split's .mat of
another layout is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from frcnn_cli.data.proposals.layouts import Layout, which_layout
from frcnn_cli.data.proposals.matlab import read_mat
from frcnn_cli.data.proposals.npz import ImageProposals, checked_images
from frcnn_cli.data.proposals.sizeless import SizelessProposals, as_boxes
from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write, reason

LAYOUT = Layout("yxyx", 1)
"""fast-rcnn's own."""


class FastRCNNProposals(SizelessProposals):
    """A split's .mat, opened for reading.

    Args:
        path: the file.
        layout: of its boxes.

    Raises:
        DataError: the file is missing, damaged, or not fast-rcnn's.
    """

    def __init__(self, path: str | Path, layout: Layout = LAYOUT) -> None:
        path = Path(path)
        self.layout = layout
        self.convention = str(layout)
        cells = read_mat(path, ("boxes", "images", "bbs", "bboxes"))
        boxes, images = (cells.get(name) for name in ("boxes", "images"))
        if boxes is not None and boxes.dtype != object:
            raise DataError(
                f"{path}: boxes of a single image, which do not tell where pixels are counted from; "
                + which_layout("selective-search", "selective-search-ijcv", "fast-rcnn-demo")
            )
        for name, tool in (("bbs", "edge-boxes"), ("bboxes", "mcg")):
            if boxes is None and cells.get(name) is not None:
                raise DataError(f"{path}: {name} of a single image; --proposal-layout {tool} reads them as {tool} does")
        if boxes is None or images is None or images.dtype != object:
            raise DataError(f"{path}: not fast-rcnn's (no cell arrays boxes and images in it)")
        if boxes.size != images.size:
            raise DataError(f"{path}: boxes of {boxes.size} images, but {images.size} image ids")
        super().__init__(path, [_text(path, cell) for cell in images.ravel()])
        self._cells = boxes.ravel()

    def _xyxy(self, place: int) -> np.ndarray:
        return self.layout.to_xyxy(as_boxes(self._cells[place]))


def is_split(path: Path) -> bool:
    """Whether a .mat holds the boxes of several images, with their ids.

    Raises:
        DataError: it cannot be read.
    """
    return {"boxes", "images"} <= read_mat(path, ("boxes", "images")).keys()


def write_fast_rcnn(path: Path, images: Iterable[ImageProposals], settings: Mapping[str, Any]) -> None:
    """Write a split's .mat; each box becomes the smallest one of whole pixels that contains it.

    Boxes are uint16, as large a number as a JPEG's side can be, where they fit: a variable has at most 2 GB. The format
    has no place for the settings.

    Raises:
        DataError: boxes are not valid, or the file cannot be written.
    """
    from scipy import io as scipy_io  # takes its time to import, which other formats do not wait for

    boxes, ids = [], []
    for image_id, xyxy, *_ in checked_images(path, images):
        pixels = np.column_stack((np.floor(xyxy[:, :2]) + 1, np.ceil(xyxy[:, 2:])))[:, (1, 0, 3, 2)]
        boxes.append(pixels.astype(np.uint16 if pixels.max(initial=0) < 2**16 else np.uint32))
        ids.append(image_id)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        try:
            scipy_io.savemat(file, {"boxes": _cells(boxes)[None], "images": _cells(ids)[:, None]}, do_compression=True)
        except (scipy_io.matlab.MatWriteError, ValueError) as error:
            raise DataError(f"{path}: cannot be written ({reason(error)})") from error


def _text(path: Path, cell: object) -> str:
    if not isinstance(cell, np.ndarray) or cell.dtype.kind != "U" or cell.size != 1:
        raise DataError(f"{path}: images: a cell that is not the id of an image")
    return str(cell.item())


def _cells(values: list) -> np.ndarray:
    cells = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        cells[place] = value
    return cells
