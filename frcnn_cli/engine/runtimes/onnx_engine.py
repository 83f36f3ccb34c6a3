"""Running a model by ONNX Runtime, on a CPU. From the image to the boxes nothing waits for torch.

Looks, scores and selection are those of the torch engine (`engine.detectors.fast_rcnn`), on arrays of NumPy.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from frcnn_cli.data.detections import Detections
from frcnn_cli.data.transforms import mirror, scale_image, scale_to
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detectors import FAST_RCNN
from frcnn_cli.engine.distributed import own_cores
from frcnn_cli.engine.export.metadata import digest
from frcnn_cli.engine.runtimes.numpy_boxes import assign_levels, flip, flip_deltas
from frcnn_cli.engine.runtimes.numpy_selection import Scored, look_again, select_detections
from frcnn_cli.engine.runtimes.onnx_model import OnnxModel
from frcnn_cli.engine.stopwatch import SELECTION, PartTimes
from frcnn_cli.errors import DataError, UsageError


def open_checkpoint(path: Path, device: str) -> OnnxEngine:
    """The model of an ONNX file, or of the one that was exported from a checkpoint; see `Runtime`."""
    if device not in ("auto", "cpu"):
        raise UsageError(f"--device {device}: ONNX Runtime runs on the CPU here; --runtime torch runs on others")
    exported = exported_file(path)
    if not exported.is_file():
        raise UsageError(f"--runtime onnx: no {exported}; make it: frcnn export {path} -o {exported}")
    engine = OnnxEngine(OnnxModel(exported), own_cores())
    if exported != path and engine.model.about.checkpoint != digest(path):
        raise DataError(f"{exported}: not exported from {path} as it is now; frcnn export {path} -o {exported}")
    return engine


def exported_file(path: Path) -> Path:
    """The ONNX file that belongs to a checkpoint, beside it under the same name; an ONNX file's is itself."""
    return path.with_suffix(".onnx")


class OnnxEngine:
    """A model in ONNX Runtime; an `Engine` that can look at an image before there are proposals.

    Args:
        model: of a Fast R-CNN.
        threads: to use.

    Raises:
        DataError: of another kind, or ONNX Runtime cannot run it.
    """

    needs_proposals = True

    def __init__(self, model: OnnxModel, threads: int) -> None:
        if model.about.kind != FAST_RCNN:
            raise DataError(f"a detector of the kind {model.about.kind!r}; ONNX Runtime runs {FAST_RCNN} here")
        model.open(_half(threads), threads)
        self.model = model
        self.classes = model.about.classes
        self.at_once = self.threads = threads

    def measure(self, times: PartTimes) -> None:
        """Add the seconds of each part to `times` from now on."""
        self.model.times = times

    def warm_up(self) -> None:
        """Have numba compile what it has to."""
        features = self.model.features(np.zeros((64, 64, 3), np.uint8), _half(self.threads))
        self.model.pool(features, np.array([[0, 0, 64, 64]], np.float32), 1)

    def sharing(self, images: int) -> OnnxEngine:
        """See `EarlyEngine.sharing`."""
        return OnnxEngine(self.model, max(self.threads // images, 1))

    def detect(self, image: np.ndarray, proposals: np.ndarray | None, config: DetectionConfig) -> Detections:
        """See `Engine.detect`."""
        return Look(self.model, image, config, self.threads).detect(proposals)

    def look(self, image: np.ndarray, config: DetectionConfig) -> Look:
        """Compute what needs no proposals; see `EarlyEngine`."""
        return Look(self.model, image, config, self.threads).begin()


def _half(threads: int) -> int:
    """Half of these threads: what looks at an image while it is searched."""
    return max(threads // 2, 1)


@dataclass(frozen=True)
class _Begun:
    """One size of an image while it is looked at.

    Attributes:
        sides: the image, and its mirror image if wanted, each with its features to come.
        ratio: what boxes are multiplied with.
        threads: that look at a side.
    """

    sides: list[tuple[np.ndarray, Future[np.ndarray]]]
    ratio: np.ndarray
    threads: int


class Look:
    """An image as the network sees it: at one size, or at several, and in the mirror if wanted.

    Args:
        model: the network.
        image: uint8 RGB [H, W, 3].
        config: how closely.
        threads: to use.
    """

    def __init__(self, model: OnnxModel, image: np.ndarray, config: DetectionConfig, threads: int) -> None:
        self.model, self.image, self.config, self.threads = model, image, config, threads
        about = model.about
        height, width = image.shape[:2]
        short_sides = sorted(config.short_sides or (about.short_side,))
        long_side = config.long_side or round(about.long_side * short_sides[-1] / about.short_side)
        self.factors = [scale_to(width, height, short_side, long_side) for short_side in short_sides]
        self.lasting = len(self.factors) == 1 and self._mirrored()
        self._begun: dict[int, _Begun] = {}
        self._views: dict[int, tuple[list[np.ndarray], np.ndarray, int]] = {}

    def begin(self) -> Look:
        """Begin to compute the features of an image that is looked at in one size; which of several are needed, boxes
        tell."""
        if len(self.factors) == 1:
            self._begin(0, _half(self.threads))
        return self

    def detect(self, proposals: np.ndarray) -> Detections:
        """See `Engine.detect`."""
        if len(proposals) == 0:
            return Detections.empty()
        levels = assign_levels(proposals, np.array(self.factors))
        parts = [self._score_at(level, proposals[levels == level]) for level in np.unique(levels).tolist()]
        height, width = self.image.shape[:2]
        scored = tuple(np.concatenate(part) for part in zip(*parts, strict=True))
        with self.model.times.part(SELECTION):
            return select_detections(scored, (width, height), self.config)

    def _mirrored(self) -> bool:
        """Whether the mirrored image is looked at too."""
        return self.config.flip or bool(self.config.refine and self.config.refine_flip)

    def _view(self, level: int) -> tuple[list[np.ndarray], np.ndarray, int]:
        """Features, and those of the mirrored image if wanted; what boxes are multiplied with; the width in pixels."""
        if level not in self._views:
            if level not in self._begun:
                self._begin(level, _half(self.threads) if self._mirrored() else self.threads)
            view = self._begun.pop(level)
            # The search may have ended before the second side was begun with: then it is looked at here.
            features = [
                self.model.features(side, view.threads) if self.threads > 1 and future.cancel() else future.result()
                for side, future in reversed(view.sides)
            ]
            self._views[level] = features[::-1], view.ratio, view.sides[0][0].shape[1]
        return self._views[level]

    def _begin(self, level: int, threads: int) -> None:
        """Begin to compute the features of one size of the image, one side after the other."""
        scaled, ratio = scale_image(self.image, self.factors[level])
        pool = ThreadPoolExecutor(1)
        sides = [scaled, mirror(scaled)] if self._mirrored() else [scaled]
        futures = [pool.submit(self.model.features, side, threads) for side in sides]
        pool.shutdown(wait=False)
        self._begun[level] = _Begun(list(zip(sides, futures, strict=True)), ratio, threads)

    def _score_at(self, level: int, boxes: np.ndarray) -> Scored:
        """Boxes, probabilities and deltas at one size of the image."""
        height, width = self.image.shape[:2]
        config = self.config
        scored = (boxes, *self._score(level, config.flip, boxes))
        if config.refine:
            again = partial(self._score, level, config.flip or config.refine_flip)
            return look_again(again, scored, config.refine, (width, height))
        return scored

    def _score(self, level: int, mirrored: bool, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and deltas of boxes in pixels of the image, averaged with what the mirror gives if wanted."""
        (features, *others), ratio, width = self._view(level)
        boxes = boxes * ratio
        probabilities, deltas = self._score_on(features, boxes)
        if mirrored:
            other, other_deltas = self._score_on(others[0], flip(boxes, width))
            probabilities, deltas = (probabilities + other) / 2, (deltas + flip_deltas(other_deltas)) / 2
        return probabilities, deltas

    def _score_on(self, features: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `FastRCNN.score_on`: RoIs whose corners round to the same cells share one pass through the head."""
        stride = self.model.about.stride
        cells = np.floor(boxes / np.float32(stride) + np.float32(0.5))
        # Four numbers under 2**16 in one: whole rows take ten times as long to tell apart.
        keys = cells.astype(np.int64) @ (np.int64(1) << np.array((48, 32, 16, 0)))
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        pooled = self.model.pool(features, cells[first] * np.float32(stride), self.threads)
        probabilities, deltas = self.model.answer(pooled, self.threads)
        return probabilities[inverse], deltas[inverse]
