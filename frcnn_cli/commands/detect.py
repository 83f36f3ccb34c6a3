"""`frcnn detect`: photographs in, found objects out."""

from __future__ import annotations

import json
from os.path import splitext
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from frcnn_cli.commands.console import err, out, progress_bar
from frcnn_cli.commands.options import (
    PATH,
    DetectionOptions,
    detection_options,
    device_option,
    json_option,
    pick_device,
)
from frcnn_cli.commands.picture_files import picture_paths
from frcnn_cli.data.images import distinct_names, find_images, left_out, load_image, save_image
from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.drawing.boxes import draw_detections
from frcnn_cli.engine.detector import DetectionConfig, Detector, ImageResult, detect_image
from frcnn_cli.errors import DataError, FrcnnError, Interrupted


@click.command()
@click.argument("images", nargs=-1, required=True, type=PATH, metavar="IMAGE...")
@click.option("--weights", type=PATH, metavar="CHECKPOINT", help="A trained model.  [default: the bundled one]")
@click.option("--score", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="The least to report.")
@click.option("--max-detections", type=click.IntRange(1), default=100, show_default=True, help="An image.")
@click.option("--save-dir", type=PATH, metavar="DIR", help="Write pictures with the detections drawn in.")
@detection_options
@json_option
@device_option
def detect(
    images: tuple[Path, ...],
    how: DetectionOptions,
    weights: Path | None,
    score: float,
    max_detections: int,
    save_dir: Path | None,
    as_json: bool,
    device: str,
) -> None:
    """Find objects in photographs: files, and folders of them.

    Without --weights, the model that comes with the package finds the 20 classes of PASCAL VOC. A file that is no image
    is named on stderr, the others are still done, and the exit code is 1.

    \b
    frcnn detect photo.jpg
    frcnn detect holiday/ --score 0.7 --save-dir found
    frcnn detect crowd.jpg --scales 480,688,960 --flip-test
    frcnn detect holiday/ --json > found.json
    """
    config = how.apply(DetectionConfig(score_threshold=score, max_detections=max_detections))
    paths, faults = _find(images)
    for line in left_out(images):
        err.print(line, markup=False)
    if not paths:
        raise DataError("\n".join(faults))
    pictures = picture_paths(paths, save_dir) if save_dir else {}
    file = open_proposals(how.proposals) if how.proposals else None
    detector = Detector.load(weights, pick_device(device))
    names = distinct_names(paths)
    results: dict[Path, ImageResult] = {}
    interrupted = False
    for path in progress_bar("detect")(paths) if len(paths) > 1 else paths:
        try:
            image = load_image(path)
            results[path] = detect_image(detector, image, splitext(names[path])[0], file, config)
            if save_dir:
                save_image(pictures[path], draw_detections(image, results[path].detections, detector.classes))
        except FrcnnError as error:
            faults.append(str(error))
        except KeyboardInterrupt:
            interrupted = True  # what was found so far is still reported
            break
    if as_json:
        click.echo(json.dumps([_as_json(path, results[path], detector.classes) for path in results], indent=2))
    elif results:
        _print_table(results, detector.classes, score)
    if save_dir and results:
        err.print(f"{len(results)} picture{'s' * (len(results) != 1)} with boxes in {save_dir}")
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


def _as_json(path: Path, result: ImageResult, classes: tuple[str, ...]) -> dict[str, Any]:
    found = result.detections
    return {
        "image": str(path),
        "width": result.width,
        "height": result.height,
        "detections": [
            {"class": classes[label - 1], "score": round(float(score), 4), "box": [round(float(x), 2) for x in box]}
            for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
        ],
        "seconds": {"proposals": result.seconds.proposals, "detection": result.seconds.detection},
    }


def _print_table(results: dict[Path, ImageResult], classes: tuple[str, ...], threshold: float) -> None:
    table = Table("image", "class", "score", "x1", "y1", "x2", "y2")
    table.columns[0].overflow = "fold"
    for column in table.columns[2:]:
        column.justify = "right"
    names = distinct_names([*results])
    for path, result in results.items():
        found = result.detections
        rows = zip(found.boxes, found.scores, found.labels, strict=True)
        name = names[path]
        for box, score, label in rows:
            table.add_row(name, classes[label - 1], f"{score:.2f}", *(f"{x:.0f}" for x in box))
            name = ""
        if len(found) == 0:
            table.add_row(name, f"none >= {threshold:g}", style="dim")
        table.add_section()
    out.print(table)
    for part in ("proposals", "detection"):
        seconds = [s for result in results.values() if (s := getattr(result.seconds, part)) is not None]
        if seconds:
            err.print(f"{part}: {sum(seconds) / len(seconds):.2f} s an image")
