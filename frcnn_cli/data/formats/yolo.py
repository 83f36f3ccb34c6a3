"""YOLO's text files, as Ultralytics reads them: data.yaml names the classes and the images, a .txt the objects of one.

A line is ``CLASS X Y WIDTH HEIGHT``: the number of a class, and the centre and size of a box in parts of the width and
height of the image as displayed. ``CLASS X1 Y1 X2 Y2 X3 Y3 ...`` is a polygon, of which the box around it is taken. The
labels of ``images/train/a.jpg`` are ``labels/train/a.txt``, or a.txt beside the image; an image whose file is empty, or
not there, has no object.

A folder without data.yaml, but with classes.txt or a file NAME.names (a name a line), is read as well: images and
labels lie side by side, or in ``images`` and ``labels``. So is Darknet's obj.data, lines ``train = train.txt``.
"""

from __future__ import annotations

import math
import os
import re
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from frcnn_cli.data.formats import Format, Reading
from frcnn_cli.data.formats.building import Draft, ImageDraft, ObjectFault
from frcnn_cli.data.formats.finder import FileIndex, stem
from frcnn_cli.data.formats.splits import ALL_NAMES, WHOLE, names_of
from frcnn_cli.data.images import IMAGE_SUFFIXES
from frcnn_cli.data.samples import Dataset
from frcnn_cli.errors import DataError
from frcnn_cli.files import read_text, reason

YAML_SUFFIXES = (".yaml", ".yml")
CLASSES = "classes.txt"
_LIKE_IMAGES = {"Images": "Labels", "IMAGES": "LABELS"}


def load_yolo(place: str | Path, split: str, **wanted: Any) -> Dataset:
    """Read one split: the labels and the images' headers.

    Args:
        place: data.yaml, or the folder that it lies in.
        split: a key of that file, such as ``train``.
        wanted: what else is wanted, as fields of `Reading`.

    Raises:
        DataError: the file is missing, or does not name classes or the split; or no image has labels.
        DatasetFaults: anything else wrong, all of it, unless `skip_faulty`; or no image is left.
    """
    return read_yolo(Path(place), Reading(split, **wanted))


def read_yolo(place: Path, reading: Reading) -> Dataset:
    """As `load_yolo`."""
    config = _read_config(place, reading)
    draft = Draft(config.name, reading)
    images = _find_images(config, reading.follow_outside, draft.faults)
    labels = {image.path: _find_labels(image.path) for image in images}
    if images and not any(labels.values()) and not reading.unannotated_empty:
        raise DataError(
            f"{config.path}: no image of {reading.split!r} has labels, such as {_label_places(images[0].path)[0]}"
        )
    for found in images:
        _read_image(found, labels[found.path], config, draft)
    draft.faults += _orphans(config, labels)
    draft.note_outside([config.path.parent])
    return draft.finish(config.classes.values())


YOLO = Format(
    metavar="data.yaml",
    help="The file that names the parts of a data set in YOLO's format, or its folder.",
    load=read_yolo,
    lists=True,
)


@dataclass(frozen=True)
class _Config:
    """What data.yaml says.

    Attributes:
        name: of the data set and its split.
        path: the file.
        root: the folder that its other paths are relative to.
        classes: {number: name}, in the order of the numbers.
        images: the folders and lists of the split.
        keypoints: whether coordinates of points follow a box in its line.
    """

    name: str
    path: Path
    root: Path
    classes: dict[int, str]
    images: tuple[Path, ...]
    keypoints: bool = False


@dataclass(frozen=True)
class _Found:
    """An image file, and its path within the data set, without suffix and without the folder ``images``."""

    id: str
    path: Path


def _read_config(place: Path, reading: Reading) -> _Config:
    split = reading.split
    path = _find_config(place) if place.is_dir() else place
    folder = path.parent
    if path.name == CLASSES or path.suffix.lower() == ".names":
        if split not in WHOLE:
            raise DataError(f"{folder}: no data.yaml in it, so there is no split {split!r}")
        return _Config(folder.resolve().name, path, folder, dict(enumerate(_lines(path))), (folder,))
    content = _read_darknet(path) if path.suffix.lower() == ".data" else _read_yaml(path)
    root = folder
    if isinstance(content.get("path"), str):
        # Where it was made for another machine or working folder, its own place tells as much.
        root = _locate(content["path"], (folder,)) or folder
        _check_inside(root, content["path"], "path", path, reading)
    return _Config(
        f"{folder.resolve().name} {split}",
        path,
        root,
        _class_names(content, path, reading),
        tuple(_split_places(content, path, root, reading)),
        keypoints=bool(content.get("kpt_shape")),
    )


def _find_config(folder: Path) -> Path:
    """The file in a folder that says what is in it.

    Raises:
        DataError: there is none, or several may be meant.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({reason(error)})") from error
    for suffixes in (YAML_SUFFIXES, (".data",), (CLASSES,), (".names",)):
        found = [name for name in names if name.lower().endswith(suffixes) and not name.startswith(".")]
        usual = [name for name in found if stem(name).lower() in ("data", "dataset", "classes")]
        if len(usual or found) > 1:
            raise DataError(f"{folder}: several files may be meant: name one of {', '.join(found)}")
        if found:
            return folder / (usual or found)[0]
    raise DataError(f"{folder}: neither data.yaml nor {CLASSES} in it, which name the classes")


def _lines(path: Path) -> list[str]:
    """The lines of a file that are not empty."""
    return [line.strip() for line in read_text(path).split("\n") if line.strip()]


def _read_darknet(path: Path) -> dict[str, str]:
    """Lines ``key = value``; the number of classes under the key that data.yaml has for it."""
    pairs = (line.partition("=") for line in _lines(path) if not line.startswith("#"))
    content = {key.strip(): value.strip() for key, _, value in pairs}
    return {"nc" if key == "classes" else key: value for key, value in content.items()}


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        # Every scalar as the text that it is: a class may be called no, or 1.
        content = yaml.load(read_text(path), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not YAML ({reason(error)})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not YOLO's (no names of classes in it)")
    return content


def _class_names(content: Mapping[str, Any], path: Path, reading: Reading) -> dict[int, str]:
    """Return {number: name} in the order of the numbers, of a list, a dictionary, or a file with a name a line."""
    names = content.get("names")
    if isinstance(names, str):
        # Darknet's paths are relative to the folder that it is called in.
        place = _locate(names, (path.parent,)) or _locate(PurePosixPath(names).name, (path.parent,))
        if place is not None and place.is_file():
            _check_inside(place, names, "names", path, reading)
            names = _lines(place)
    if not isinstance(names, (list, dict)) or not names:
        raise DataError(f"{path}: not YOLO's (no names of classes in it)")
    pairs = names.items() if isinstance(names, dict) else enumerate(names)
    found: dict[int, str] = {}
    for key, name in pairs:
        if (
            not isinstance(key, (int, str))
            or not re.fullmatch("[0-9]{1,9}", str(key))
            or not isinstance(name, str)
            or not name.strip()
        ):
            shown = f"{_shown(key)}: {_shown(name)}"
            raise DataError(f"{path}: names: {shown} is not the number and the name of a class")
        found[int(key)] = name.strip()
    twice = [name for name, number in Counter(found.values()).items() if number > 1]
    if twice:
        raise DataError(f"{path}: names: class {twice[0]!r} is there twice")
    count = content.get("nc")
    if count is not None and count != str(len(found)):
        shown = count if isinstance(count, str) else _shown(count)
        raise DataError(f"{path}: nc is {shown}, but there are {len(found)} names")
    return dict(sorted(found.items()))


def _check_inside(place: Path, entry: str, key: str, path: Path, reading: Reading) -> None:
    """Refuse a place that is not below the folder of data.yaml, unless such are wanted."""
    if not reading.follow_outside and not _is_below(place, path.parent):
        raise DataError(f"{path}: {key}: {entry!r} leads outside of {path.parent}; --follow-outside reads it")


_BEGINNING = reprlib.Repr()
_BEGINNING.maxlevel, _BEGINNING.maxlist, _BEGINNING.maxdict, _BEGINNING.maxstring = 2, 3, 3, 80


def _is_below(place: Path, folder: Path) -> bool:
    return Path(os.path.abspath(place)).is_relative_to(os.path.abspath(folder))


def _shown(value: Any) -> str:
    """A value for a message: of YAML's aliases, which may stand for billions of items, the beginning."""
    return _BEGINNING.repr(value)


def _split_places(content: Mapping[str, Any], path: Path, root: Path, reading: Reading) -> Iterator[Path]:
    """The folders and lists of a split.

    Raises:
        DataError: the split is not named, or what it names is not there.
    """
    split = reading.split
    keys = [name for name in (split, *names_of(split)) if content.get(name)]
    if not keys:
        known = [name for name in content if name in ALL_NAMES and content[name]]
        raise DataError(f"{path}: no split {split!r} (splits there are: {', '.join(known) or 'none'})")
    for key in dict.fromkeys(keys):
        for entry in content[key] if isinstance(content[key], list) else [content[key]]:
            place = _locate(entry, (root, path.parent)) if isinstance(entry, str) else None
            if place is None:
                raise DataError(f"{path}: {key}: {_shown(entry)}: no such folder or list of images")
            _check_inside(place, entry, key, path, reading)
            yield place


def _locate(entry: str, bases: Sequence[Path]) -> Path | None:
    """Where a path of data.yaml leads, which may have been written for another folder or another machine."""
    entry = entry.replace("\\", "/")
    parts = [part for part in entry.split("/") if part not in ("", ".")]
    tails = [entry]
    while parts and parts[0] == "..":  # Roboflow writes ../train/images for train/images
        del parts[0]
        tails.append("/".join(parts))
    if re.match(r"/|[A-Za-z]:", entry):
        while parts and parts[0].lower() not in ALL_NAMES:
            del parts[0]
            tails.append("/".join(parts))
    for tail in filter(None, tails):
        for base in bases:
            if os.path.exists(base / tail):
                return Path(os.path.normpath(base / tail))
    return None


def _find_images(config: _Config, follow_outside: bool, faults: list[str]) -> list[_Found]:
    """The image files of the split, each once; what a list names and is not there is added to the faults.

    Raises:
        DataError: there is none.
    """
    paths: dict[Path, None] = {}
    for place in config.images:
        if place.is_dir():
            paths.update(dict.fromkeys(place / name for name in FileIndex(place, IMAGE_SUFFIXES).paths))
        else:
            paths.update(dict.fromkeys(_listed(place, config, follow_outside, faults)))
    if not paths and not faults:
        raise DataError(f"{config.path}: no image in {', '.join(map(str, config.images))}")
    return [_Found(_image_id(path, config), path) for path in paths]


def _listed(path: Path, config: _Config, follow_outside: bool, faults: list[str]) -> Iterator[Path]:
    index = FileIndex(config.root, IMAGE_SUFFIXES, follow_outside)
    bases = (config.root, config.path.parent)
    for number, line in enumerate(map(str.strip, read_text(path).split("\n")), start=1):
        if not line:
            continue
        place = path.parent / line  # relative to the list, as Ultralytics has it; or absolute
        if os.path.isfile(place):
            if follow_outside or any(_is_below(place, base) for base in bases):
                yield Path(os.path.normpath(place))
            else:
                faults.append(
                    f"{path}: line {number}: {line}: leads outside of {config.root}; --follow-outside reads it"
                )
            continue
        try:
            found = index.find_one(line)
        except DataError as error:
            faults.append(f"{path}: line {number}: {error}")
            continue
        if found is None:
            faults.append(f"{path}: line {number}: {line}: no such image")
        else:
            yield config.root / found


def _image_id(path: Path, config: _Config) -> str:
    bases = (config.root, *(place.parent for place in config.images))
    within = next((path.relative_to(base) for base in bases if path.is_relative_to(base)), Path(path.name))
    return stem("/".join(part for part in within.parts if part.lower() != "images"))


def _label_places(image: Path) -> list[Path]:
    """Where the labels of an image may be: in the folder ``labels`` in place of ``images``, or beside it."""
    beside = image.with_suffix(".txt")
    parts = beside.parts
    at = next((at for at in range(len(parts) - 2, -1, -1) if parts[at].lower() == "images"), None)
    if at is None:
        return [beside]
    names = dict.fromkeys((_LIKE_IMAGES.get(parts[at], "labels"), "labels"))
    return [*(Path(*parts[:at], name, *parts[at + 1 :]) for name in names), beside]


def _find_labels(image: Path) -> Path | None:
    return next((place for place in _label_places(image) if place.is_file()), None)


def _orphans(config: _Config, labels: Mapping[Path, Path | None]) -> Iterator[str]:
    """The files of labels that belong to no image, in the folders of labels of whole folders of images."""
    if not all(place.is_dir() for place in config.images):
        return  # other images of the same folders are in other lists
    known = set(labels.values())
    folders = {path.parent for path in known if path is not None and "labels" in map(str.lower, path.parts)}
    for folder in sorted(folders):
        for name in FileIndex(folder, {".txt"}).paths:
            if "/" not in name and name != CLASSES and folder / name not in known:
                yield f"{folder / name}: no image of this name"


def _read_image(found: _Found, labels: Path | None, config: _Config, draft: Draft) -> None:
    try:
        text = read_text(labels) if labels else ""
        image = draft.add_image(found.id, found.path)
    except DataError as error:
        draft.faults.append(str(error))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            _read_line(line, image, config, draft)
        except ObjectFault as fault:
            draft.faults.append(f"{labels}: line {number}: {fault}")


def _read_line(line: str, image: ImageDraft, config: _Config, draft: Draft) -> None:
    fields = line.split()
    if not fields:
        return
    try:
        number, *values = map(float, fields)
    except ValueError:
        raise ObjectFault(f"not numbers: {line.strip()[:80]!r}") from None
    name = config.classes.get(int(number)) if number.is_integer() else None
    if name is None:
        raise ObjectFault(f"class {fields[0]} is none of the {len(config.classes)} of {config.path.name}")
    if not draft.wants(name):
        return
    x1, y1, x2, y2 = corners = _corners(values, config.keypoints)
    if all(map(math.isfinite, corners)) and max(map(abs, corners)) > 2:
        raise ObjectFault(f"{name}: looks like pixels ({' '.join(fields[1:5])}); parts of the image's size are wanted")
    width, height = image.frame.width, image.frame.height
    try:
        draft.add_object(image, name, (x1 * width, y1 * height, x2 * width, y2 * height), values[:4], fractions=True)
    except ObjectFault as fault:
        raise ObjectFault(f"{name}: {fault}") from None


def _corners(values: Sequence[float], keypoints: bool) -> tuple[float, float, float, float]:
    """The box of a line's numbers behind the class, as xyxy in parts of the image's size."""
    if len(values) == 4 or (keypoints and len(values) > 4):
        x, y, width, height = values[:4]
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(values) == 5:
        raise ObjectFault("a sixth number: a line with a score is a detection, not an annotation")
    if len(values) < 6 or len(values) % 2:
        raise ObjectFault(f"{len(values)} numbers behind the class, neither 4 (a box) nor pairs (a polygon)")
    xs, ys = values[::2], values[1::2]
    return min(xs), min(ys), max(xs), max(ys)
