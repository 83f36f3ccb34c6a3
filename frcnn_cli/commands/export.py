"""`frcnn export`: a checkpoint in, an ONNX file out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from frcnn_cli.commands.console import err, out, progress_bar
from frcnn_cli.commands.fields import PATH, option_group
from frcnn_cli.commands.photographs import calibration_images, calibration_photographs
from frcnn_cli.data.images import load_image
from frcnn_cli.data.transforms import scale_image, scale_to
from frcnn_cli.engine.detector import find_model
from frcnn_cli.engine.sources.search import DetectionSearch, SearchSource
from frcnn_cli.errors import UsageError
from frcnn_cli.files import check_writable
from frcnn_cli.replacing import FORCE_HELP, check_apart, check_replaced
from frcnn_cli.settings import setting

if TYPE_CHECKING:  # --help and a wrong call do not wait for torch
    from frcnn_cli.engine.checkpoint import Checkpoint

CALIBRATION_IMAGES = 40


@dataclass(frozen=True)
class ExportOptions:
    """In which numbers.

    Attributes:
        int8: eight bits.
        calibrate: photographs that show the range of each activation.
        calibration_images: how many of them are looked at.
        calibration_rois: of each.
        force: replace what is there and not ours.
    """

    int8: bool = setting(False, "Weights and activations of eight bits: a quarter of the size, and faster.")
    calibrate: Path | None = setting(
        None, "Photographs such as the model will see; --int8 needs them.", metavar="FOLDER"
    )
    calibration_images: int | None = calibration_images(CALIBRATION_IMAGES)
    calibration_rois: int = setting(300, "How many proposals of each are looked at.", metavar="N", least=1)
    force: bool = setting(False, FORCE_HELP)


@click.command()
@click.argument("checkpoint", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE.onnx", help="The exported model.")
@option_group(ExportOptions, "options")
def export(checkpoint: Path, output: Path, options: ExportOptions) -> None:
    """Write a model as an ONNX file: an image and RoIs in, scores and boxes out.

    `frcnn detect` and `frcnn eval` run the file without torch, if it is given as --weights, or lies beside its
    checkpoint under the same name. ONNX.md in the package tells how other programs run it.

    \b
    frcnn export run/model.safetensors -o run/model.onnx
    frcnn export run/model.safetensors -o run/model.onnx --int8 --calibrate photos
    """
    _check(output, options)
    find_model(checkpoint)
    photographs = calibration_photographs(options.calibrate, options.calibration_images, CALIBRATION_IMAGES)
    check_writable(output)
    check_apart([output], [checkpoint, *photographs])
    check_replaced([output], options.force)
    from frcnn_cli.engine.checkpoint import load_checkpoint
    from frcnn_cli.engine.export.detector import export_checkpoint, save_model
    from frcnn_cli.engine.export.metadata import digest

    loaded = load_checkpoint(checkpoint)
    try:
        model = export_checkpoint(loaded, digest(checkpoint))
        if options.int8:
            from frcnn_cli.engine.export.quantisation import quantise

            err.print(f"calibrating on {len(photographs)} photographs")
            about = f"{len(photographs)} photographs of {options.calibrate.resolve().name}"
            samples = _samples(photographs, loaded, options.calibration_rois)
            model = quantise(model, samples, f"{about}, {options.calibration_rois} proposals each")
    except UsageError as error:
        raise UsageError(f"{checkpoint}: {error}") from error
    save_model(output, model)
    numbers = "eight bits" if options.int8 else "float32"
    out.print(f"{output}: {output.stat().st_size / 1e6:.1f} MB ({numbers}, {len(loaded.classes)} classes)")


def _check(output: Path, options: ExportOptions) -> None:
    """Refuse what cannot be.

    Raises:
        UsageError: a file of another suffix, --int8 without --calibrate or the other way round, or no package onnx.
    """
    if output.suffix != ".onnx":
        raise UsageError(f"-o {output}: the name of an exported model ends in .onnx")
    if options.int8 and options.calibrate is None:
        raise UsageError("--int8 needs --calibrate FOLDER, photographs such as the model will see")
    if options.calibrate is not None and not options.int8:
        raise UsageError("--calibrate is for --int8: give both")
    for name in ("onnx", *(["onnxruntime"] if options.int8 else [])):
        if find_spec(name) is None:
            raise UsageError(f"export needs the package {name}: pip install {name}")


def _samples(
    photographs: Sequence[Path], checkpoint: Checkpoint, count: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each photograph at the model's size, and its best proposals there."""
    source = SearchSource(DetectionSearch(max_proposals=count))
    for path in progress_bar("calibrate")(photographs):
        image = load_image(path)
        height, width = image.shape[:2]
        scaled, ratio = scale_image(image, scale_to(width, height, checkpoint.short_side, checkpoint.long_side))
        yield scaled, source.boxes(image) * ratio
