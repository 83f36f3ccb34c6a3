"""Features of every region on the disk: a file an image, all of one model and one data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from frcnn_cli.core.boxes import encode, iou
from frcnn_cli.core.sampling import in_crowd
from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.samples import ImageRecord
from frcnn_cli.engine.checkpoint import Checkpoint
from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write, read_bytes, read_text, reason, remove_leftovers

FOLDER = "features"
ABOUT = "about.json"
FITTED = ("head.cls_score.", "head.bbox_pred.")
"""Layers that come after the features, and do not change them."""


@dataclass(frozen=True)
class Regions:
    """The regions of an image, its objects first and then its proposals, and what they show.

    Attributes:
        boxes: float32 [K, 4], xyxy in pixels of the image.
        fc7: float32 [K, width].
        objects: int64 [K], the label of an object, 0 for a proposal.
        overlaps: float32 [K, C], the largest IoU with an object of each class. A region that lies in a crowd has 1
            throughout, as nobody knows what it is no example of.
        near: int64 [M], the proposals that lie near an object, whose boxes are learnt from.
        pooled: float32 [M, cells * channels], their features before fc6.
        labels: int64 [M], the class of each one's object.
        deltas: float32 [M, 4], the regression from each to its object.
    """

    boxes: np.ndarray
    fc7: np.ndarray
    objects: np.ndarray
    overlaps: np.ndarray
    near: np.ndarray
    pooled: np.ndarray
    labels: np.ndarray
    deltas: np.ndarray


SHAPES: dict[str, tuple[str | int, ...]] = {
    "boxes": ("K", 4), "fc7": ("K", "W"), "objects": ("K",), "overlaps": ("K", "C"), "near": ("M",),
    "pooled": ("M", "P"), "labels": ("M",), "deltas": ("M", 4),
}  # fmt: skip
"""Of the arrays of `Regions`; C, W and P are the same for all images."""

INTEGERS = ("objects", "near", "labels")
LABELS = ("objects", "labels")


class FeatureStore:
    """A folder of features.

    Args:
        folder: ``features`` in that of the run.
        records: the images, in the order of the data set.
        model: says of what model the features are; see `model_key`.
        data: says of what data; see `data_key`.
        num_classes: C of `Regions`; None for any.

    Raises:
        DataError: the folder has features of another model, or of other data.
    """

    def __init__(
        self, folder: Path, records: tuple[ImageRecord, ...], model: str, data: str, num_classes: int | None = None
    ) -> None:
        self.folder = folder
        self.records = records
        self._sides: dict[str, int] = {} if num_classes is None else {"C": num_classes}
        self.about = {"model": model, "data": data}
        path = folder / ABOUT
        if path.is_file():
            try:
                before = json.loads(read_text(path))
            except (ValueError, RecursionError):
                before = None
            if before != self.about:
                other = "data" if isinstance(before, dict) and before.get("model") == model else "model"
                raise DataError(
                    f"{folder}: features of {'other data' if other == 'data' else 'another model'} than this run's; "
                    "delete the folder to have them made anew"
                )

    def path(self, number: int) -> Path:
        """The file of an image, by its place in the data set."""
        return self.folder / f"{number:06d}.safetensors"

    @property
    def missing(self) -> list[int]:
        """The numbers of the images without features."""
        return [number for number in range(len(self.records)) if not self.path(number).is_file()]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    def write(self, number: int, regions: Regions) -> None:
        """Write an image's features in one piece.

        Raises:
            DataError: the disk is full, or the folder cannot be written; the other images' stay.
        """
        if not (self.folder / ABOUT).is_file():
            with atomic_write(self.folder / ABOUT) as temporary:
                temporary.write_text(json.dumps(self.about, indent=2) + "\n", encoding="utf-8")
        path = self.path(number)
        remove_leftovers(path)
        with atomic_write(path) as temporary:
            arrays = {name: np.ascontiguousarray(array) for name, array in vars(regions).items()}
            temporary.write_bytes(save(arrays, metadata={"id": self.records[number].id}))

    def read(self, number: int, *names: str) -> list[np.ndarray]:
        """Some arrays of an image's `Regions`, by their names; the others are not read.

        Raises:
            DataError: the file is missing, damaged, or not of this image.
        """
        path = self.path(number)
        try:
            with safe_open(path, framework="numpy") as file:
                self._check(file, self.records[number].id)
                arrays = [file.get_tensor(name) for name in names]
            if not all(np.isfinite(array).all() for array in arrays):
                raise ValueError("numbers that are not finite")
            for name, array in zip(names, arrays, strict=True):
                if name in LABELS and array.size and not 0 <= array.min() <= array.max() <= self._sides["C"]:
                    raise ValueError(f"{name} of no class")
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: missing or damaged ({reason(error)}); delete it and resume the stage features"
            ) from error
        return arrays

    def rows(self, number: int) -> int:
        """How many regions an image has. Raises what `read` raises."""
        return len(self.read(number, "boxes")[0])

    def _check(self, file: Any, image_id: str) -> None:
        """Refuse a file whose arrays do not fit one another, or those of the other images.

        Raises:
            ValueError: they do not, or the file is of another image.
        """
        if (file.metadata() or {}).get("id") != image_id:
            raise ValueError("of another image")
        sides = {name: side for name, side in self._sides.items() if name not in ("K", "M")}
        for name, wanted in SHAPES.items():
            part = file.get_slice(name)
            shape, numbers = tuple(part.get_shape()), part.get_dtype()
            if len(shape) != len(wanted) or (numbers == "I64") != (name in INTEGERS) or numbers[0] not in "IF":
                raise ValueError(f"{name} is {numbers} {list(shape)}")
            for side, length in zip(wanted, shape, strict=True):
                empty = side in ("W", "P") and shape[0] == 0  # of no rows, the width may not be known
                if not empty and sides.setdefault(str(side), side if isinstance(side, int) else length) != length:
                    raise ValueError(f"{name} is {numbers} {list(shape)}")
        self._sides = sides


def describe(
    record: ImageRecord,
    proposals: np.ndarray,
    num_classes: int,
    near_iou: float,
    extract: Callable[[np.ndarray, Tensor], Iterable[tuple[Tensor, Tensor, Tensor]]],
) -> Regions:
    """Compute all that is kept of an image.

    Args:
        record: the image.
        proposals: float32 [K, 4].
        num_classes: C.
        near_iou: proposals that overlap an object by more are near it.
        extract: rows of regions, their pooled features and their fc7, part by part, of an image uint8 RGB [H, W, 3] and
            boxes Tensor[K, 4].

    Raises:
        DataError: the image cannot be read.
    """
    objects = record.objects.without_crowds()
    gt, gt_labels = torch.from_numpy(objects.boxes), torch.from_numpy(objects.labels)
    boxes = torch.cat((gt, torch.from_numpy(proposals)))
    labels = torch.cat((gt_labels, torch.zeros(len(proposals), dtype=torch.int64)))
    pairs = iou(boxes, gt)
    overlaps = torch.zeros(len(boxes), num_classes)
    for place, label in enumerate(gt_labels.tolist()):
        overlaps[:, label - 1] = overlaps[:, label - 1].maximum(pairs[:, place])
    overlaps[in_crowd(boxes, torch.from_numpy(record.objects.crowds()))] = 1
    near = torch.zeros(0, dtype=torch.int64)
    if len(gt):
        best, matched = pairs.max(dim=1)
        near = ((best > near_iou) & (labels == 0)).nonzero()[:, 0]
    fc7: Tensor | None = None
    pooled: Tensor | None = None
    place_of = torch.full((len(boxes),), -1)
    place_of[near] = torch.arange(len(near))
    for rows, part, last in extract(load_image(record.path), boxes):
        if fc7 is None:
            fc7, pooled = torch.empty(len(boxes), last.shape[1]), torch.empty(len(near), part.shape[1])
        fc7[rows] = last
        kept = place_of[rows] >= 0
        pooled[place_of[rows[kept]]] = part[kept]
    if fc7 is None:
        fc7, pooled = torch.empty(0, 0), torch.empty(0, 0)
    deltas = encode(boxes[near], gt[matched[near]]) if len(near) else torch.zeros(0, 4)
    near_labels = gt_labels[matched[near]] if len(near) else torch.zeros(0, dtype=torch.int64)
    arrays = (boxes, fc7, labels, overlaps, near, pooled, near_labels, deltas)
    return Regions(*(array.numpy() for array in arrays))


def model_key(checkpoint: Checkpoint, **more: Any) -> str:
    """What a model's features depend on, as a hash; `more` are numbers of the features' own."""
    about = {
        "kind": checkpoint.kind,
        "architecture": asdict(checkpoint.architecture) | {"classifier": None},
        "normalisation": asdict(checkpoint.normalisation),
        "sides": (checkpoint.short_side, checkpoint.long_side),
        **more,
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(checkpoint.state.items()):
        if not name.startswith(FITTED):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def data_key(records: Iterable[ImageRecord], proposals: Proposals) -> str:
    """The content of images, their objects and their proposals, as a hash.

    Raises:
        DataError: an image or its proposals cannot be read.
    """
    digest = hashlib.sha256()
    for record in records:
        digest.update(json.dumps([record.id, record.width, record.height]).encode())
        digest.update(read_bytes(record.path))
        objects = record.objects
        boxes = np.asarray(proposals.get(record.id, record.width, record.height), np.float32)
        for array in (objects.boxes, objects.labels, objects.crowds(), boxes):
            digest.update(np.ascontiguousarray(array).tobytes())
            digest.update(len(array).to_bytes(8, "little"))
    return digest.hexdigest()
