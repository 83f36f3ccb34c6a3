"""What `frcnn detect` is given: files, folders, patterns, lists on standard input, videos, cameras and streams."""

from __future__ import annotations

import codecs
import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from frcnn_cli.data.images import distinct_names, find_images, left_out, natural_key
from frcnn_cli.data.items import ImageFile, Video
from frcnn_cli.data.videos import VIDEO_SUFFIXES, find_videos, is_video, parse_source
from frcnn_cli.errors import DataError

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Inputs:
    """What was found.

    Attributes:
        images: files, in the order given, each once.
        videos: files, cameras and streams.
        faults: one line for each name that leads to nothing.
        notes: what was left out of folders, and why.
    """

    images: tuple[ImageFile, ...]
    videos: tuple[Video, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def find_inputs(texts: Sequence[str], stdin: BinaryIO | None = None) -> Inputs:
    """Find the images and videos that names mean.

    Args:
        texts: paths of files and folders; patterns such as ``*.jpg``, where no file is called so; ``-`` for a list of
            all these on standard input; cameras and streams (see `parse_source`).
        stdin: bytes; None for the process's own.
    """
    images: list[Path] = []
    films: dict[Path, Path] = {}
    live: dict[str | int, Video] = {}
    folders: list[Path] = []
    faults: list[str] = []
    for text in _listed(texts, stdin):
        source = None if os.path.isfile(text) else parse_source(text)
        if source is not None:
            live.setdefault(source.source, source)
            continue
        for path in _matching(text):
            found = find_videos(path) if os.path.isdir(path) else [path] if is_video(path) else []
            for film in found:
                films.setdefault(film.resolve(), film)
            if os.path.isdir(path):
                folders.append(path)
            try:
                images += [] if found == [path] else find_images([path])
            except DataError as error:
                if not found:  # a folder of videos is one without images
                    faults.append(str(error))
    images = find_images(images)  # each once, as a file may be named beside its folder
    names = distinct_names([*images, *films.values()])
    return Inputs(
        tuple(ImageFile(path, names[path]) for path in images),
        (*(Video(path, names[path], os.fspath(path)) for path in films.values()), *live.values()),
        tuple(faults),
        tuple(left_out(folders, read=VIDEO_SUFFIXES)),
    )


def _listed(texts: Sequence[str], stdin: BinaryIO | None) -> Iterator[str]:
    """The names, with those of the list on standard input in the place of ``-``."""
    for text in texts:
        if text == STANDARD_INPUT:
            yield from read_list((stdin or sys.stdin.buffer).read())
        else:
            yield text


def read_list(data: bytes) -> list[str]:
    """The names of a list, one a line, or ended by NUL, as ``find -print0`` does, where there is one.

    Text is UTF-8, or UTF-16 with its byte order mark; a name that is none keeps its bytes.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", "replace")
    else:
        text = os.fsdecode(data.removeprefix(codecs.BOM_UTF8))
    if "\0" in text:
        return [name for name in text.split("\0") if name]
    return [name for name in text.replace("\r\n", "\n").split("\n") if name.strip()]


def _matching(text: str) -> list[Path]:
    """The path that a text is, or those that match it where it is a pattern; none of those is a fault, as no path."""
    if os.path.lexists(text) or not glob.has_magic(text):
        return [Path(text)]
    return sorted(map(Path, glob.glob(text, recursive=True)), key=natural_key) or [Path(text)]
