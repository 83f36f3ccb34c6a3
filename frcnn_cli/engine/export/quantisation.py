"""From float32 to eight bits: static quantisation of an exported detector, one scale for each channel of the weights.

What is quantised is what takes the time: convolutions, the sums between them, fc6 and fc7. Layer norm, the input's
normalisation, the two last layers and what follows them stay float32. The features are quantised once, and RoI pooling,
whose maximum is the same before quantisation and after it, leaves their scale as it is.

Weights have seven bits. With eight, a processor that has AVX2 and no VNNI adds two products in sixteen bits and cuts
off what is too large; so every processor finds the same objects, an older one in more time.
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

from frcnn_cli.engine.export.metadata import FEATURES, IMAGE, KEY, POOLED, ROIS, OnnxAbout, Quantised
from frcnn_cli.errors import UsageError

_OPERATORS = ["Conv", "Gemm", "Add", "Relu", "Clip", "MaxPool"]
_ROUNDS = 16  # of images whose ranges are taken in one pass, as all their activations wait in memory


def quantise(model: ModelProto, samples: Iterable[tuple[np.ndarray, np.ndarray]], calibration: str) -> ModelProto:
    """A model of eight bits.

    Args:
        model: as `export_checkpoint` made it.
        samples: pairs of an image uint8 RGB [H, W, 3] of the size the model is for and RoIs float32 [K, 4] in its
            pixels; they show the range of every activation.
        calibration: what the samples are, for people.

    Raises:
        UsageError: the model's features cannot be quantised.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(model.SerializeToString())
        quantize_static(
            source,
            target,
            _Samples(samples),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            nodes_to_exclude=_left_in_float(model),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        quantised = onnx.load(target)
    features, pooled, zero_point = _share_scale(quantised)
    (about,) = (OnnxAbout.of({entry.key: entry.value}, "") for entry in model.metadata_props if entry.key == KEY)
    about = replace(about, int8=Quantised(calibration, features, pooled, zero_point))
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
    """The quantiser recommends a step before it, of which nothing is left to do here."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


