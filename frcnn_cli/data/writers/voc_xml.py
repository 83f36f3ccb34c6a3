"""VOC's annotations: one XML file an image, as labelImg and other viewers open them beside the images.

``Annotations/ID.xml`` and the list ``ImageSets/Main/SPLIT.txt``; with the images in ``JPEGImages``, the whole is a data
set. Boxes count pixels from 1 and include the last one, as whole numbers, so a box is read back within half a pixel at
each side. The element ``confidence`` of an object, which VOC's own results in XML have, is its score.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from xml.etree import ElementTree

from frcnn_cli.data.detections import ImageResult
from frcnn_cli.data.writers import Target, check_distinct
from frcnn_cli.data.writers.spool import open_spool
from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write, check_writable, inside

_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@contextmanager
def write_voc_xml(target: Target) -> Iterator[Callable[[ImageResult], None]]:
    """See `Writer`. The files are written when all images are there."""
    check_distinct(target)
    for name in target.classes:
        if _NOT_IN_XML.search(name):
            raise DataError(f"{target.path}: the class {name!r} cannot stand in XML")
    for image in target.images:
        if len(image.id.splitlines()) != 1:
            raise DataError(f"{target.path}: image id {image.id!r} cannot stand in a list of VOC's")
    images = target.path / "ImageSets" / "Main" / f"{target.split}.txt"
    check_writable(images)
    with open_spool(target.path) as spool:
        yield lambda result: spool.add((result.id, annotation(result)))
        ids = []
        for image_id, text in spool:
            path = inside(target.path / "Annotations", image_id, ".xml")
            with atomic_write(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            ids.append(path.relative_to(target.path / "Annotations").with_suffix("").as_posix())
        with atomic_write(images) as temporary:
            temporary.write_text("".join(f"{image_id}\n" for image_id in ids), "utf-8", "surrogateescape")


def annotation(result: ImageResult) -> str:
    """The XML of one image."""
    root = ElementTree.Element("annotation")
    _add(root, "filename", result.path.name if result.frame is None else f"{result.frame.number:06d}.jpg")
    size = ElementTree.SubElement(root, "size")
    for tag, number in (("width", result.width), ("height", result.height), ("depth", 3)):
        _add(size, tag, number)
    found = result.detections
    for box, score, name in zip(found.boxes.tolist(), found.scores.tolist(), found.names, strict=True):
        element = ElementTree.SubElement(root, "object")
        for tag, value in (("name", name), ("difficult", 0), ("confidence", f"{score:.6f}")):
            _add(element, tag, value)
        bounds = ElementTree.SubElement(element, "bndbox")
        for tag, number in zip(("xmin", "ymin", "xmax", "ymax"), _whole(box, result), strict=True):
            _add(bounds, tag, number)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _whole(box: list[float], result: ImageResult) -> tuple[int, int, int, int]:
    """The pixels of a box, at least one each way, counted from 1."""
    x1, y1, x2, y2 = map(round, box)
    left, top = min(x1, result.width - 1), min(y1, result.height - 1)
    return left + 1, top + 1, max(x2, left + 1), max(y2, top + 1)


def _add(parent: ElementTree.Element, tag: str, value: object) -> None:
    ElementTree.SubElement(parent, tag).text = _NOT_IN_XML.sub("\ufffd", str(value))
