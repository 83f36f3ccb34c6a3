"""`frcnn detect`: photographs in, found objects out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click
from rich.table import Table

from frcnn_cli.commands.console import err, out, progress_bar
from frcnn_cli.commands.fields import PATH, option_group
from frcnn_cli.commands.options import (
    ModelOptions,
    OutputOptions,
    SourceOptions,
    check_output,
    check_source,
    load_detector,
    open_output,
    proposal_source,
)
from frcnn_cli.commands.picture_files import picture_paths
from frcnn_cli.data.detections import ImageResult
from frcnn_cli.data.images import distinct_names, find_images, left_out, load_image, save_image
from frcnn_cli.data.items import ImageFile
from frcnn_cli.data.writers.json_file import as_json
from frcnn_cli.drawing.boxes import draw_detections
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import detect_image, find_model
from frcnn_cli.errors import DataError, Interrupted
from frcnn_cli.settings import setting


@dataclass(frozen=True)
class DetectOutput(OutputOptions):
    """The same, and pictures of each image.

    Attributes:
        save_dir: their folder.
    """

    save_dir: Path | None = setting(None, "Write pictures with the detections drawn in.", metavar="DIR")


@click.command()
@click.argument("images", nargs=-1, required=True, type=PATH, metavar="IMAGE...")
@option_group(ModelOptions, "model")
@option_group(SourceOptions, "proposals")
@option_group(DetectionConfig, "config")
@option_group(DetectOutput, "output")
def detect(
    images: tuple[Path, ...],
    model: ModelOptions,
    proposals: SourceOptions,
    config: DetectionConfig,
    output: DetectOutput,
) -> None:
    """Find objects in photographs: files, and folders of them.

    Without --weights, the model that comes with the package finds the 20 classes of PASCAL VOC. A file that is no image
    is named on stderr, the others are still done, and the exit code is 1.

    \b
    frcnn detect photo.jpg
    frcnn detect holiday/ --score 0.7 --save-dir found
    frcnn detect crowd.jpg --scales 480,688,960 --flip-test
    frcnn detect holiday/ --json > found.json
    frcnn detect holiday/ -o found.csv
    """
    check_output(output)
    find_model(model.weights)
    check_source(proposals)
    paths, faults = _find(images)
    for line in left_out(images):
        err.print(line)
    if not paths:
        raise DataError("\n".join(faults))
    pictures = picture_paths(paths, output.save_dir) if output.save_dir else {}
    items = [ImageFile(path, name) for path, name in distinct_names(paths).items()]
    source = proposal_source(proposals, items)
    detector = load_detector(model, proposals)
    results: list[ImageResult] = []
    interrupted = False
    with open_output(output, detector.classes, items) as write:
        for item in progress_bar("detect")(items) if len(items) > 1 else items:
            path = item.path
            result = None
            try:
                image = load_image(path)
                result = detect_image(detector, image, path, item.id, source, config)
                if output.save_dir:
                    save_image(pictures[path], draw_detections(image, result.detections, detector.classes))
            except DataError as error:
                faults.append(str(error))
            except KeyboardInterrupt:
                interrupted = True  # what was found so far is still reported
            if result is not None:
                write(result)
                results.append(result)
            if interrupted:
                break
    _report(results, output, config.score_threshold)
    if faults:
        raise DataError("\n".join(faults))
    if interrupted:
        raise Interrupted(f"interrupted with {len(results)} of {len(paths)} images done")


def _find(images: tuple[Path, ...]) -> tuple[list[Path], list[str]]:
    """The image files, and the faults of paths that lead to none."""
    found: list[Path] = []
    faults: list[str] = []
    for path in images:
        try:
            found += find_images([path])
        except DataError as error:
            faults.append(str(error))
    return find_images(found), faults  # once more, as a file may be named beside its folder


def _report(results: list[ImageResult], output: DetectOutput, threshold: float) -> None:
    if output.as_json:
        click.echo(json.dumps([as_json(result) for result in results], indent=2))
    elif results:
        _print_table(results, threshold)
    if output.save_dir and results:
        err.print(f"{_count(results, 'picture')} with boxes in {output.save_dir}")
    if output.output:
        err.print(f"detections of {_count(results, 'image')} in {output.output}")


def _count(results: list[ImageResult], noun: str) -> str:
    return f"{len(results)} {noun}{'s' * (len(results) != 1)}"


def _print_table(results: list[ImageResult], threshold: float) -> None:
    table = Table("image", "class", "score", "x1", "y1", "x2", "y2")
    table.columns[0].overflow = "fold"
    for column in table.columns[2:]:
        column.justify = "right"
    names = distinct_names([result.path for result in results])
    for result in results:
        found = result.detections
        name = names[result.path]
        for box, score, label in zip(found.boxes, found.scores, found.names, strict=True):
            table.add_row(name, label, f"{score:.2f}", *(f"{x:.0f}" for x in box))
            name = ""
        if len(found) == 0:
            table.add_row(name, f"none >= {threshold:g}", style="dim")
        table.add_section()
    out.print(table)
    for part in ("proposals", "detection"):
        seconds = [s for result in results if (s := getattr(result.seconds, part)) is not None]
        if seconds:
            err.print(f"{part}: {sum(seconds) / len(seconds):.2f} s an image")
