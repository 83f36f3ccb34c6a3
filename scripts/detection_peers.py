"""Whole detections side by side: this package's engines, and the small detectors that people use on a CPU.

bench_detection.py runs it. torchvision's models, and ultralytics' where somebody installed it, have random weights (no
download): the network takes the same time, non-maximum suppression less, as nothing is likely.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torchvision.models import detection

from frcnn_cli.data.images import load_image
from frcnn_cli.data.items import ImageFile
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.sources.search import DetectionSearch, SearchSource
from frcnn_cli.engine.stream import detect_files

REFERENCE = "torchvision Faster R-CNN mobilenet 320"
"""What ratios are to."""


@dataclass(frozen=True)
class Taken:
    """What something took: seconds by the clock, and of all cores together."""

    wall: float
    cpu: float

    def over(self, other: Taken) -> tuple[float, float]:
        """The ratios."""
        return self.wall / other.wall, self.cpu / other.cpu


def contenders() -> dict[str, Callable[[np.ndarray], object]]:
    """Functions of an image (uint8 RGB) that find objects in it, proposals and all, by name."""
    found: dict[str, Callable[[np.ndarray], object]] = {}
    for runtime in ("onnx", "torch"):
        detector = Detector.load(runtime=runtime)
        for mode in ("fast", "single"):
            found[f"this package, {runtime}, {mode}"] = _ours(detector, mode)
        if runtime == "onnx":
            plain = DetectionConfig(refine_flip=False)
            found[f"this package, {runtime}, fast, no mirror"] = _ours(detector, "fast", plain)
    for name, build in (
        (REFERENCE, detection.fasterrcnn_mobilenet_v3_large_320_fpn),
        ("torchvision SSDlite mobilenet 320", detection.ssdlite320_mobilenet_v3_large),
    ):
        found[name] = _of_torchvision(build(weights=None, weights_backbone=None).eval())
    if find_spec("ultralytics"):
        from ultralytics import YOLO

        yolo = YOLO("yolo11n.yaml")
        found["ultralytics YOLO11n"] = lambda image: yolo.predict(image[..., ::-1], verbose=False)
    return found


def _ours(detector: Detector, mode: str, config: DetectionConfig | None = None) -> Callable[[np.ndarray], object]:
    from frcnn_cli.engine.detector import detect_image

    source = SearchSource(DetectionSearch(mode))
    return lambda image: detect_image(detector, image, Path("image"), "image", source, config)


def _of_torchvision(model: torch.nn.Module) -> Callable[[np.ndarray], object]:
    @torch.inference_mode()
    def run(image: np.ndarray) -> object:
        return model([torch.from_numpy(image).permute(2, 0, 1).float() / 255])

    return run


def time_side_by_side(paths: list[Path], repeats: int) -> dict[str, Taken]:
    """Each contender's median of an image, in turn (A B C A B C ...), meant over the images.

    A contender's turn is two detections, of which the second is timed: threads of the one before it still wait for work
    in the first, which takes a core from it (it differs by a sixth, depending on who came before).
    """
    runs = contenders()
    taken: dict[str, list[Taken]] = {name: [] for name in runs}
    for path in paths:
        image = load_image(path)
        rounds: dict[str, list[Taken]] = {name: [] for name in runs}
        for repeat in range(repeats + 1):
            for name, run in runs.items():
                run(image)
                one = _timed(run, image)
                if repeat:  # the first round compiles and warms up
                    rounds[name].append(one)
        for name, several in rounds.items():
            taken[name].append(_each(statistics.median, several))
    return {name: _each(statistics.mean, several) for name, several in taken.items()}


def folder_rate(paths: list[Path], repeats: int) -> Taken:
    """Seconds an image of `frcnn detect FOLDER`, reading included: several images are on their way at a time."""
    detector = Detector.load(runtime="onnx")
    items = [ImageFile(path) for path in paths * repeats]
    list(detect_files(detector, items[: len(paths)]))
    taken = _timed(lambda: list(detect_files(detector, items)))
    return Taken(taken.wall / len(items), taken.cpu / len(items))


def cold_start(image: Path, repeats: int) -> dict[str, tuple[Taken, float]]:
    """What a process takes from its start to its end, and the most MB it held, after one that compiles."""
    calls = {
        "python -c 'import torch'": ["-c", "import torch"],
        "frcnn detect photo.jpg": ["-m", "frcnn_cli", "detect", str(image)],
        "frcnn detect photo.jpg --runtime torch": ["-m", "frcnn_cli", "detect", str(image), "--runtime", "torch"],
    }
    taken: dict[str, list[tuple[Taken, float]]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            one = _process(call)
            if repeat:
                taken[name].append(one)
    return {
        name: (_each(statistics.median, [one for one, _ in several]), max(memory for _, memory in several))
        for name, several in taken.items()
    }


# A process counts the memory of the one it was forked from as its own, so a small one in between starts it.
_START = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
wall, usage = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)
"""


def _process(arguments: list[str]) -> tuple[Taken, float]:
    started = subprocess.run([sys.executable, "-c", _START, *arguments], stdout=subprocess.PIPE, check=True)
    code, wall, cpu, memory = map(float, started.stdout.split())
    if code:
        raise RuntimeError(f"{' '.join(arguments)} ended with {code:.0f}")
    return Taken(wall, cpu), memory


def _timed(run: Callable[..., object], *arguments: object) -> Taken:
    wall, cpu = time.perf_counter(), time.process_time()
    run(*arguments)
    return Taken(time.perf_counter() - wall, time.process_time() - cpu)


def _each(mean: Callable[[list[float]], float], several: list[Taken]) -> Taken:
    return Taken(mean([one.wall for one in several]), mean([one.cpu for one in several]))
