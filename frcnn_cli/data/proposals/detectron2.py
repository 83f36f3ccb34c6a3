"""The .pkl of detectron2: a pickled dict of lists, ``ids``, ``boxes`` and ``objectness_logits``, and ``bbox_mode``.

Boxes are continuous pixels counted from 0: (x1, y1, x2, y2) in mode 0, which is meant where none is given, and (x, y,
width, height) in mode 1.
Files of Detectron (the first) call the ids ``indexes`` and the logits ``scores``, and are read as detectron2 does.

An image goes by its id in COCO's file there and by its file's name here. Where the ids are known, because the images
are those of a COCO file, they are what is read and written. Else what detectron2 calls 139 is ``000000000139`` or
``COCO_val2014_000000000139``: both names are understood, and the number is what is written.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from frcnn_cli.data.proposals.npz import ImageProposals, checked_images
from frcnn_cli.data.proposals.restricted_pickle import PickledArray, allowance, load_pickle
from frcnn_cli.data.proposals.sizeless import SizelessProposals, as_boxes
from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write

XYXY_ABS, XYWH_ABS = 0, 1
"""Of detectron2's ways to write a box, the two that are pixels along the axes."""


PER_IMAGE = 250
"""Bytes that it takes to know an image by its id, apart from its boxes."""


class Detectron2Proposals(SizelessProposals):
    """A .pkl opened for reading; nothing in it is run, and it takes memory of 100 MB and 30 times the file at most.

    Args:
        path: the file.
        coco_ids: {image id: its id in COCO's file}, where they are known.

    Raises:
        DataError: the file is missing, damaged, not detectron2's, or holds more than arrays and plain containers.
    """

    convention = "x1 y1 x2 y2 or x y w h as its bbox_mode says, continuous pixels from 0"

    def __init__(self, path: str | Path, coco_ids: Mapping[str, int | str] = MappingProxyType({})) -> None:
        path = Path(path)
        content = load_pickle(path)
        if not isinstance(content, dict):
            raise DataError(f"{path}: not detectron2's (a {type(content).__name__}, not a dict)")
        ids = _list(path, content, "ids", "indexes")
        super().__init__(path, [_id(path, image_id) for image_id in ids])
        self._coco_ids = dict(coco_ids)
        self._numbered = all(isinstance(image_id, int) for image_id in ids)
        self._boxes = [_values(boxes) for boxes in _list(path, content, "boxes")]
        self._logits = [_values(logits) for logits in _list(path, content, "objectness_logits", "scores")]
        modes = content.get("bbox_mode", XYXY_ABS)
        self._modes = modes if isinstance(modes, list) else [modes] * len(ids)
        for name, values in (("boxes", self._boxes), ("logits", self._logits), ("box modes", self._modes)):
            if len(values) != len(ids):
                raise DataError(f"{path}: {name} of {len(values)} images, but {len(ids)} image ids")
        other = next((mode for mode in self._modes if mode not in (XYXY_ABS, XYWH_ABS)), None)
        if other is not None:
            shown = other if other in range(100) else f"a {type(other).__name__}"
            raise DataError(f"{path}: bbox_mode is {shown}; read are 0 (x1 y1 x2 y2) and 1 (x y w h)")

    def _place(self, image_id: object) -> int | None:
        if image_id in self._coco_ids:
            place = super()._place(str(self._coco_ids[image_id]))
            if place is not None or self._numbered:  # a file's name may well be another image's number
                return place
        place = super()._place(image_id)
        return place if place is not None else super()._place(str(coco_number(str(image_id))))

    def _xyxy(self, place: int) -> np.ndarray:
        boxes, logits = as_boxes(self._boxes[place]), self._logits[place]
        if not isinstance(logits, np.ndarray) or logits.dtype.kind not in "iuf" or logits.size != len(boxes):
            raise ValueError(f"{len(boxes)} boxes without as many numbers for their objectness")
        if self._modes[place] == XYWH_ABS:
            boxes[:, 2:] += boxes[:, :2]
        return boxes[np.argsort(-logits.ravel().astype(np.float64), kind="stable")]


def write_detectron2(path: Path, images: Iterable[ImageProposals], settings: Mapping[str, Any]) -> None:
    """Write a .pkl that detectron2's ``load_proposals_into_dataset`` reads.

    The logits are no measure of objectness: the best box of an image has 0, the next one -1, and so on, which keeps
    their order. The format has no place for the settings. The same boxes give the same bytes.

    Raises:
        DataError: boxes are not valid, two images have the same COCO number, or the file cannot be written.
    """
    content: dict[str, Any] = {"boxes": [], "objectness_logits": [], "ids": [], "bbox_mode": XYXY_ABS}
    for image_id, boxes, _, _, coco_id, _ in checked_images(path, images):
        number = coco_number(image_id) if coco_id is None else coco_id
        content["ids"].append(image_id if number is None else number)
        content["boxes"].append(boxes)
        content["objectness_logits"].append(-np.arange(len(boxes), dtype=np.float32))
    if len(set(content["ids"])) < len(content["ids"]):
        raise DataError(f"{path}: two images have the same COCO number")
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        _Pickler(file, protocol=4).dump(content)


def coco_number(image_id: str) -> int | None:
    """The number of a COCO image, by the name of its file; None for any other name."""
    match = re.fullmatch("(?:COCO_[a-z]+20[0-9]{2}_)?([0-9]{12})", image_id)
    return int(match[1]) if match else None


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        # As NumPy pickles an array since version 2, earlier versions cannot read it.
        if isinstance(value, np.ndarray):
            return np.ndarray, (value.shape, value.dtype.str, value.tobytes())
        return NotImplemented


def _list(path: Path, content: dict, *names: str) -> list:
    value = next((_values(content[name]) for name in names if name in content), None)
    count = value.size if isinstance(value, np.ndarray) else len(value) if isinstance(value, list) else 0
    if count * PER_IMAGE > allowance(path.stat().st_size):
        raise DataError(f"{path}: {count:,} {names[0]}, more than a file of its length has room for")
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return value.tolist()
    if not isinstance(value, list):
        raise DataError(f"{path}: not detectron2's (no list {names[0]} in it)")
    return value


def _id(path: Path, value: object) -> str:
    if not isinstance(value, str) and not (isinstance(value, int) and abs(value) < 2**63):
        raise DataError(f"{path}: ids: a {type(value).__name__} that is not the id of an image")
    return str(value)


def _values(value: object) -> object:
    return value.values if isinstance(value, PickledArray) else value
