"""The proposal file: one .npz a split, one array of boxes an image.

Member ``IMAGE_ID.npy`` is float32 [N, 4], xyxy in continuous pixels of the image as displayed, best first.
Member ``__meta__.npy`` is JSON as uint8: how the boxes were made, each image's size, and the `fingerprint` of the file
that it was read from, so that proposals of another picture are noticed. Files of earlier versions have no fingerprints.
NumPy alone reads it (``numpy.load(path)["IMAGE_ID"]``); nothing is pickled.

What a file says of its sizes is held against the bytes it has, so that a small one does not take all memory: an image
has at most `MOST_BOXES`, and the JSON is no longer than the ids allow.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from frcnn_cli.data.proposals.stored import StoredProposals
from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write, reading, reason

FORMAT = "frcnn-proposals"
VERSION = 1

MOST_BOXES = 1_000_000
"""Of an image: 32 MB, as float64."""

_META = "__meta__"
# No time stamp: the same boxes and settings give the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)
# What a damaged archive leads zipfile, zlib and NumPy's header parser to raise.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, RuntimeError, MemoryError, SyntaxError)


class ImageProposals(NamedTuple):
    """One image's boxes (float [N, 4], xyxy in continuous pixels, best first), its size in pixels, and its COCO id.

    Attributes:
        picture: the `fingerprint` of its file; None where it is not known.
    """

    id: str
    boxes: np.ndarray
    width: int
    height: int
    coco_id: int | str | None = None
    picture: tuple[int, int] | None = None


class ProposalFile(StoredProposals):
    """A proposal file opened for reading: the directory and the meta data at once, boxes when asked for.

    An instance can be pickled, and used after a fork and from several threads: each process opens
    the file for itself.

    Attributes:
        path: the file.
        meta: the settings the proposals were made with (``mode``, ``seed``, ``max_proposals`` ...), ``sizes`` and, of
            the images whose files are known, ``pictures``.
        ids: the image ids, in the order they were written.

    Raises:
        DataError: the file is missing, damaged, or not a proposal file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        try:
            members = [name.removesuffix(".npy") for name in self._archive().namelist()]
            if _META not in members:
                raise DataError(f"{self.path}: not a proposal file (no {_META} in it)")
            # Each image stands there twice, beside a few numbers; a character takes up to 12 bytes of JSON.
            self.meta = self._read_meta(2**20 + sum(200 + 24 * len(name) for name in members))
            self.ids = tuple(name for name in members if name != _META)
            self._known = frozenset(self.ids)
        except BaseException:  # what is told of keeps this object, and with it the file
            if self._opened is not None:
                self._opened[1].close()
            raise

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._known

    def __len__(self) -> int:
        return len(self.ids)

    def get(self, image_id: str, width: int, height: int) -> np.ndarray:
        """Return the boxes of one image of width x height pixels: float32 [N, 4], xyxy, best first.

        Raises:
            DataError: there are none for this image, they are another size's, or they are no valid boxes.
        """
        if image_id not in self._known:
            raise DataError(f"{self.path}: no proposals for image {image_id}")
        size = self.meta["sizes"].get(image_id)
        if size != [width, height]:
            made_on = f"made on {' x '.join(map(str, size))} pixels" if isinstance(size, list) else "of unknown size"
            raise DataError(f"{self.path}: image {image_id}: proposals {made_on}, but the image is {width} x {height}")
        try:
            return checked_proposals(self._read(image_id, 32 * MOST_BOXES), width, height)
        except ValueError as fault:
            raise DataError(f"{self.path}: image {image_id}: {fault}") from fault

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _archive(self) -> zipfile.ZipFile:
        # A file handle that crosses a fork shares its position with the parent; so one handle a process.
        # Two threads that come first together open it twice, which does no harm.
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            opened = self._opened = (os.getpid(), self._open())
        return opened[1]

    def _open(self) -> zipfile.ZipFile:
        try:
            with reading(self.path):
                return zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:  # a version, a name that is no text
            raise DataError(f"{self.path}: not a proposal file, or a damaged one ({reason(error)})") from error

    def _read(self, name: str, most: int) -> np.ndarray:
        """An array of the archive, which has at most so many bytes."""
        try:
            with self._archive().open(f"{name}.npy") as member:
                info = self._archive().getinfo(f"{name}.npy")
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError("it is compressed in a way that no proposal file is")
                array = read_npy(member, info.file_size, most)
                member.read(1)  # the end, where the checksum is compared
                return array
        except KeyError:
            raise DataError(f"{self.path}: {name} is not an array of numbers") from None
        except _DAMAGE as error:
            raise DataError(f"{self.path}: {name} cannot be read ({reason(error)})") from error

    def _read_meta(self, most: int) -> dict[str, Any]:
        try:
            meta = json.loads(self._read(_META, most).tobytes())
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.path}: {_META} is not JSON ({reason(error)})") from error
        if not isinstance(meta, dict) or meta.get("format") != FORMAT or not isinstance(meta.get("sizes"), dict):
            raise DataError(f"{self.path}: not a proposal file ({_META} does not say {FORMAT} and sizes)")
        version = meta.get("version")
        if version != VERSION:
            shown = version if type(version) in (int, float) else "another"
            raise DataError(f"{self.path}: version {shown} of the format; this program reads {VERSION}")
        if not isinstance(meta.get("pictures", {}), dict):
            raise DataError(f"{self.path}: not a proposal file ({_META} has no pictures by their ids)")
        return meta


def read_npy(file: IO[bytes], size: int, most: int) -> np.ndarray:
    """Read an array in NumPy's format, once its header fits the number of bytes that there are.

    Args:
        file: at its beginning.
        size: of the file, in bytes.
        most: bytes of the array.

    Raises:
        ValueError: it is another one's, or larger, or an array of objects.
    """
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of NumPy's format")
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("object arrays cannot be read without running what is in them")
    length = dtype.itemsize * prod(shape)
    if length > most:
        raise ValueError(f"an array of {length:,} bytes; at most {most:,} are read")
    if length != size - file.tell():
        raise ValueError(f"an array of {length:,} bytes in the place of {size - file.tell():,}")
    values = np.frombuffer(bytearray(file.read(length)), dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def checked_proposals(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return boxes as contiguous float32 [N, 4] if each one has an area and lies within width x height.

    Raises:
        ValueError: one line saying what is wrong, and with which box (counted from 0).
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind != "f":
        raise ValueError(f"proposals are {boxes.dtype} {list(boxes.shape)}, not floats [N, 4]")
    boxes = np.ascontiguousarray(boxes, dtype=np.float32)
    x1, y1, x2, y2 = boxes.T
    for fault, wrong in (
        ("has a coordinate that is not a finite number", ~np.isfinite(boxes).all(axis=1)),
        ("is inverted or has no area", (x2 <= x1) | (y2 <= y1)),
        (f"lies outside the image ({width} x {height})", (x1 < 0) | (y1 < 0) | (x2 > width) | (y2 > height)),
    ):
        if wrong.any():
            number = int(wrong.argmax())
            shown = ", ".join(f"{value:g}" for value in boxes[number])
            raise ValueError(f"box {number} ({shown}) {fault}")
    return boxes


def checked_images(path: Path, images: Iterable[ImageProposals]) -> Iterator[ImageProposals]:
    """Pass images through whose boxes can be written to `path`.

    Raises:
        DataError: boxes that `checked_proposals` refuses, or an image that was there before.
    """
    seen: set[str] = set()
    for image in images:
        image_id, boxes, width, height, *_ = image
        if image_id in seen:
            raise DataError(f"{path}: image {image_id}: is there twice")
        seen.add(image_id)
        try:
            yield image._replace(boxes=checked_proposals(np.asarray(boxes), width, height))
        except ValueError as fault:
            raise DataError(f"{path}: image {image_id}: {fault}") from fault


def write_proposals(path: str | Path, boxes: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Write a proposal file in one piece; the same arguments give the same bytes.

    Args:
        path: the file.
        boxes: image id -> float [N, 4], xyxy in continuous pixels, best first.
        meta: ``mode``, ``seed``, ``max_proposals`` and ``sizes`` ({image id: (width, height)}), and whatever
            else JSON can hold. ``format`` and ``version`` are added.

    Raises:
        DataError: an image has no size or no valid boxes, or the file cannot be written.
    """
    sizes = meta["sizes"]
    for image_id in boxes:
        if image_id not in sizes:
            raise DataError(f"{path}: image {image_id}: no size")
    settings = {name: value for name, value in meta.items() if name != "sizes"}
    write_npz(Path(path), (ImageProposals(name, array, *sizes[name]) for name, array in boxes.items()), settings)


def write_npz(path: Path, images: Iterable[ImageProposals], settings: Mapping[str, Any]) -> None:
    """Write a proposal file as `images` yields; the settings and the sizes go last, when all sizes are known.

    Raises:
        DataError: boxes are not valid, or the file cannot be written.
    """
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        sizes: dict[str, list[int]] = {}
        pictures: dict[str, list[int]] = {}
        for image_id, boxes, width, height, _, picture in checked_images(path, images):
            if image_id == _META:
                raise DataError(f"{path}: image {image_id}: a reserved name")
            _write_member(archive, image_id, boxes)
            sizes[image_id] = [int(width), int(height)]
            if picture is not None:
                pictures[image_id] = list(picture)
        known = {"pictures": pictures} if pictures else {}
        text = json.dumps({**settings, "format": FORMAT, "version": VERSION, "sizes": sizes, **known})
        _write_member(archive, _META, np.frombuffer(text.encode(), dtype=np.uint8))


def _write_member(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED  # less than half the size, 0.4 ms to read 1500 boxes
    info.external_attr = 0o644 << 16
    with archive.open(info, "w") as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
