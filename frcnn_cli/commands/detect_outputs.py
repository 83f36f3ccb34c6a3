"""What becomes of the detections of `frcnn detect`, image by image: printed, written, drawn, cut out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click
import numpy as np

from frcnn_cli.commands.console import above_bars, err
from frcnn_cli.commands.detect_inputs import Inputs
from frcnn_cli.commands.detect_table import DetectionTable
from frcnn_cli.commands.options import OutputOptions, check_output, open_output
from frcnn_cli.commands.picture_files import crop_path, picture_paths
from frcnn_cli.data.detections import ImageResult
from frcnn_cli.data.images import save_image
from frcnn_cli.data.items import Video
from frcnn_cli.data.video_writer import NO_H264, AddFrame, has_h264, write_video
from frcnn_cli.data.writers.json_file import as_json
from frcnn_cli.drawing.boxes import draw_detections
from frcnn_cli.drawing.crops import crop
from frcnn_cli.drawing.fonts import Fonts
from frcnn_cli.drawing.notes import draw_note
from frcnn_cli.errors import DataError, UsageError
from frcnn_cli.replacing import check_replaced
from frcnn_cli.settings import setting


@dataclass(frozen=True)
class DetectOutput(OutputOptions):
    """The same, and pictures of each image.

    Attributes:
        as_json_lines: print JSON, a line an image.
        save_dir: the folder of pictures and videos with boxes.
        crop: the folder of pieces.
        font: a file.
    """

    as_json_lines: bool = setting(
        False, "Print JSON on stdout, a line an image or frame, as soon as it is done.", option="jsonl"
    )
    save_dir: Path | None = setting(
        None, "Write pictures, and videos as .mp4, with the detections drawn in.", metavar="DIR"
    )
    crop: Path | None = setting(
        None, "Cut out each detection, into a folder for each class in this one.", metavar="DIR"
    )
    font: Path | None = setting(
        None,
        "Draw names in this font.",
        metavar="FILE",
        shown_default="one that has their characters",
    )


def check_outputs(options: DetectOutput) -> None:
    """Refuse outputs that contradict each other, and fonts that are none.

    Raises:
        UsageError: two ways to print, or a format of nothing.
        DataError: the font cannot be read.
    """
    check_output(options)
    if options.as_json and options.as_json_lines:
        raise UsageError("--json prints one list, --jsonl a line an image: give one of the two")
    Fonts(options.font)


class OutputFault(DataError):
    """What holds all results cannot be written, so that nothing more is to be done."""


class Printer(Protocol):
    """Prints results on stdout as they come."""

    def add(self, name: str, result: ImageResult) -> None: ...

    def close(self) -> None: ...


class JsonPrinter:
    """Prints one list."""

    def __init__(self) -> None:
        self._before = "[\n"

    def add(self, name: str, result: ImageResult) -> None:
        text = json.dumps(as_json(result), indent=2).replace("\n", "\n  ")
        _echo(f"{self._before}  {text}", newline=False)
        self._before = ",\n"

    def close(self) -> None:
        _echo("\n]" if self._before == ",\n" else "[]")


class JsonLinesPrinter:
    """Prints a line an image."""

    def add(self, name: str, result: ImageResult) -> None:
        _echo(json.dumps(as_json(result)))

    def close(self) -> None:
        pass


def _echo(text: str, newline: bool = True) -> None:
    with above_bars():
        click.echo(text, nl=newline)


class Means:
    """Mean seconds of the parts of a detection. The first, which compiles or loads something, counts if it is alone."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}

    def add(self, result: ImageResult) -> None:
        for part in ("proposals", "detection"):
            seconds = getattr(result.seconds, part)
            if seconds is not None:
                first, total, count = self._seconds.get(part, (seconds, 0.0, 0))
                self._seconds[part] = [first, total + seconds, count + 1]

    def lines(self) -> list[str]:
        return [
            f"{part}: {(total - first) / (count - 1) if count > 1 else total:.2f} s an image"
            for part, (first, total, count) in self._seconds.items()
        ]


class Outputs:
    """Takes results. Made by `open_outputs`."""

    def __init__(
        self,
        options: DetectOutput,
        classes: tuple[str, ...],
        inputs: Inputs,
        pictures: dict[Path, Path],
        printer: Printer,
        write: Callable[[ImageResult], object],
    ) -> None:
        self._options = options
        self._classes = classes
        self._pictures = pictures
        self._printer = printer
        self._write = write
        self._fonts = Fonts(options.font)
        self._sources = {path.resolve() for path in pictures}
        self._names = {item.path: item.name or item.path.name for item in (*inputs.images, *inputs.videos)}
        self._drawn = self._cut = 0
        self.means = Means()
        self.images = self.frames = 0

    def draw(self, image: np.ndarray, result: ImageResult, film: AddFrame | None = None, note: str = "") -> None:
        """Write an image's pictures.

        Args:
            image: uint8 RGB [H, W, 3].
            result: of it.
            film: takes the picture, where it is of a video.
            note: drawn into the corner.

        Raises:
            DataError: one cannot be written, or would replace an image.
        """
        found = result.detections
        if self._options.crop:
            for number, (box, name) in enumerate(zip(found.boxes, found.names, strict=True), start=1):
                path = crop_path(self._options.crop, self._pictures[result.path], name, number, result)
                if path.resolve() in self._sources:
                    raise DataError(f"{path}: --crop would replace this image itself")
                check_replaced([path], self._options.force)
                save_image(path, crop(image, box))
                self._cut += 1
        if self._options.save_dir and (film or result.frame is None):
            picture = draw_detections(image, found, self._classes, self._fonts)
            picture = draw_note(picture, note) if note else picture
            if film and result.frame:
                film(picture, result.frame.seconds)
            else:
                save_image(self._pictures[result.path], picture)
                self._drawn += 1

    def report(self, result: ImageResult) -> None:
        """Write and print a result.

        Raises:
            OutputFault: the file of all detections cannot be written.
        """
        try:
            self._write(result)
        except DataError as error:
            raise OutputFault(str(error)) from error
        frame = "" if result.frame is None else f" #{result.frame.number}"
        self._printer.add(self._names[result.path] + frame, result)
        self.means.add(result)
        self.images += result.frame is None
        self.frames += result.frame is not None

    @contextmanager
    def film(self, video: Video, fps: float) -> Iterator[AddFrame | None]:
        """Give what takes the pictures of a video, if they are wanted.

        Raises:
            DataError: they cannot be written.
        """
        if self._options.save_dir is None:
            yield None
            return
        with write_video(self._pictures[video.path], fps) as add:
            yield add

    def summary(self) -> list[str]:
        """What was written where."""
        done = " and ".join(_count(number, noun) for number, noun in self._done() if number) or "nothing"
        lines = []
        if self._drawn:
            lines.append(f"{_count(self._drawn, 'picture')} with boxes in {self._options.save_dir}")
        if self._cut:
            lines.append(f"{_count(self._cut, 'crop')} in {self._options.crop}")
        if self._options.output:
            lines.append(f"detections of {done} in {self._options.output}")
        return lines

    def _done(self) -> tuple[tuple[int, str], ...]:
        return (self.images, "image"), (self.frames, "frame")


@contextmanager
def open_outputs(
    options: DetectOutput, classes: tuple[str, ...], inputs: Inputs, threshold: float
) -> Iterator[Outputs]:
    """Open all that is to be written; printed tables and lists are ended and files whole when the block has ended.

    Args:
        options: what is wanted.
        classes: names of the labels 1, 2, ...
        inputs: what results will be of.
        threshold: the least score, for the table.

    Raises:
        DataError: something cannot be written, or would replace an image.
    """
    items = [*inputs.images, *inputs.videos]
    videos = {video.path for video in inputs.videos}
    paths = [item.path for item in items]
    pictures = picture_paths(paths, options.save_dir or Path(os.devnull), videos, options.force)
    if options.output and options.output.resolve() in {path.resolve() for path in paths}:
        raise DataError(f"{options.output}: --output would replace this image itself")
    if options.save_dir:
        missing = Fonts(options.font).missing(classes)
        if missing:
            err.print(f"no font here has {missing}; --font FILE names one that does")
        if videos and not has_h264():
            err.print(NO_H264)
    with open_output(options, classes, items) as write:
        printer = _printer(options, [item.name or item.path.name for item in items], classes, threshold, bool(videos))
        outputs = Outputs(options, classes, inputs, pictures, printer, write)
        yield outputs
        printer.close()
    if not (options.as_json or options.as_json_lines):
        for line in outputs.means.lines():
            err.print(line)
    if outputs.images or outputs.frames:
        for line in outputs.summary():
            err.print(line)


def _printer(
    options: DetectOutput, names: Sequence[str], classes: tuple[str, ...], threshold: float, videos: bool
) -> Printer:
    if options.as_json:
        return JsonPrinter()
    if options.as_json_lines:
        return JsonLinesPrinter()
    frame = " #00000" if videos else ""
    return DetectionTable([name + frame for name in names], classes, threshold)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
