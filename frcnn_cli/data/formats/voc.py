"""PASCAL VOC folders: ROOT/JPEGImages, ROOT/Annotations and ROOT/ImageSets/Main/SPLIT.txt.

VOC's boxes count pixels from 1 and include the last one; they are converted here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from frcnn_cli.data.formats import DefaultPlace, Format, Reading
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
from frcnn_cli.errors import DataError, MissingFile
from frcnn_cli.files import read_bytes, read_text, reason

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The 20 classes of VOC 2007-2012 in the official, alphabetical order."""

_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


def voc_to_xyxy(box: Sequence[float]) -> Box:
    """Turn 1-based inclusive (xmin, ymin, xmax, ymax) into continuous xyxy pixels."""
    xmin, ymin, xmax, ymax = box
    return xmin - 1, ymin - 1, xmax, ymax


def voc_splits(root: str | Path) -> tuple[str, ...]:
    """Return the names of the image lists in ROOT/ImageSets/Main, sorted; none if there is no such folder."""
    return tuple(sorted(path.stem for path in (Path(root) / "ImageSets" / "Main").glob("*.txt")))


def load_voc(root: str | Path, split: str, classes: Sequence[str] | None = None, skip_faulty: bool = False) -> Dataset:
    """Read one split: the annotations and the images' headers.

    Args:
        root: the folder that holds JPEGImages, Annotations and ImageSets.
        split: the name of a list in ImageSets/Main. A number after an image id is ignored.
        classes: names in the order of their labels. None: the official 20 if the split names no other,
            else the names it does use, sorted.
        skip_faulty: leave faulty objects, and images with a faulty file, out and list them in `skipped`.

    Raises:
        DataError: the folder or the list is missing or empty.
        DatasetFaults: anything else wrong with the split, all of it, unless `skip_faulty`; or no image is left.
    """
    root = Path(root)
    name = f"{root.resolve().name} {split}"
    known = None if classes is None else check_class_names(classes)
    faults: list[str] = []
    images: list[_Image] = []
    for image_id in _listed_ids(root, split, faults):
        try:
            images.append(_read_image(root, image_id, known, faults))
        except DataError as error:
            faults.append(str(error))
    skipped = settle_faults(name, faults, len(images), skip_faulty)
    if known is None:
        known = _own_classes({item.name for image in images for item in image.objects})
    labels = {class_name: label for label, class_name in enumerate(known, start=1)}
    return Dataset(name, known, tuple(_record(image, labels) for image in images), skipped)


def _load(root: Path, reading: Reading) -> Dataset:
    return load_voc(root, reading.split, reading.classes, reading.skip_faulty)


VOC = Format(
    metavar="ROOT",
    help="A folder in VOC layout.",
    load=_load,
    lists=True,
    default_place=DefaultPlace("VOC_ROOT", "VOCdevkit/VOC2007"),
)


@dataclass(frozen=True)
class _Object:
    name: str
    box: Box
    difficult: bool


@dataclass(frozen=True)
class _Image:
    id: str
    path: Path
    frame: Frame
    objects: tuple[_Object, ...]


def _record(image: _Image, labels: dict[str, int]) -> ImageRecord:
    objects = pack_objects(
        [item.box for item in image.objects],
        [labels[item.name] for item in image.objects],
        [item.difficult for item in image.objects],
    )
    return ImageRecord(image.id, image.path, image.frame.width, image.frame.height, objects)


def _own_classes(names: Iterable[str]) -> tuple[str, ...]:
    names = set(names)
    return VOC_CLASSES if names <= set(VOC_CLASSES) else tuple(sorted(names))


def _listed_ids(root: Path, split: str, faults: list[str]) -> list[str]:
    """Read the list of a split; an id that is there twice is taken once and added to the faults."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    path = root / "ImageSets" / "Main" / f"{split}.txt"
    try:
        lines = read_text(path).split("\n")
    except MissingFile:
        splits = ", ".join(voc_splits(root)) or "none"
        raise DataError(f"{path}: no such image list (splits there are: {splits})") from None
    first_line: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        # Lists of one class add 1, 0 or -1 after the id, layout lists the object's number.
        image_id = re.sub(r"\s+-?\d+$", "", line.strip())
        if not image_id:
            continue
        if image_id in first_line:
            faults.append(f"{path}: line {number}: {image_id} is already in line {first_line[image_id]}")
        first_line.setdefault(image_id, number)
    if not first_line:
        raise DataError(f"{path}: the image list is empty")
    return list(first_line)


def _read_image(root: Path, image_id: str, known: tuple[str, ...] | None, faults: list[str]) -> _Image:
    """Read one image's header and annotation. Faults of single objects are added to `faults`.

    Raises:
        DataError: the image or its annotation as a whole cannot be used.
    """
    annotation = root / "Annotations" / f"{image_id}.xml"
    image_path = _image_path(root / "JPEGImages", image_id)
    tree = _parse(annotation)
    frame = open_frame(image_path, _stated_size(tree, annotation))
    objects = tuple(_read_objects(tree, annotation, frame, known, faults))
    return _Image(image_id, image_path, frame, objects)


def _image_path(folder: Path, image_id: str) -> Path:
    for suffix in _SUFFIXES:
        path = folder / f"{image_id}{suffix}"
        if path.exists():
            return path
    raise DataError(f"{folder / image_id}.jpg: no such image (nor as .jpeg or .png)")


def _parse(annotation: Path) -> ElementTree.Element:
    try:
        tree = ElementTree.fromstring(read_bytes(annotation))
    except MissingFile:
        raise DataError(f"{annotation}: no such annotation") from None
    except ElementTree.ParseError as error:
        raise DataError(f"{annotation}: not XML ({reason(error)})") from error  # the text gives line and column
    except (ValueError, LookupError) as error:  # encodings
        raise DataError(f"{annotation}: cannot be read ({reason(error)})") from error
    if tree.tag != "annotation":
        raise DataError(f"{annotation}: not a VOC annotation (the outer tag is <{tree.tag}>)")
    return tree


def _stated_size(tree: ElementTree.Element, annotation: Path) -> tuple[int, int] | None:
    size = tree.find("size")
    if size is None:
        return None
    texts = (size.findtext("width", ""), size.findtext("height", ""))
    try:
        return int(texts[0]), int(texts[1])
    except ValueError:
        raise DataError(f"{annotation}: <size> is not two whole numbers: {texts[0]!r}, {texts[1]!r}") from None


def _read_objects(
    tree: ElementTree.Element, annotation: Path, frame: Frame, known: tuple[str, ...] | None, faults: list[str]
) -> Iterator[_Object]:
    # Only direct children: the parts of a person (<part>) have names and boxes of their own.
    for number, element in enumerate(tree.findall("object"), start=1):
        name = element.findtext("name", "").strip()
        where = f"{annotation}: object {number}" + (f" ({name})" if name else "")
        if not name:
            faults.append(f"{where}: no <name>")
        elif known is not None and name not in known:
            faults.append(f"{where}: unknown class {name!r}")
        else:
            try:
                box = _read_box(element, frame)
            except BoxFault as fault:
                faults.append(f"{where}: {fault}")
            else:
                difficult = element.findtext("difficult", "0").strip().lower() in ("1", "true")
                yield _Object(name, box, difficult)


def _read_box(element: ElementTree.Element, frame: Frame) -> Box:
    bndbox = element.find("bndbox")
    if bndbox is None:
        raise BoxFault("no <bndbox>")
    values: list[float] = []
    for tag in ("xmin", "ymin", "xmax", "ymax"):
        text = bndbox.findtext(tag)
        if text is None:
            raise BoxFault(f"no <{tag}>")
        try:
            values.append(float(text))
        except ValueError:
            raise BoxFault(f"<{tag}> is not a number: {text.strip()!r}") from None
    try:
        return frame.place(voc_to_xyxy(values))
    except BoxFault as fault:
        raise BoxFault(f"box ({', '.join(f'{value:g}' for value in values)}) {fault}") from None
