"""COCO's annotation file: one JSON for all images, boxes as continuous (x, y, width, height)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from frcnn_cli.data.formats import Format, Reading
from frcnn_cli.data.formats.building import Draft, ImageDraft, ObjectFault, stated_size
from frcnn_cli.data.formats.finder import FileIndex, leads_outside, stem
from frcnn_cli.data.images import IMAGE_SUFFIXES
from frcnn_cli.data.samples import Dataset
from frcnn_cli.errors import DataError
from frcnn_cli.files import read_text, reason


def load_coco(
    annotations: str | Path, images: str | Path, classes: Sequence[str] | None = None, **wanted: Any
) -> Dataset:
    """Read a COCO annotation file and the headers of its images.

    Regions with ``iscrowd`` or ``ignore`` 1 become crowds, and difficult. An image's id is its ``file_name`` without
    the suffix; its own id in the file becomes its `coco_id`. Of an object without ``bbox``, the box around its polygons
    is taken. Ids are the same however they are written: 7, 7.0, "7".

    Args:
        annotations: the JSON file.
        images: the folder that ``file_name`` is relative to.
        classes: names in the order of their labels. None: the file's categories in the order of their ids.
        wanted: what else is wanted, as fields of `Reading`.

    Raises:
        DataError: the file is missing, not JSON, or lacks a key all else depends on; the folder is missing.
        DatasetFaults: anything else wrong, all of it, unless `skip_faulty`; or no image is left.
    """
    classes = None if classes is None else tuple(classes)
    return read_coco(Path(annotations), Reading("", images=Path(images), classes=classes, **wanted))


def read_coco(path: Path, reading: Reading) -> Dataset:
    """As `load_coco`."""
    content = _read_json(path)
    if not reading.images.is_dir():
        raise DataError(f"{reading.images}: no such folder")
    draft = Draft(path.stem, reading)
    names = _category_names(_without_roots(content, draft), path)
    images = _read_images(content["images"], path, draft)
    draft.note_outside([reading.images])
    for number, item in enumerate(content["annotations"], start=1):
        try:
            _read_annotation(item, images, names, draft)
        except ObjectFault as fault:
            draft.faults.append(f"{path}: annotation {_shown_id(item, number)}: {fault}")
    return draft.finish(names.values())


COCO = Format(metavar="ANN.json", help="Annotations in COCO's format.", load=read_coco, lists=False, needs_images=True)


def _read_json(path: Path) -> dict[str, list[Any]]:
    if os.path.isdir(path):
        inside = sorted(path.glob("*.json"))
        raise DataError(f"{path}: a folder; name the JSON file{f', such as {inside[0]}' if inside else ''}")
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


def _without_roots(content: Mapping[str, list[Any]], draft: Draft) -> list[Any]:
    """The categories but those that stand above others and have no object, as Roboflow writes one."""
    used = [_plain_id(item.get("category_id")) for item in content["annotations"] if isinstance(item, dict)]
    kept = []
    for item in content["categories"]:
        others = [
            other.get("supercategory")
            for other in content["categories"]
            if isinstance(other, dict) and other is not item
        ]
        if (
            isinstance(item, dict)
            and isinstance(item.get("name"), str)
            and item["name"] in others
            and _plain_id(item.get("id")) not in used
        ):
            draft.notes.append(
                f"category {item.get('id')} ({item['name']}), above others and without objects, is left out"
            )
        else:
            kept.append(item)
    return kept


def _category_names(categories: Sequence[Any], path: Path) -> dict[int | str, str]:
    """Return {category id: name} in the order of the ids, numbers first."""
    names: dict[int | str, str] = {}
    for item in categories:
        try:
            category_id, name = _plain_id(item["id"]), item["name"]
        except (TypeError, KeyError):
            raise DataError(f"{path}: a category lacks its id or name: {item!r}") from None
        name = str(name) if type(name) is int else name
        if not isinstance(category_id, (int, str)) or not isinstance(name, str):
            raise DataError(f"{path}: a category's id is neither a whole number nor a text, or its name none: {item!r}")
        if not name.strip():
            raise DataError(f"{path}: category {category_id} has no name")
        if category_id in names or name in names.values():
            raise DataError(f"{path}: category {category_id} ({name}): its id or name is there twice")
        names[category_id] = name
    return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _plain_id(value: Any) -> Any:
    """An id as the one value that 7, 7.0 and "7" are, which tools mix in one file."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value.strip()):
        return int(value)
    return value


def _read_images(items: Sequence[Any], path: Path, draft: Draft) -> dict[Any, ImageDraft | None]:
    """Return {COCO's number: image}, None for an image that cannot be used; the reasons are added to the faults."""
    index = FileIndex(draft.reading.images, IMAGE_SUFFIXES, draft.reading.follow_outside)
    found: dict[Any, ImageDraft | None] = {}
    taken: set[str] = set()
    for number, item in enumerate(items, start=1):
        try:
            key, name = _plain_id(item["id"]), item["file_name"]
            duplicate = key in found or PurePosixPath(name) in taken
        except (TypeError, KeyError, ValueError):
            draft.faults.append(f"{path}: image {number} of the list lacks its id or file_name")
            with suppress(TypeError, KeyError):  # its annotations are no further faults
                found.setdefault(_plain_id(item["id"]), None)
            continue
        if duplicate:
            draft.faults.append(f"{path}: image {key} ({name}): its id or file name is there twice")
            continue
        taken.add(PurePosixPath(name))
        found[key] = None
        try:
            file = _find_image(name, index)
            size = _stated_size(item, f"{path}: image {key} ({name})")
            own = item["id"] if isinstance(item["id"], str) else key
            found[key] = draft.add_image(stem(file), index.folder / file, size, own)
        except DataError as error:
            draft.faults.append(str(error))
    return found


def _find_image(name: str, index: FileIndex) -> str:
    """Where an image lies in the folder: where its name says, or else where it is found by a like one."""
    if not leads_outside(name) and (index.folder / name).is_file():
        return PurePosixPath(name).as_posix()
    found = index.find_one(name)
    if found is None:
        raise DataError(f"{index.folder / name}: no such file")
    return found


def _stated_size(item: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    try:
        return stated_size(item.get("width"), item.get("height"))
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{where}: its size is not two whole numbers: {item['width']!r}, {item['height']!r}") from None


def _read_annotation(
    item: Any, images: Mapping[Any, ImageDraft | None], names: Mapping[int | str, str], draft: Draft
) -> None:
    """Add one annotation to its image. An unusable image's annotations pass: the image is the fault.

    Raises:
        ObjectFault: the annotation cannot be used.
    """
    try:
        image_key, category = _plain_id(item["image_id"]), _plain_id(item["category_id"])
        known_image, name = image_key in images, names.get(category)
    except (TypeError, KeyError) as error:
        raise ObjectFault(f"no {error}" if isinstance(error, KeyError) else "not an object with simple ids") from None
    if not known_image:
        raise ObjectFault(f"image_id {item['image_id']!r} is not in the list of images")
    image = images[image_key]
    if image is None:
        return
    where = f"image {image.id}"
    try:
        if name is None:
            raise ObjectFault(f"category_id {item['category_id']!r} is not in the list of categories")
        if not draft.wants(name):
            return
        where += f" ({name})"
        x, y, width, height = written = _box(item)
        crowd = _is_set(item, "iscrowd") or _is_set(item, "ignore")
        draft.add_object(image, name, (x, y, x + width, y + height), written, crowd=crowd)
    except ObjectFault as fault:
        raise ObjectFault(f"{where}: {fault}") from None


def _is_set(item: Mapping[str, Any], flag: str) -> bool:
    return str(item.get(flag, 0)).strip().lower() in ("1", "true", "1.0")


def _box(item: Mapping[str, Any]) -> Sequence[float]:
    """The (x, y, width, height) of an annotation: its ``bbox`` or, where it has none, the box around its polygons."""
    bbox, outline = item.get("bbox"), item.get("segmentation")
    if bbox is not None and bbox != []:
        if not isinstance(bbox, list) or len(bbox) != 4:
            raise ObjectFault(f"bbox is not four numbers: {bbox!r}")
        return _numbers(bbox, "bbox is not four numbers")
    if outline is None or outline == []:
        raise ObjectFault("no 'bbox'")
    if not isinstance(outline, list):
        raise ObjectFault("no 'bbox', and its segmentation is a mask, not polygons")
    corners = [*chain.from_iterable(part if isinstance(part, list) else [part] for part in outline)]
    if len(corners) < 6 or len(corners) % 2:
        raise ObjectFault("no 'bbox', and its segmentation has no polygon of three corners")
    numbers = _numbers(corners, "no 'bbox', and its segmentation is not polygons")
    xs, ys = numbers[::2], numbers[1::2]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _numbers(values: Sequence[Any], fault: str) -> list[float]:
    """Numbers, some tools' as texts."""
    try:
        if all(type(value) in (int, float, str) for value in values):
            return [float(value) for value in values]
    except OverflowError:
        raise ObjectFault("bbox has a number beyond all bounds") from None
    except ValueError:
        pass
    raise ObjectFault(f"{fault}: {values!r}")


def _shown_id(item: Any, number: int) -> Any:
    return item.get("id", number) if isinstance(item, dict) else number
