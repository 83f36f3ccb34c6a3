"""`frcnn detect`: photographs and videos in, found objects out."""

from __future__ import annotations

import threading
from contextlib import closing

import click

from frcnn_cli.commands.console import err, progress_bar
from frcnn_cli.commands.detect_inputs import Inputs, find_inputs
from frcnn_cli.commands.detect_outputs import DetectOutput, OutputFault, Outputs, check_outputs, open_outputs
from frcnn_cli.commands.detect_videos import VideoDetector, VideoOptions, check_videos
from frcnn_cli.commands.fields import option_group
from frcnn_cli.commands.options import ModelOptions, SourceOptions, check_source, load_detector, proposal_source
from frcnn_cli.commands.profile_table import print_profile
from frcnn_cli.data.items import ImageFile
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector, find_model
from frcnn_cli.engine.interrupts import delayed_interrupt
from frcnn_cli.engine.sources import ProposalSource
from frcnn_cli.engine.stream import detect_files
from frcnn_cli.errors import DataError, Interrupted
from frcnn_cli.replacing import check_apart


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@option_group(ModelOptions, "model")
@option_group(SourceOptions, "proposals")
@option_group(DetectionConfig, "config")
@option_group(VideoOptions, "videos")
@option_group(DetectOutput, "output")
def detect(
    images: tuple[str, ...],
    model: ModelOptions,
    proposals: SourceOptions,
    config: DetectionConfig,
    videos: VideoOptions,
    output: DetectOutput,
) -> None:
    """Find objects in photographs and videos: files, folders of them, patterns such as 'a/*.jpg', cameras (camera:0,
    rtsp://...), and - for a list of these on standard input.

    Without --weights, the model that comes with the package finds the 20 classes of PASCAL VOC. Results are printed as
    they come. A file that is no image is named on stderr, the others are still done, and the exit code is 1. Ctrl-C
    ends it after the image at hand, with all files whole.

    \b
    frcnn detect photo.jpg
    frcnn detect holiday/ --score 0.7 --save-dir found
    frcnn detect crowd.jpg --scales 480,688,960 --flip-test
    frcnn detect holiday/ --json > found.json
    frcnn detect holiday/ -o found.csv
    frcnn detect holiday/ -o labels --format yolo --crop pieces
    frcnn detect film.mp4 --every 5 --save-dir found
    frcnn detect camera:0 --realtime --fps 20 --jsonl
    find . -name '*.jpg' -print0 | frcnn detect - --jsonl
    """
    check_outputs(output)
    check_videos(videos, proposals, config)
    weights = find_model(model.weights)
    check_source(proposals)
    check_apart([output.output], [weights, proposals.proposals, proposals.network])
    inputs = find_inputs(images)
    for line in inputs.notes:
        err.print(line)
    faults = list(inputs.faults)
    if not inputs.images and not inputs.videos:
        raise DataError(*(faults or ["no image in the list"]))
    source = proposal_source(proposals, inputs.images, model.device, config.max_proposals)
    detector = load_detector(model, proposals)
    with (
        delayed_interrupt() as interrupted,
        open_outputs(output, detector.classes, inputs, config.score_threshold) as outputs,
    ):
        _detect_images(inputs.images, detector, source, config, outputs, interrupted, faults)
        look = VideoDetector(detector, videos, source, config, outputs, interrupted)
        for video in inputs.videos:
            if interrupted.is_set():
                break
            try:
                look.run(video)
            except OutputFault:
                raise
            except DataError as error:
                faults.append(str(error))
    if interrupted.is_set():
        raise Interrupted(_interrupted(inputs, outputs), interrupted.signal, faults)
    if faults:
        raise DataError(*faults)


def _detect_images(
    images: tuple[ImageFile, ...],
    detector: Detector,
    source: ProposalSource,
    config: DetectionConfig,
    outputs: Outputs,
    interrupted: threading.Event,
    faults: list[str],
) -> None:
    """Detect in every image that can be read, and note the faults of the others."""
    looked = detect_files(detector, images, source, config)
    with closing(looked):
        for each in progress_bar("detect")(looked, len(images)) if len(images) > 1 else looked:
            try:
                if each.fault is not None:
                    raise each.fault
                outputs.draw(each.image, each.result)
            except DataError as error:
                faults.append(str(error))
            if each.result is not None:
                outputs.report(each.result)
            if interrupted.is_set():
                break
    print_profile(detector, outputs.images)


def _interrupted(inputs: Inputs, outputs: Outputs) -> str:
    if not inputs.videos:
        return f"interrupted with {outputs.images} of {len(inputs.images)} images done"
    return f"interrupted with {outputs.images} images and {outputs.frames} frames done"
