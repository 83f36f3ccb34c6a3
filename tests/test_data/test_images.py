"""Image files of every kind become upright RGB; bad ones become one line that names them."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from frcnn_cli.data import images
from frcnn_cli.data.images import (
    distinct_names,
    find_images,
    image_size,
    left_out,
    load_image,
    read_header,
    save_image,
)
from frcnn_cli.files import atomic_write

RED, WHITE = (255, 0, 0), (255, 255, 255)


def one_pixel(path: Path) -> tuple[int, ...]:
    array = load_image(path)
    assert array.dtype == np.uint8
    assert array.shape == (1, 1, 3)
    return tuple(array[0, 0].tolist())


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 77, (77, 77, 77)),
        ("1", 255, WHITE),
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), WHITE),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("LA", (40, 255), (40, 40, 40)),
        ("LA", (40, 0), WHITE),
        ("I;16", 65535, WHITE),
        ("I;16", 32896, (128, 128, 128)),
        ("I;16", 300, (1, 1, 1)),
    ],
)
def test_each_kind_of_png_becomes_rgb(tmp_path, mode, value, expected):
    Image.new(mode, (1, 1), value).save(tmp_path / "a.png")
    assert one_pixel(tmp_path / "a.png") == expected


def test_palette_with_a_transparent_colour_lies_on_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "transparent.png", transparency=1)
    assert load_image(tmp_path / "plain.png").tolist() == [[list(RED), [0, 0, 255]]]
    assert load_image(tmp_path / "transparent.png").tolist() == [[list(RED), list(WHITE)]]


@pytest.mark.parametrize(("value", "expected"), [(65535, WHITE), (32896, (128, 128, 128))])
def test_sixteen_bit_pgm_and_tiff_are_scaled(tmp_path, value, expected):
    (tmp_path / "a.pgm").write_bytes(b"P5 1 1 65535\n" + value.to_bytes(2, "big"))
    Image.new("I;16", (1, 1), value).save(tmp_path / "a.tif")
    assert one_pixel(tmp_path / "a.pgm") == expected
    assert one_pixel(tmp_path / "a.tif") == expected


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("values", "expected"), [([0, 2048, 4095], [0, 128, 255]), ([0, 2048, 4096], [0, 8, 16]),
                                                  ([0, 300, 1023], [0, 1, 4])])  # fmt: skip
def test_a_sensor_s_twelve_bits(tmp_path, suffix, values, expected):
    """Where the brightest pixel is one of the upper three quarters of 12 bits, they are; else all 16 are meant."""
    Image.fromarray(np.array([values], np.uint16)).save(tmp_path / f"a.{suffix}")
    assert load_image(tmp_path / f"a.{suffix}")[0, :, 1].tolist() == expected


def test_cmyk_jpeg_with_adobe_inversion(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path, quality=100)  # Pillow writes Adobe's inverted values
    assert b"Adobe" in path.read_bytes()
    assert np.abs(load_image(path).astype(int) - RED).max() <= 3


def test_cmyk_tiff(tmp_path):
    Image.new("CMYK", (1, 1), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert one_pixel(tmp_path / "a.tif") == RED


@pytest.mark.parametrize(("mode", "value"), [("F", 0.5), ("I", 70000)])
def test_pixels_without_a_known_white_are_refused(tmp_path, mode, value, fault_of):
    Image.new(mode, (1, 1), value).save(tmp_path / "a.tif")
    message = fault_of(load_image, tmp_path / "a.tif")
    assert message.startswith(f"{tmp_path}/a.tif: not an image that can be read (")
    assert "white is unknown" in message


UPRIGHT = np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8)
# What a camera stores when the picture above is the one to show (EXIF 2.3, tag 0x0112).
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("suffix", ["png", "tif", "lzw.tif", "webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    options = {"webp": {"lossless": True}, "lzw.tif": {"compression": "tiff_lzw"}}.get(suffix, {})
    Image.fromarray(np.ascontiguousarray(STORED[orientation])).save(path, exif=exif, **options)
    array = load_image(path)
    assert array[:, :, 0].tolist() == UPRIGHT.tolist()
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert image_size(path) == (3, 2)
    assert read_header(path).sideways == (orientation >= 5)


def test_size_of_a_sideways_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert image_size(tmp_path / "a.jpg") == (20, 40)
    assert load_image(tmp_path / "a.jpg").shape == (40, 20, 3)


def test_garbled_exif_does_not_matter(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg", exif=b"Exif\x00\x00garbage")
    assert image_size(tmp_path / "a.jpg") == (4, 3)
    assert load_image(tmp_path / "a.jpg").shape == (3, 4, 3)


@pytest.fixture
def not_root():
    """A function that gives up root's right to read everything until the test ends."""
    before = os.geteuid()
    yield lambda: os.seteuid(65534) if before == 0 else None
    os.seteuid(before)


@pytest.mark.parametrize("function", [load_image, image_size])
class TestFaults:
    def test_missing(self, tmp_path, function, fault_of):
        assert fault_of(function, tmp_path / "a.jpg") == f"{tmp_path}/a.jpg: no such file"

    def test_folder(self, tmp_path, function, fault_of):
        assert fault_of(function, tmp_path) == f"{tmp_path}: a folder, not an image"

    def test_empty(self, tmp_path, function, fault_of):
        (tmp_path / "a.jpg").touch()
        assert fault_of(function, tmp_path / "a.jpg") == f"{tmp_path}/a.jpg: empty file"

    def test_text(self, tmp_path, function, fault_of):
        (tmp_path / "a.jpg").write_text("not a picture\n" * 20)
        expected = f"{tmp_path}/a.jpg: not an image that can be read (unknown format)"
        assert fault_of(function, tmp_path / "a.jpg") == expected

    def test_bomb(self, tmp_path, function, fault_of):
        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))
        message = fault_of(function, tmp_path / "a.png")
        assert message.startswith(f"{tmp_path}/a.png: not an image that can be read (more than ")

    def test_file_as_a_folder(self, tmp_path, function, fault_of):
        (tmp_path / "a").write_text("x")
        expected = f"{tmp_path}/a/b.jpg: cannot be read (not a directory)"
        assert fault_of(function, tmp_path / "a" / "b.jpg") == expected

    def test_no_permission(self, tmp_path, function, not_root, fault_of):
        Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
        (tmp_path / "a.png").chmod(0)
        not_root()
        assert fault_of(function, tmp_path / "a.png") == f"{tmp_path}/a.png: cannot be read (permission denied)"


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_image_has_a_size_but_no_pixels(tmp_path, suffix, fault_of):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    assert image_size(path) == (48, 64)
    assert fault_of(load_image, path) == f"{path}: truncated image"


def test_find_images_in_natural_order_each_once(tmp_path):
    for name in ("img10.jpg", "img2.JPG", "sub/a.png", "notes.txt", "._img2.jpg", "odd.name"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_images([tmp_path / "odd.name", tmp_path / "sub" / "a.png", tmp_path])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["odd.name", "sub/a.png", "img2.JPG", "img10.jpg"]


def test_find_images_names_what_is_missing(tmp_path, fault_of):
    (tmp_path / "empty").mkdir()
    assert fault_of(find_images, [tmp_path / "x.jpg"]) == f"{tmp_path}/x.jpg: no such file"
    assert fault_of(find_images, [tmp_path / "empty"]) == f"{tmp_path}/empty: no image in this folder"


SAVED = {
    ".jfif": "JPEG", ".jpe": "JPEG", ".png": "PNG", ".apng": "PNG", ".bmp": "BMP", ".dib": "DIB", ".gif": "GIF",
    ".ppm": "PPM", ".mpo": "MPO", ".webp": "WEBP", ".tiff": "TIFF", ".avif": "AVIF", ".jp2": "JPEG2000", ".tga": "TGA",
    ".pcx": "PCX", ".sgi": "SGI", ".dds": "DDS", ".qoi": "QOI",
}  # fmt: skip
"""Suffixes of folders, and Pillow's formats that it can write."""


@pytest.mark.parametrize("suffix", SAVED)
def test_a_folder_s_images_of_every_format_are_opened(tmp_path, suffix):
    Image.init()
    if SAVED[suffix] not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {SAVED[suffix]}")
    image = Image.new("RGB", (16, 12), (200, 30, 40))
    image.save(tmp_path / "a.bin", SAVED[suffix])
    (tmp_path / "a.bin").rename(tmp_path / f"A{suffix.upper()}")
    (path,) = find_images([tmp_path])
    assert image_size(path) == (16, 12)
    assert np.abs(load_image(path).astype(int) - (200, 30, 40)).max() <= 12
    assert left_out([tmp_path]) == []


def test_what_a_folder_holds_beside_is_said(tmp_path, fault_of):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg")
    for name in ("b.dng", "c.NEF", "d.eps", "e.mp4", "notes.txt", "a.xml", ".f.dng"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in find_images([tmp_path])] == ["a.jpg"]
    assert left_out([tmp_path, tmp_path / "a.jpg"]) == [
        f"{tmp_path}/b.dng and 1 more: left out (a camera's raw file; export it as JPEG, PNG or TIFF)",
        f"{tmp_path}/d.eps: left out (a drawing or a page, not pixels; export it as PNG)",
        f"{tmp_path}/e.mp4: left out (a film; take images from it)",
    ]
    (tmp_path / "a.jpg").unlink()
    assert fault_of(find_images, [tmp_path]).startswith(f"{tmp_path}: no image in this folder; {tmp_path}/b.dng and 1")


def test_heic_says_what_it_needs(tmp_path, fault_of):
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("pillow-heif is here")
    (tmp_path / "a.HEIC").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(40))
    needs = "HEIC, which needs a package more: pip install pillow-heif"
    assert left_out([tmp_path]) == [f"{tmp_path}/a.HEIC: left out ({needs})"]
    message = f"{tmp_path}/a.HEIC: not an image that can be read ({needs})"
    assert fault_of(load_image, tmp_path / "a.HEIC") == message


@pytest.mark.parametrize("name", ["a.eps", "a.png", "a"])
def test_postscript_is_not_run(tmp_path, name, fault_of):
    (tmp_path / name).write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    assert "not an image that can be read (" in fault_of(load_image, tmp_path / name)
    assert "not an image that can be read (" in fault_of(image_size, tmp_path / name)


def test_the_preview_of_a_raw_file_is_not_taken_for_it(tmp_path, fault_of):
    Image.new("RGB", (16, 12)).save(tmp_path / "a.dng", "TIFF")
    assert "a camera's raw file" in fault_of(load_image, tmp_path / "a.dng")


def test_short_names_tell_files_apart():
    paths = [Path(name) for name in ("x/camA/0001.jpg", "x/camB/0001.jpg", "x/camB/2.jpg", "y/camB/0001.jpg", "3.jpg")]
    names = distinct_names([*paths, paths[0]])
    assert [names[path] for path in paths] == ["camA/0001.jpg", "x/camB/0001.jpg", "2.jpg", "y/camB/0001.jpg", "3.jpg"]


def test_save_image_makes_the_folder_and_loads_back(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    save_image(tmp_path / "new" / "a.png", rgb)
    assert (load_image(tmp_path / "new" / "a.png") == rgb).all()
    assert os.listdir(tmp_path / "new") == ["a.png"]


def test_save_image_of_unknown_format(tmp_path, fault_of):
    message = fault_of(save_image, tmp_path / "a.xyz", np.zeros((1, 1, 3), np.uint8))
    assert message == f"{tmp_path}/a.xyz: .xyz is not an image format that can be written"
    assert not os.listdir(tmp_path)


class TestAtomicWrite:
    def test_failure_keeps_the_old_file_and_leaves_nothing(self, tmp_path):
        target = tmp_path / "a.txt"
        target.write_text("old")

        def interrupted_write() -> None:
            with atomic_write(target) as temporary:
                temporary.write_text("half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted_write()
        assert target.read_text() == "old"
        assert os.listdir(tmp_path) == ["a.txt"]

    def test_full_disk_is_one_line(self, tmp_path, fault_of):
        def write() -> None:
            with atomic_write(tmp_path / "a.txt"), open("/dev/full", "w") as full:
                full.write("x")
                full.flush()

        if not Path("/dev/full").exists():
            pytest.skip("no /dev/full")
        assert fault_of(write) == f"{tmp_path}/a.txt: cannot be written (no space left on device)"
        assert not os.listdir(tmp_path)

    def test_fault_of_another_file_is_not_blamed_on_the_target(self, tmp_path):
        with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.txt"):
            (tmp_path / "other").read_text()

    def test_folder_or_device_as_target(self, tmp_path, fault_of):
        def write(path: Path) -> None:
            with atomic_write(path):
                pass

        assert fault_of(write, tmp_path) == f"{tmp_path}: cannot be written (a folder)"
        assert fault_of(write, Path("/dev/null")) == "/dev/null: cannot be written (not a regular file)"

    def test_parent_is_a_file(self, tmp_path, fault_of):
        def write() -> None:
            with atomic_write(tmp_path / "a" / "b.txt"):
                pass

        (tmp_path / "a").write_text("x")
        assert fault_of(write).startswith(f"{tmp_path}/a/b.txt: cannot be written (")

    def test_symbolic_link_is_written_through(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "link.txt").symlink_to(tmp_path / "real" / "a.txt")
        with atomic_write(tmp_path / "link.txt") as temporary:
            temporary.write_text("new")
        assert (tmp_path / "link.txt").is_symlink()
        assert (tmp_path / "real" / "a.txt").read_text() == "new"


@pytest.mark.parametrize("size", [(7, 5), (5, 7), (1, 30), (30, 1), (13, 13)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_image_is_taken_over_in_bands(tmp_path, monkeypatch, size, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    noise = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png", exif=exif)
    whole = load_image(tmp_path / "a.png")
    monkeypatch.setattr(images, "BAND", 10)
    banded = load_image(tmp_path / "a.png")
    assert np.array_equal(banded, whole)
    assert np.array_equal(whole, noise if orientation == 1 else np.rot90(noise, 3))
    assert banded.flags.c_contiguous
    assert banded.flags.writeable


def test_an_image_for_which_the_memory_is_too_small(noise_image, fault_of, monkeypatch):
    path = noise_image("a.png", 8, 8)

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(images.np, "empty", fail)
    assert fault_of(load_image, path) == f"{path}: too large for the memory that is left"
