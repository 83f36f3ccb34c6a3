"""What an exported model says of itself: JSON under the key ``frcnn`` of the ONNX file's metadata.

{"format": "frcnn-onnx", "version": 1, "kind": "fast-rcnn", "classes": ["aeroplane", ...],
 "normalisation": {"order": "RGB", "scale": 0.0039, "mean": [...], "std": [...]}, "short_side": 480,
 "long_side": 800, "stride": 8, "roi_size": 7, "checkpoint": "sha256 of its file", "int8": {...} or null}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from frcnn_cli.core.normalisation import Normalisation
from frcnn_cli.engine.checkpoint_metadata import read_classes, read_count, read_normalisation, read_sides
from frcnn_cli.errors import DataError
from frcnn_cli.files import read_bytes

KEY = "frcnn"
FORMAT = "frcnn-onnx"
VERSION = 1

OPSET = 17
"""Of ONNX: the first with layer norm; what reads ONNX has had it since 2022."""

IMAGE, ROIS, FEATURES, POOLED, SCORES, DELTAS, BOXES = (
    "image",
    "rois",
    "features",
    "pooled",
    "scores",
    "deltas",
    "boxes",
)
"""Names of the graph's values. Where it is cut in two, `FEATURES` is the backbone's result and `POOLED` what the head
reads; a graph of eight bits has the same values quantised, under the names in `Quantised`."""

INPUT, BACKBONE, NECK, POOLING, HEAD, ANSWERS = "input", "backbone", "neck", "pooling", "head", "answers"
"""Parts of the detector, which the names of their nodes begin with: `HEAD` is fc6 and fc7, `ANSWERS` the two layers on
them."""

OPERATORS = frozenset(
    (
        "Add", "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "DequantizeLinear", "Exp", "Expand", "Flatten",
        "Gather", "Gemm", "Identity", "LayerNormalization", "Max", "MaxPool", "MaxRoiPool", "Min", "Mul", "Pad",
        "QuantizeLinear", "Relu", "Reshape", "Resize", "Shape", "Slice", "Softmax", "Sub", "Transpose", "Unsqueeze",
    )
)  # fmt: skip
"""Those that an exported model is made of. A file with others is not run: some make gigabytes of a number, or loop."""

MOST_CELLS = 2**10
"""Of a side of what a RoI is pooled to, and the most pixels of a cell's side."""


@dataclass(frozen=True)
class Quantised:
    """How a model came to eight bits.

    Attributes:
        calibration: what it was calibrated on, for people.
        features: the name of the quantised features, uint8, among which 0 stands for 0.
        pooled: likewise of what was pooled from them, of the same scale.
    """

    calibration: str
    features: str
    pooled: str


@dataclass(frozen=True)
class OnnxAbout:
    """What has to be known of a model beside its graph.

    Attributes:
        kind: of detector, a name of `DETECTORS`.
        classes: names of the labels 1, 2, ...
        normalisation: of the input; the graph does it.
        short_side: test scale in pixels: images are brought to this shorter side ...
        long_side: ... unless the longer would pass this.
        stride: pixels of a cell of the features.
        roi_size: P.
        checkpoint: SHA-256 of the checkpoint's file, in hexadecimal.
        int8: None for float32.
    """

    kind: str
    classes: tuple[str, ...]
    normalisation: Normalisation
    short_side: int
    long_side: int
    stride: int
    roi_size: int
    checkpoint: str
    int8: Quantised | None = None

    def to_json(self) -> str:
        """As it is written into the file."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)})

    @classmethod
    def of(cls, metadata: Mapping[str, str], path: str | Path) -> OnnxAbout:
        """Read what a file's metadata say.

        Args:
            metadata: all of it, by key.
            path: of the file, for messages.

        Raises:
            DataError: the file is not one that `frcnn export` wrote, or of another version.
        """
        try:
            about = json.loads(metadata[KEY])
            if about.pop("format") != FORMAT:
                raise KeyError("format")
            version = about.pop("version")
            if version != VERSION:
                raise DataError(f"{path}: version {version!r} of the format; this program reads {VERSION}")
            return cls._of(about)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise DataError(f"{path}: an ONNX model, but not one of `frcnn export` (no usable metadata)") from error

    @classmethod
    def _of(cls, about: dict[str, Any]) -> OnnxAbout:
        int8 = None if about["int8"] is None else Quantised(**about["int8"])
        short_side, long_side = read_sides(about["short_side"], about["long_side"])
        texts = [about["kind"], about["checkpoint"], *(asdict(int8).values() if int8 else ())]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a name that is no text")
        return cls(
            kind=about["kind"],
            classes=read_classes(about["classes"]),
            normalisation=read_normalisation(about["normalisation"]),
            short_side=short_side,
            long_side=long_side,
            stride=read_count(about["stride"], most=MOST_CELLS),
            roi_size=read_count(about["roi_size"], most=MOST_CELLS),
            checkpoint=about["checkpoint"],
            int8=int8,
        )


def digest(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal: which checkpoint a model was exported from.

    Raises:
        DataError: the file cannot be read.
    """
    return hashlib.sha256(read_bytes(path)).hexdigest()
