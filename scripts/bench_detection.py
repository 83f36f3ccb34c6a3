"""Where the time of a detection goes, what each choice of this project buys, and how long others take, in one run.

    python scripts/bench_detection.py [--weights CHECKPOINT] [--images DIR] [--repeats 5] [--json FILE] [--whole]

Each part is timed side by side with what it replaces, in turn (A B A B ...), and medians are compared: times depend on
the machine, ratios hardly do, so those are printed (--json has the seconds). RoI pooling is compared with
torchvision.ops.roi_pool on the same map and RoIs; the head of the model with the same head before compression (its two
layers multiplied together again). Those are parts of the torch engine; --whole adds whole detections by both engines
beside torchvision's small detectors, how fast a folder goes, and what a single `frcnn detect` takes from its start. On
a machine that others use too, the column of processor time says more than that of the clock.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
import torchvision
from detection_peers import REFERENCE, Taken, cold_start, folder_rate, time_side_by_side
from rich.console import Console
from rich.table import Table
from torch import nn

from frcnn_cli.core.detection import select_detections
from frcnn_cli.core.roi_pool import roi_pool
from frcnn_cli.core.svd import LowRankLinear
from frcnn_cli.data.images import find_images, load_image
from frcnn_cli.data.transforms import scale_image, scale_to
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.sources.search import SearchSource

ROOT = Path(__file__).parent.parent


@click.command()
@click.option("--weights", type=click.Path(path_type=Path), help="A checkpoint.  [default: the bundled model]")
@click.option("--images", type=click.Path(path_type=Path), default=ROOT / "tests/data/JPEGImages")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the figures here.")
@click.option("--whole", is_flag=True, help="Whole detections too, beside those of others.")
def main(weights: Path | None, images: Path, repeats: int, json_file: Path | None, whole: bool) -> None:
    """Time a detection, part by part."""
    detector = Detector.load(weights, runtime="torch")
    measured: dict[str, list[float]] = {}
    boxes = 0
    for path in find_images([images]):
        image = load_image(path)
        for name, seconds in time_image(detector, image, repeats).items():
            measured.setdefault(name, []).append(seconds)
        boxes += len(SearchSource().boxes(image))
    means = {name: statistics.mean(seconds) for name, seconds in measured.items()}
    count = len(measured["proposals"])
    print_table(means, count, boxes / count)
    if whole:
        print_whole(find_images([images]), repeats)
    if json_file:
        json_file.write_text(json.dumps({"images": count, "boxes": boxes / count, "seconds": means}, indent=2) + "\n")


@torch.inference_mode()
def time_image(detector: Detector, image, repeats: int) -> dict[str, float]:
    """Median seconds of each part, and of what it is compared with, on one image."""
    engine, search = detector.engine, SearchSource()
    model = engine.model
    height, width = image.shape[:2]
    proposals = torch.from_numpy(search.boxes(image))
    scaled, ratio = scale_image(image, scale_to(width, height, engine.short_side, engine.long_side))
    ratio = torch.from_numpy(ratio)
    tensor = engine.normalisation(torch.from_numpy(scaled).permute(2, 0, 1))[None]
    rois = torch.cat((torch.zeros(len(proposals), 1), proposals * ratio), dim=1)
    features = model.backbone(tensor)
    pooled = model.roi_pool(features, rois)
    full_head = uncompressed(model.head)
    probabilities, deltas = model.score(tensor[0], proposals * ratio)
    size = model.architecture.roi_size
    parts: dict[str, Callable[[], object]] = {
        "proposals": lambda: search.boxes(image),
        "backbone": lambda: model.backbone(tensor),
        "RoI pooling": lambda: roi_pool(features, rois, size, 1 / model.backbone.stride),
        "RoI pooling, torchvision": lambda: torchvision.ops.roi_pool(features, rois, size, 1 / model.backbone.stride),
        "head": lambda: model.head(pooled),
        "head, uncompressed": lambda: full_head(pooled),
        "decode and NMS": lambda: select_detections(probabilities, deltas, proposals, (width, height), 0.05, 0.3, 100),
    }
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for repeat in range(repeats + 1):
        for name, run in parts.items():
            start = time.perf_counter()
            run()
            if repeat:  # the first round compiles and warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def uncompressed(head: nn.Module) -> Callable[[torch.Tensor], object]:
    """The head with each compressed layer multiplied out to one, as large as before compression."""
    layers = {}
    for name in ("fc6", "fc7"):
        layer = getattr(head, name)
        if isinstance(layer, LowRankLinear):
            whole = nn.Linear(layer.first.in_features, layer.second.out_features)
            whole.weight.copy_(layer.second.weight @ layer.first.weight)
            whole.bias.copy_(layer.second.bias)
            layer = whole
        layers[name] = layer

    def run(pooled: torch.Tensor) -> object:
        x = pooled.permute(0, 2, 3, 1).flatten(1)
        x = layers["fc7"](layers["fc6"](x).relu()).relu()
        return head.cls_score(x), head.bbox_pred(x)

    return run


def print_table(means: dict[str, float], count: int, boxes: float) -> None:
    """Each part's share of a detection, and how much longer what it is compared with takes."""
    table = Table("part", "share", "beside", "takes")
    for column in (table.columns[1], table.columns[3]):
        column.justify = "right"
    peers = {"RoI pooling": "torchvision.ops.roi_pool", "head": "the head before compression"}
    keys = {"RoI pooling": "RoI pooling, torchvision", "head": "head, uncompressed"}
    parts = ("proposals", "backbone", "RoI pooling", "head", "decode and NMS")
    whole = sum(means[name] for name in parts)
    for name in parts:
        peer = (peers[name], f"{means[keys[name]] / means[name]:.1f} times as long") if name in peers else ()
        table.add_row(name, f"{means[name] / whole:.1%}", *peer)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(f"means over {count} images of {boxes:.0f} proposals each, {torch.get_num_threads()} threads")


def print_whole(paths: list[Path], repeats: int) -> None:
    """Whole detections, a folder, and single calls of the command."""
    console = Console(highlight=False, soft_wrap=True)
    taken = time_side_by_side(paths, repeats)
    print_ratios(console, "a detection", taken, REFERENCE)
    folder = folder_rate(paths, repeats)
    console.print(f"a folder: {1 / folder.wall:.1f} images a second; {folder.cpu:.3f} s of processor time an image")
    calls = cold_start(paths[0], max(repeats // 2, 1))
    print_ratios(console, "from start to end", {name: one for name, (one, _) in calls.items()}, next(iter(calls)))
    for name, (_, memory) in calls.items():
        console.print(f"{name}: at most {memory:.0f} MB")


def print_ratios(console: Console, what: str, taken: dict[str, Taken], reference: str) -> None:
    """Seconds of each, and what they are times those of a reference."""
    table = Table(what, "s", "times", "processor s", "times")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, one in taken.items():
        wall, cpu = one.over(taken[reference])
        table.add_row(name, f"{one.wall:.3f}", f"{wall:.2f}", f"{one.cpu:.3f}", f"{cpu:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
