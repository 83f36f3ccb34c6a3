"""PASCAL VOC: an XML file an image, and lists of the images.

Three layouts of folders are read:

- VOC's own: ROOT/JPEGImages, ROOT/Annotations and ROOT/ImageSets/Main/SPLIT.txt, or a devkit's root above one such;
- a folder a split, ROOT/SPLIT, with the XML files beside the images, as Roboflow exports;
- one folder without lists, as labelImg leaves it: all of it is one list.

VOC's boxes count pixels from 1 and include the last one; they are converted here and nowhere else.
"""

from __future__ import annotations

import codecs
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from xml.etree import ElementTree

from frcnn_cli.data.formats import DefaultPlace, Format, Reading
from frcnn_cli.data.formats.building import Box, Draft, ImageDraft, ObjectFault, stated_size
from frcnn_cli.data.formats.finder import FileIndex, stem
from frcnn_cli.data.formats.splits import ALL_NAMES, WHOLE, names_of
from frcnn_cli.data.images import IMAGE_FORMATS, IMAGE_SUFFIXES
from frcnn_cli.data.samples import Dataset
from frcnn_cli.errors import DataError, MissingFile
from frcnn_cli.files import read_bytes, read_text, reason

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The 20 classes of VOC 2007-2012 in the official, alphabetical order."""


def voc_to_xyxy(box: Sequence[float]) -> Box:
    """Turn 1-based inclusive (xmin, ymin, xmax, ymax) into continuous xyxy pixels."""
    xmin, ymin, xmax, ymax = box
    return xmin - 1, ymin - 1, xmax, ymax


def voc_splits(root: str | Path) -> tuple[str, ...]:
    """Return the names of the image lists in ROOT/ImageSets/Main, sorted; none if there is no such folder."""
    return tuple(sorted(path.stem for path in (Path(root) / "ImageSets" / "Main").glob("*.txt")))


def load_voc(root: str | Path, split: str, classes: Sequence[str] | None = None, **wanted: Any) -> Dataset:
    """Read one split: the annotations and the images' headers.

    Args:
        root: the folder that holds JPEGImages, Annotations and ImageSets, or another of the layouts above.
        split: the name of a list in ImageSets/Main. A number after an image id is ignored.
        classes: names in the order of their labels. None: the official 20 if the split is VOC's by its names (no
            others, and half of the 20) or by that of its folder (VOC2007); else the names it does use, sorted.
        wanted: what else is wanted, as fields of `Reading`.

    Raises:
        DataError: the folder or the list is missing or empty.
        DatasetFaults: anything else wrong with the split, all of it, unless `skip_faulty`; or no image is left.
    """
    return read_voc(Path(root), Reading(split, classes=None if classes is None else tuple(classes), **wanted))


def read_voc(root: Path, reading: Reading) -> Dataset:
    """As `load_voc`."""
    root = _find_root(root, reading.split)
    listed = bool(voc_splits(root))
    outside = reading.follow_outside
    images = FileIndex(_part(root, ("JPEGImages", "images"), listed), IMAGE_SUFFIXES, outside)
    annotations = FileIndex(_part(root, ("Annotations", "annotation", "xmls"), listed), {".xml"}, outside)
    name, faults = root.resolve().name, []
    if listed:
        wanted = _listed(root, reading.split, images, faults)
        name = f"{name} {reading.split}"
    else:
        folders = _split_folders(root, reading.split, images)
        wanted = _in_folders(root, folders, images, annotations)
        name = f"{name} {reading.split}" if folders else name
    reader = _Reader(Draft(name, reading, faults), images, annotations)
    for image in wanted:
        reader.read(image)
    reader.draft.note_outside([root])
    if not listed:
        reader.look_for_orphans(folders)
    return reader.finish(root)


VOC = Format(
    metavar="ROOT",
    help="A folder in VOC layout.",
    load=read_voc,
    lists=True,
    default_place=DefaultPlace("VOC_ROOT", "VOCdevkit/VOC2007"),
)


@dataclass(frozen=True)
class _Wanted:
    """An image that is to be read: what the list calls it, and the files this may be, which differ in the suffix."""

    name: str
    files: tuple[str, ...]


def _find_root(place: Path, split: str) -> Path:
    """The VOC folder that is meant by a folder: itself, or the one below it, as below a devkit's root.

    Raises:
        DataError: there is no such folder, or several are below it.
    """
    if not place.is_dir():
        what = "a file; the folder of the data set is wanted" if os.path.exists(place) else "no such folder"
        raise DataError(f"{place}: {what}")
    if _is_voc(place):
        return place
    children = _folders(place)
    below = [folder for child in children for folder in (child, *_folders(child)) if _is_voc(folder)]
    of_split = [folder for folder in below if folder.name.casefold() in names_of(split)]
    if len(of_split) == 1:
        return of_split[0]
    if len(below) > 1:
        names = ", ".join(str(folder.relative_to(place)) for folder in below)
        raise DataError(f"{place}: several VOC folders are below it ({names}): name one, as {below[-1]}")
    return below[0] if below else place


def _is_voc(folder: Path) -> bool:
    return any(child.name.casefold() in ("imagesets", "annotations", "jpegimages") for child in _folders(folder))


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({reason(error)})") from error


def _part(root: Path, names: Sequence[str], listed: bool) -> Path:
    """The folder of the images, or of the annotations; where there is none of the names, all of the root.

    Where there are lists it has VOC's own name, as a root of VOC's holds other images too (the segments).
    """
    folders = {path.name.casefold(): path for path in _folders(root)}
    return next((folders[name.casefold()] for name in names if name.casefold() in folders), None) or (
        root / names[0] if listed else root
    )


def _listed(root: Path, split: str, images: FileIndex, faults: list[str]) -> list[_Wanted]:
    """Read the list of a split; an image that is there twice is taken once and added to the faults."""
    path = root / "ImageSets" / "Main" / f"{split}.txt"
    try:
        lines = read_text(path).split("\n")
    except MissingFile:
        splits = ", ".join(voc_splits(root))
        raise DataError(f"{path}: no such image list (splits there are: {splits})") from None
    first_line: dict[str, int] = {}
    wanted: list[_Wanted] = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line:
            continue
        try:
            image = _meant(line, images)
        except DataError as error:
            faults.append(f"{path}: line {number}: {error}")
            continue
        key = image.files[0] if image.files else image.name
        if key in first_line:
            faults.append(f"{path}: line {number}: {image.name} is already in line {first_line[key]}")
        else:
            first_line[key] = number
            wanted.append(image)
    if not wanted and not faults:
        raise DataError(f"{path}: the image list is empty")
    return wanted


def _meant(line: str, images: FileIndex) -> _Wanted:
    """The image of a line: the whole line, if there is such a file; without a number at its end, or quotes, if not."""
    # Lists of one class add 1, 0 or -1 after the id, layout lists the object's number.
    bare = re.sub(r"\s+-?\d+$", "", line)
    # Lists of the annotations tell the images too.
    for name in dict.fromkeys((line, bare, line.strip("\"'"), re.sub(r"\.xml$", "", line, flags=re.IGNORECASE))):
        if found := images.find(name):
            return _Wanted(name, tuple(found))
    return _Wanted(bare, ())


def _split_folders(root: Path, split: str, images: FileIndex) -> tuple[str, ...]:
    """The folders right below that of the images which are this split's; none where there are no folders of splits.

    Raises:
        DataError: there are such folders, but of other splits; or there are none, and the split was named by the user.
    """
    folders = {path.partition("/")[0] for path in images.paths if "/" in path}
    mine = tuple(sorted(folder for folder in folders if folder.casefold() in names_of(split)))
    others = sorted(folder for folder in folders if folder.casefold() in ALL_NAMES)
    if not mine and others:
        raise DataError(f"{root}: no folder of the split {split!r} (splits there are: {', '.join(others)})")
    if not mine and split not in WHOLE:
        raise DataError(f"{root}: no lists (ImageSets/Main) and no folder {split!r}, so there is no such split")
    return mine


def _in_folders(root: Path, folders: Sequence[str], images: FileIndex, annotations: FileIndex) -> list[_Wanted]:
    """All images, or those in some folders, as a list."""
    if not annotations.paths:
        raise DataError(f"{root}: neither lists of images (ImageSets/Main) nor annotations (.xml) in it")
    files: dict[str, list[str]] = {}
    for path in images.paths:
        if not folders or path.partition("/")[0] in folders:
            files.setdefault(stem(path), []).append(path)
    return [_Wanted(name, tuple(paths)) for name, paths in files.items()]


class _Reader:
    """Reads the images of a list, one by one, into a draft."""

    def __init__(self, draft: Draft, images: FileIndex, annotations: FileIndex) -> None:
        self.draft = draft
        self.images = images
        self.annotations = annotations
        self._owners: dict[str, str] = {}
        self._doubles: list[str] = []

    def read(self, wanted: _Wanted) -> None:
        """Read one image's header and annotation; what is wrong is added to the faults of the draft."""
        try:
            self._read(wanted)
        except DataError as error:
            self.draft.faults.append(str(error))

    def _read(self, wanted: _Wanted) -> None:
        if not wanted.files:
            raise DataError(f"{self.images.folder / wanted.name}.jpg: no such image (nor as .jpeg or .png)")
        image_id = stem(wanted.files[0])
        found = (
            self.annotations.find(image_id) or self.annotations.find(wanted.name) or self._in_another_folder(image_id)
        )
        if not found and self.draft.reading.unannotated_empty:
            self.draft.add_image(image_id, self._choose(wanted, ""))
            return
        if not found:
            raise DataError(f"{self.annotations.folder / image_id}.xml: no such annotation")
        annotation = self.annotations.folder / found[0]
        owner = self._owners.setdefault(found[0], image_id)
        if owner != image_id:
            raise DataError(f"{annotation}: the annotation of {owner} and of {image_id}; whose is it?")
        tree = _parse(annotation)
        path = self._choose(wanted, tree.findtext("filename", ""))
        image = self.draft.add_image(image_id, path, _stated_size(tree, annotation))
        # Only direct children: the parts of a person (<part>) have names and boxes of their own.
        for number, element in enumerate(tree.findall("object"), start=1):
            name = element.findtext("name", "").strip()
            try:
                _read_object(self.draft, image, name, element)
            except ObjectFault as fault:
                shown = f" ({name})" if name else ""
                self.draft.faults.append(f"{annotation}: object {number}{shown}: {fault}")

    def _in_another_folder(self, image_id: str) -> list[str]:
        """The annotation of the same name in a folder of annotations, if it can be no other image's."""
        name = image_id.rpartition("/")[2]
        if name == image_id or self._images_called[name] > 1:
            return []
        return [path for path in self.annotations.find(name) if stem(path) not in self._image_ids]

    @cached_property
    def _image_ids(self) -> set[str]:
        return set(map(stem, self.images.paths))

    @cached_property
    def _images_called(self) -> Counter[str]:
        """How many images have a name, but for their folders."""
        return Counter(image_id.rpartition("/")[2] for image_id in self._image_ids)

    def _choose(self, wanted: _Wanted, stated: str) -> Path:
        """One of the files of an image: the one that its annotation names, or else the first, which is said."""
        if len(wanted.files) == 1:
            return self.images.folder / wanted.files[0]
        stated = PureWindowsPath(stated.strip()).name.casefold()
        files = sorted(map(PurePosixPath, wanted.files), key=lambda path: _ORDER[path.suffix.lower()])
        named = [path for path in files if path.name.casefold() == stated]
        if not named:
            self._doubles.append(f"{files[0]}, not {' or '.join(path.name for path in files[1:])}")
        return self.images.folder / (named or files)[0]

    def look_for_orphans(self, folders: Sequence[str]) -> None:
        """Add annotations to the faults that belong to no image; where folders are named, those in them."""
        for path in self.annotations.paths:
            if path not in self._owners and (not folders or path.partition("/")[0] in folders):
                self.draft.faults.append(f"{self.annotations.folder / path}: no image of this name")

    def finish(self, root: Path) -> Dataset:
        """Make the data set that lies in a folder, as `Draft.finish` does."""
        if self._doubles:
            self.draft.notes.append(
                f"images of which there are several files: {len(self._doubles)}; "
                f"read is {self._doubles[0]}" + (" ..." if len(self._doubles) > 1 else "")
            )
        return self.draft.finish(_own_classes(self.draft.names, root))


_ORDER = {suffix: place for place, suffix in enumerate(sum(IMAGE_FORMATS.values(), ()))}
"""Which of several files of one image is taken: a photograph's own format rather than that of a mask."""


def _own_classes(names: set[str], root: Path) -> tuple[str, ...]:
    official = len(names) >= len(VOC_CLASSES) / 2 or re.fullmatch(r"VOC20\d\d", root.resolve().name)
    return VOC_CLASSES if official and names <= set(VOC_CLASSES) else tuple(sorted(names))


def _parse(annotation: Path) -> ElementTree.Element:
    try:
        tree = ElementTree.fromstring(_decoded(read_bytes(annotation)))
    except MissingFile:
        raise DataError(f"{annotation}: no such annotation") from None
    except ElementTree.ParseError as error:
        raise DataError(f"{annotation}: not XML ({reason(error)})") from error  # the text gives line and column
    except (ValueError, LookupError) as error:  # encodings
        raise DataError(f"{annotation}: cannot be read ({reason(error)})") from error
    if tree.tag != "annotation":
        raise DataError(f"{annotation}: not a VOC annotation (the outer tag is <{tree.tag}>)")
    return tree


def _decoded(xml: bytes) -> bytes | str:
    """The text of an XML file whose declared encoding the parser does not know, such as gb2312; else the bytes."""
    match = re.match(rb"""<\?xml[^>]*\sencoding\s*=\s*["']([\w.:-]+)["']""", xml)
    encoding = codecs.lookup(match[1].decode()).name if match else "utf-8"
    if encoding in ("utf-8", "ascii", "iso8859-1") or encoding.startswith("utf-16"):
        return xml
    # Who declares GB2312 means its extensions too.
    return xml.decode("gb18030" if encoding in ("gb2312", "gbk") else encoding)


def _stated_size(tree: ElementTree.Element, annotation: Path) -> tuple[int, int] | None:
    size = tree.find("size")
    if size is None:
        return None
    texts = (size.findtext("width", ""), size.findtext("height", ""))
    try:
        return stated_size(*texts)
    except ValueError:
        raise DataError(f"{annotation}: <size> is not two whole numbers: {texts[0]!r}, {texts[1]!r}") from None


def _read_object(draft: Draft, image: ImageDraft, name: str, element: ElementTree.Element) -> None:
    if not name:
        raise ObjectFault("no <name>")
    if not draft.wants(name):
        return
    bndbox = element.find("bndbox")
    if bndbox is None:
        raise ObjectFault("no <bndbox>")
    values: list[float] = []
    for tag in ("xmin", "ymin", "xmax", "ymax"):
        text = bndbox.findtext(tag)
        if text is None:
            raise ObjectFault(f"no <{tag}>")
        try:
            values.append(float(text))
        except ValueError:
            raise ObjectFault(f"<{tag}> is not a number: {text.strip()!r}") from None
    difficult = element.findtext("difficult", "0").strip().lower() in ("1", "true")
    draft.add_object(image, name, voc_to_xyxy(values), values, difficult)
