"""COCO's annotation file: one JSON for all images, boxes as continuous (x, y, width, height)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from frcnn_cli.data.formats import Format, Reading
from frcnn_cli.data.formats.building import (
    Box,
    BoxFault,
    Frame,
    check_class_names,
    open_frame,
    pack_objects,
    settle_faults,
)
from frcnn_cli.data.samples import Dataset, ImageRecord
from frcnn_cli.errors import DataError
from frcnn_cli.files import read_text, reason


@dataclass
class _Image:
    """An image of the file, and its objects as they are found."""

    id: str
    path: Path
    frame: Frame
    boxes: list[Box] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    difficult: list[bool] = field(default_factory=list)


def load_coco(
    annotations: str | Path, images: str | Path, classes: Sequence[str] | None = None, skip_faulty: bool = False
) -> Dataset:
    """Read a COCO annotation file and the headers of its images.

    Regions with ``iscrowd`` 1 become crowds, and difficult. An image's id is its ``file_name`` without the suffix.

    Args:
        annotations: the JSON file.
        images: the folder that ``file_name`` is relative to.
        classes: names in the order of their labels. None: the file's categories in the order of their ids.
        skip_faulty: leave faulty objects and images out and list them in `skipped`.

    Raises:
        DataError: the file is missing, not JSON, or lacks a key all else depends on; the folder is missing.
        DatasetFaults: anything else wrong, all of it, unless `skip_faulty`; or no image is left.
    """
    path, folder = Path(annotations), Path(images)
    content = _read_json(path)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    names = _category_names(content["categories"], path)
    known = tuple(names.values()) if classes is None else check_class_names(classes)
    labels = {name: label for label, name in enumerate(known, start=1)}

    faults: list[str] = []
    found = _read_images(content["images"], path, folder, faults)
    for number, item in enumerate(content["annotations"], start=1):
        try:
            _read_annotation(item, found, names, labels)
        except BoxFault as fault:
            faults.append(f"{path}: annotation {_shown_id(item, number)}: {fault}")
    usable = [image for image in found.values() if image is not None]
    skipped = settle_faults(path.stem, faults, len(usable), skip_faulty)
    return Dataset(path.stem, known, tuple(map(_record, usable)), skipped)


def _load(annotations: Path, reading: Reading) -> Dataset:
    return load_coco(annotations, reading.images, reading.classes, reading.skip_faulty)


COCO = Format(metavar="ANN.json", help="Annotations in COCO's format.", load=_load, lists=False, needs_images=True)


def _record(image: _Image) -> ImageRecord:
    objects = pack_objects(image.boxes, image.labels, image.difficult)
    objects = replace(objects, crowd=objects.difficult)
    return ImageRecord(image.id, image.path, image.frame.width, image.frame.height, objects)


def _read_json(path: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({reason(error)})") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{path}: not a COCO annotation file (no list {key!r})")
    if not content["images"]:
        raise DataError(f"{path}: lists no image")
    return content


def _category_names(categories: Sequence[Any], path: Path) -> dict[int, str]:
    """Return {category id: name} in the order of the ids."""
    names: dict[int, str] = {}
    for item in categories:
        try:
            category_id, name = item["id"], item["name"]
        except (TypeError, KeyError):
            raise DataError(f"{path}: a category lacks its id or name: {item!r}") from None
        if not isinstance(category_id, int) or not isinstance(name, str):
            raise DataError(f"{path}: a category's id is not a whole number or its name not a text: {item!r}")
        if category_id in names or name in names.values():
            raise DataError(f"{path}: category {category_id} ({name}): its id or name is there twice")
        names[category_id] = name
    return dict(sorted(names.items()))


def _read_images(items: Sequence[Any], path: Path, folder: Path, faults: list[str]) -> dict[Any, _Image | None]:
    """Return {COCO's number: image}, None for an image that cannot be used; the reasons are added to `faults`."""
    found: dict[Any, _Image | None] = {}
    taken: set[str] = set()
    for number, item in enumerate(items, start=1):
        try:
            key, name = item["id"], item["file_name"]
            image_id = PurePosixPath(name).with_suffix("").as_posix()
            duplicate = key in found or image_id in taken
        except (TypeError, KeyError, ValueError):
            faults.append(f"{path}: image {number} of the list lacks its id or file_name")
            continue
        if duplicate:
            faults.append(f"{path}: image {key} ({name}): its id or file name is there twice")
            continue
        taken.add(image_id)
        try:
            stated = (item["width"], item["height"]) if "width" in item and "height" in item else None
            found[key] = _Image(image_id, folder / name, open_frame(folder / name, stated))
        except DataError as error:
            found[key] = None
            faults.append(str(error))
    return found


def _read_annotation(
    item: Any, images: Mapping[Any, _Image | None], names: Mapping[int, str], labels: Mapping[str, int]
) -> None:
    """Add one annotation to its image. An unusable image's annotations pass: the image is the fault.

    Raises:
        BoxFault: the annotation cannot be used.
    """
    try:
        image_key, category, bbox = item["image_id"], item["category_id"], item["bbox"]
        known_image, name = image_key in images, names.get(category)
    except (TypeError, KeyError) as error:
        raise BoxFault(f"no {error}" if isinstance(error, KeyError) else "not an object with simple ids") from None
    if not known_image:
        raise BoxFault(f"image_id {image_key!r} is not in the list of images")
    image = images[image_key]
    if image is None:
        return
    where = f"image {image.id}"
    if name is None:
        raise BoxFault(f"{where}: category_id {category!r} is not in the list of categories")
    if name not in labels:
        raise BoxFault(f"{where}: unknown class {name!r}")
    box = _read_box(bbox, image.frame, f"{where} ({name})")
    image.boxes.append(box)
    image.labels.append(labels[name])
    image.difficult.append(bool(item.get("iscrowd", 0)))


def _read_box(bbox: Any, frame: Frame, where: str) -> Box:
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(type(value) in (int, float) for value in bbox):
        raise BoxFault(f"{where}: bbox is not four numbers: {bbox!r}")
    try:
        x, y, width, height = map(float, bbox)
    except OverflowError:
        raise BoxFault(f"{where}: bbox has a number beyond all bounds") from None
    try:
        return frame.place((x, y, x + width, y + height))
    except BoxFault as fault:
        raise BoxFault(f"{where}: box ({', '.join(f'{value:g}' for value in bbox)}) {fault}") from None


def _shown_id(item: Any, number: int) -> Any:
    return item.get("id", number) if isinstance(item, dict) else number
