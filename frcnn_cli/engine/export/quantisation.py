"""From float32 to eight bits: static quantisation of an exported detector, one scale for each channel of the weights.

What is quantised is what takes the time: convolutions, the sums between them, fc6 and fc7. Layer norm, the input's
normalisation, the two last layers and what follows them stay float32. The features are quantised once: RoI pooling
takes the same maxima before quantisation and after it, so what is pooled has the features' own scale.

A processor that has AVX2 but no VNNI adds two products of bytes in sixteen bits and cuts off what is too large. ONNX
Runtime avoids that where it is told to (``session.x64quantprecision``), as this package tells it on such a processor:
so every processor finds the same objects, an older one in more time. Who runs the file otherwise should do so too.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from frcnn_cli.engine.export.metadata import (
    BACKBONE,
    FEATURES,
    HEAD,
    IMAGE,
    KEY,
    NECK,
    POOLED,
    ROIS,
    OnnxAbout,
    Quantised,
)
from frcnn_cli.engine.export.pixels import Pixels
from frcnn_cli.errors import UsageError

QUANTISED = {
    BACKBONE: ("Conv", "Add", "Relu", "Clip", "MaxPool"),
    NECK: ("Conv", "Relu"),
    HEAD: ("Gemm", "Relu"),
}
"""Operators that are quantised, in each part of the detector."""


def quantise(model: ModelProto, samples: Iterable[tuple[np.ndarray, np.ndarray]], calibration: str) -> ModelProto:
    """A model of eight bits.

    Args:
        model: as `export_checkpoint` made it.
        samples: an image uint8 RGB [H, W, 3] of the size that the model is for, and RoIs float32 [K, 4] in its pixels,
            each: the range of every activation is what these show.
        calibration: what the samples are, for people.

    Raises:
        UsageError: the features do not end in an activation that is 0 or more.
    """
    about = OnnxAbout.of({entry.key: entry.value for entry in model.metadata_props}, "")
    operators = {node.name: (node.name.partition("/")[0], node.op_type) for node in model.graph.node}
    chosen = [name for name, (part, operator) in operators.items() if operator in QUANTISED.get(part, ())]
    copy = ModelProto()  # the quantiser takes the model it is given apart
    copy.CopyFrom(model)
    pixels = Pixels.of(model, about.normalisation)
    overrides = pixels.prepare(copy) if pixels else {}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        target = Path(folder, "int8.onnx")
        quantize_static(
            copy,
            target,
            _Samples(samples),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted({operator for part in QUANTISED.values() for operator in part}),
            nodes_to_quantize=chosen,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            # The mean of the photographs' extremes: the one with the largest values does not make all others coarse.
            extra_options={"CalibMovingAverage": True, "TensorQuantOverrides": overrides},
        )
        quantised = onnx.load(target)
    if pixels:
        pixels.connect(quantised)
    features, pooled = _share_scale(quantised)
    _drop_unused(quantised)
    about = replace(about, int8=Quantised(calibration, features, pooled))
    helper.set_model_props(quantised, {KEY: about.to_json()})
    return quantised


class _Samples(CalibrationDataReader):
    def __init__(self, samples: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        self.samples = iter(samples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        pair = next(self.samples, None)
        return None if pair is None else dict(zip((IMAGE, ROIS), pair, strict=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser recommends a step before it, which would find nothing to do."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


def _share_scale(model: ModelProto) -> tuple[str, str]:
    """Give what was pooled the features' scale, in place; names of the two quantised values."""
    producers = {name: node for node in model.graph.node for name in node.output}
    before = producers[FEATURES]
    while before.op_type in ("Identity", "DequantizeLinear"):
        before = producers[before.input[0]]
    (after,) = (node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == POOLED)
    constants = {value.name: value for value in model.graph.initializer}
    if before.op_type != "QuantizeLinear" or numpy_helper.to_array(constants[before.input[2]]) != 0:
        raise UsageError("the model cannot be quantised: its features may be less than 0")
    scale = before.input[1:]
    for node in model.graph.node:
        if node is after or after.output[0] in node.input:
            node.input[1:] = scale
    return before.output[0], after.output[0]


def _drop_unused(model: ModelProto) -> None:
    """Leave out constants that no node reads any more, in place."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [value for value in model.graph.initializer if value.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
