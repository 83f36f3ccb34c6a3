"""Image files in and out: whatever the file holds, an array is uint8 RGB, upright, [H, W, 3]."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from frcnn_cli.errors import DataError, ran_out_of_memory
from frcnn_cli.files import atomic_write, reading, reason

IMAGE_FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf", ".j2c"),
    "PCX": (".pcx",),
    "PSD": (".psd",),
    "QOI": (".qoi",),
    "SGI": (".sgi",),
    "SUN": (".ras",),
    "DDS": (".dds",),
    "DIB": (),
    "ICO": (),
    "ICNS": (),
    "XBM": (),
    "XPM": (),
    "TGA": (".tga",),  # last, as it has no mark to be known by
}
"""The formats that are opened, by Pillow's names, and the suffixes by which they are found in folders. Pillow's others
are no photographs; PostScript among them is a program, which would be run."""

IMAGE_SUFFIXES = frozenset(suffix for suffixes in IMAGE_FORMATS.values() for suffix in suffixes)
"""In lower case. A file named by itself may have any other."""

_RAW = "a camera's raw file; export it as JPEG, PNG or TIFF"
_PAGE = "a drawing or a page, not pixels; export it as PNG"
_FILM = "a film; take images from it"

NO_IMAGES = {
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"), _RAW),
    **dict.fromkeys((".svg", ".eps", ".ps", ".ai", ".pdf", ".wmf", ".emf"), _PAGE),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm"), _FILM),
    ".jxl": "JPEG XL, which is not read; save it as JPEG or PNG",
}
"""Suffixes of files that people keep among their images and that are not opened, and what to do about them. Of raw
files Pillow would open the preview, which is another picture."""

_TOO_OLD = "not read by this version of Pillow; pip install --upgrade pillow"

BAND = 2**22
"""Pixels that are taken over from Pillow at a time."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the operation that turns the stored pixels upright (1 and unknown values: none)."""


@dataclass(frozen=True)
class ImageHeader:
    """What a file's header says: the size in pixels as displayed, and the EXIF orientation (1 .. 8)."""

    width: int
    height: int
    orientation: int

    @property
    def sideways(self) -> bool:
        """Whether the stored width is the displayed height."""
        return self.orientation >= 5


def load_image(path: str | Path) -> np.ndarray:
    """Read an image as it is displayed.

    EXIF rotation is applied. Grey, palette and CMYK images become RGB, transparent ones are laid on white, 16-bit grey
    is scaled (65535 -> 255), or as the 12 bits of a camera's sensor (4095 -> 255) where the brightest pixel is one of
    these, from 1024 to 4095. Of an animation, the first frame.

    Returns:
        uint8 [H, W, 3], RGB, contiguous and writable.

    Raises:
        DataError: the file is missing, not an image, truncated, too large to be honest, or not readable.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        image.load()
        # Pillow turns a TIFF itself while loading.
        operation = _UPRIGHT.get(orientation) if image.format != "TIFF" else None
        rgb = _to_rgb(image)
        return _as_array(rgb if operation is None else rgb.transpose(operation))


def read_header(path: str | Path) -> ImageHeader:
    """Read size and orientation from the header; the pixels are not decoded.

    Raises:
        DataError: the file is missing or its header is not an image's.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        width, height = image.size
        if image.format == "TIFF":
            # Pillow's versions differ in whether an unread TIFF's `size` is the stored or the displayed one.
            tags = image.tag_v2
            width, height = int(tags[ExifTags.Base.ImageWidth]), int(tags[ExifTags.Base.ImageLength])
        if orientation >= 5:
            width, height = height, width
        return ImageHeader(width, height, orientation)


def image_size(path: str | Path) -> tuple[int, int]:
    """Return (width, height) in pixels as displayed, from the header alone. Raises what `read_header` raises."""
    header = read_header(path)
    return header.width, header.height


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """List the images meant by files and folders, in the order given, each once.

    A folder stands for every file below it with one of `IMAGE_SUFFIXES` in either case whose format can be opened here,
    in natural order (img2 before img10); hidden files are left out. A file is taken whatever it is called.

    Raises:
        DataError: a path does not exist, or a folder holds no image.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if os.path.isdir(path):
            inside = [image for image, obstacle in _images_of_folder(path) if obstacle is None]
            if not inside:
                raise DataError("; ".join((f"{path}: no image in this folder", *left_out([path]))))
        elif os.path.exists(path):
            inside = [path]
        else:
            raise DataError(f"{path}: no such file")
        for image in inside:
            found.setdefault(image.resolve(), image)
    return list(found.values())


def evenly_spaced(paths: Sequence[Path], count: int) -> list[Path]:
    """At most so many of some paths, from the first on at even distances."""
    count = min(count, len(paths))
    return [paths[i * len(paths) // count] for i in range(count)]


def left_out(paths: Sequence[str | Path], read: Collection[str] = ()) -> list[str]:
    """What `find_images` leaves out of folders although it looks like an image, one line a kind: the first, and why.

    Args:
        paths: of folders and files.
        read: suffixes that somebody else reads.
    """
    found: dict[str, list[Path]] = {}
    for folder in filter(os.path.isdir, paths):
        for path, obstacle in _images_of_folder(Path(folder)):
            if obstacle is not None and path.suffix.lower() not in read:
                found.setdefault(obstacle, []).append(path)
    return [
        f"{images[0]}{f' and {len(images) - 1} more' if len(images) > 1 else ''}: left out ({obstacle})"
        for obstacle, images in found.items()
    ]


def distinct_names(paths: Sequence[Path]) -> dict[Path, str]:
    """A short name for each of several files: its own, after as many of its folders as tell it from the others."""
    names: dict[Path, str] = {}
    todo, parts = list(dict.fromkeys(paths)), 1
    while todo:
        short = {path: "/".join(path.parts[-parts:]) for path in todo}
        counts = Counter(short.values())
        names |= {path: name for path, name in short.items() if counts[name] == 1 or parts >= len(path.parts)}
        todo, parts = [path for path in todo if path not in names], parts + 1
    return {path: names[path] for path in paths}


def save_image(path: str | Path, rgb: np.ndarray) -> None:
    """Write uint8 RGB [H, W, 3] in the format of the path's suffix; `path` is never left half written.

    Raises:
        DataError: the suffix is no image format, or the file cannot be written.
    """
    path = Path(path)
    image_format = Image.registered_extensions().get(path.suffix.lower())
    if image_format is None or image_format not in Image.SAVE:
        raise DataError(f"{path}: {path.suffix or 'no suffix'} is not an image format that can be written")
    # Fine coloured lines on a picture suffer from JPEG's usual quality and colour subsampling.
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if image_format == "JPEG" else {}
    options["exif"] = Image.Exif()
    options["exif"][ExifTags.Base.Software] = "frcnn"  # by which a picture is known as ours
    with atomic_write(path) as temporary:
        Image.fromarray(np.ascontiguousarray(rgb, dtype=np.uint8)).save(temporary, image_format, **options)


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """Open an image and turn every fault of the file, then or in the block, into a one-line DataError."""
    with reading(path, folder="a folder, not an image"):
        file = open(path, "rb")  # noqa: SIM115 - closed below; a fault met in the caller's block is not this one's
    with file:
        if os.fstat(file.fileno()).st_size == 0:
            raise DataError(f"{path}: empty file")
        try:
            with Image.open(file, formats=_openers()) as image:
                _refuse_raw(path, image)
                yield image
        except Exception as error:  # decoders raise whatever the bad bytes lead them to
            raise DataError(f"{path}: {_image_fault(path, error)}") from error


@lru_cache(maxsize=1)
def _openers() -> tuple[str, ...]:
    """Those of `IMAGE_FORMATS` that can be opened here."""
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.init()
    return tuple(name for name in IMAGE_FORMATS if name in Image.OPEN)


def _obstacle(path: str | Path) -> str | None:
    """Why a file of such a name cannot be opened; None if it can."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix in NO_IMAGES:
        return NO_IMAGES[suffix]
    name = next((name for name, suffixes in IMAGE_FORMATS.items() if suffix in suffixes), None)
    if name is None or name in _openers():
        return None
    return "HEIC, which needs a package more: pip install pillow-heif" if name == "HEIF" else f"{name}: {_TOO_OLD}"


def _refuse_raw(path: str | Path, image: Image.Image) -> None:
    if image.format == "TIFF" and os.path.splitext(path)[1].lower() in NO_IMAGES:
        raise Image.UnidentifiedImageError


def _image_fault(path: str | Path, error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):  # its own text names a file object
        return f"not an image that can be read ({_obstacle(path) or 'unknown format'})"
    if isinstance(error, Image.DecompressionBombError):
        return f"not an image that can be read (more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels)"
    if ran_out_of_memory(error):
        return "too large for the memory that is left"
    if "truncated" in str(error).lower():
        return "truncated image"
    return f"not an image that can be read ({reason(error)})"


def _orientation(image: Image.Image) -> int:
    try:
        # The base class's method, as PNG's own would decode the pixels in search of a late EXIF chunk.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # garbled EXIF does not make the picture unreadable
        return 1
    return value if value in _UPRIGHT else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose white is unknown")
    if image.mode.startswith("I"):
        return _deep_grey_to_rgb(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _as_array(rgb: Image.Image) -> np.ndarray:
    """uint8 [H, W, 3]; of a large image band by band, as Pillow makes two more copies of what it hands out."""
    width, height = rgb.size
    array = np.empty((height, width, 3), np.uint8)
    rows = max(BAND // width, 1)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        array[top:bottom] = np.asarray(rgb.crop((0, top, width, bottom)) if rows < height else rgb)
    return array


def _deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    bits = 16  # PNG and PGM; Pillow scales what PGM stores with another maximum
    if image.format == "TIFF":
        bits = int(image.tag_v2.get(258, (16,))[0])  # BitsPerSample
    if bits > 16:
        raise ValueError(f"{bits}-bit grey, whose white is unknown")
    values = np.asarray(image).astype(np.int32)
    if bits == 16 and 2**10 <= values.max(initial=0) < 2**12:
        bits = 12  # of microscopes, X-rays and thermal cameras; taken for 16, they would all but be black
    white = 2**bits - 1
    values = values.clip(0, white)
    return Image.fromarray(((values * 255 + white // 2) // white).astype(np.uint8)).convert("RGB")


def _images_of_folder(folder: Path) -> list[tuple[Path, str | None]]:
    """All that looks like an image below a folder, in natural order, with what stands in the way of opening it."""
    suffixes = IMAGE_SUFFIXES | NO_IMAGES.keys()
    # A leading dot also marks the shadow files (._photo.jpg) some systems leave on shared disks.
    visible = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and not path.name.startswith("."))
    return [(path, _obstacle(path)) for path in sorted(filter(Path.is_file, visible), key=natural_key)]


def natural_key(path: Path) -> list[tuple[list[tuple[int, int, str]], str]]:
    """Order digits by value, letters without case; the exact name settles what is then equal."""
    return [
        ([(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name.lower())], name)
        for name in path.parts
    ]
