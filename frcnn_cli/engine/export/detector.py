"""The whole detector as one ONNX graph: an image and RoIs in, scores and boxes out.

Inputs: ``image``, uint8 RGB [H, W, 3], brought to the size that the metadata say; ``rois``, float32 [K, 4], xyxy in its
pixels. Outputs: ``scores``, float32 [K, 1 + C], rows sum to 1, background first; ``boxes``, float32 [K, C, 4], each
class's own box of a RoI, cut to the image. H, W and K are free.

RoI pooling is ONNX's MaxRoiPool, whose rounding in ONNX Runtime is that of the paper's code, to the bit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper
from torch import nn

from frcnn_cli.core.backbones.network import SMALLEST_INPUT
from frcnn_cli.core.boxes import MAX_LOG_SCALE
from frcnn_cli.core.model import FastRCNN, Head
from frcnn_cli.core.normalisation import Normalisation
from frcnn_cli.core.svd import LowRankLinear
from frcnn_cli.engine.checkpoint import Checkpoint
from frcnn_cli.engine.detectors import DETECTORS, FAST_RCNN
from frcnn_cli.engine.export.graph import GraphBuilder
from frcnn_cli.engine.export.layers import add_neck, add_network, array
from frcnn_cli.engine.export.metadata import (
    ANSWERS,
    BACKBONE,
    BOXES,
    DELTAS,
    FEATURES,
    HEAD,
    IMAGE,
    INPUT,
    POOLED,
    POOLING,
    ROIS,
    SCORES,
    OnnxAbout,
)
from frcnn_cli.errors import UsageError
from frcnn_cli.files import atomic_write


def export_checkpoint(checkpoint: Checkpoint, digest: str) -> ModelProto:
    """The detector of a checkpoint, in float32.

    Args:
        checkpoint: a Fast R-CNN.
        digest: of its file; see `metadata.digest`.

    Raises:
        UsageError: a detector of another kind, or a backbone with a layer that is not known here.
    """
    if checkpoint.kind != FAST_RCNN:
        raise UsageError(f"{DETECTORS[checkpoint.kind].title} cannot be exported, only Fast R-CNN")
    model = checkpoint.build()
    builder = GraphBuilder()
    _add_features(builder, model, checkpoint.normalisation)
    _add_pooling(builder, model)
    deltas = _add_head(builder, model.head)
    _add_boxes(builder, deltas, len(checkpoint.classes))
    about = OnnxAbout(
        kind=checkpoint.kind,
        classes=checkpoint.classes,
        normalisation=checkpoint.normalisation,
        short_side=checkpoint.short_side,
        long_side=checkpoint.long_side,
        stride=model.backbone.stride,
        roi_size=checkpoint.architecture.roi_size,
        checkpoint=digest,
    )
    count = len(checkpoint.classes)
    inputs = [
        helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["height", "width", 3]),
        helper.make_tensor_value_info(ROIS, TensorProto.FLOAT, ["count", 4]),
    ]
    outputs = [
        helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, ["count", 1 + count]),
        helper.make_tensor_value_info(BOXES, TensorProto.FLOAT, ["count", count, 4]),
    ]
    return builder.model(inputs, outputs, about)


def save_model(path: str | Path, model: ModelProto) -> None:
    """Write a model in one piece.

    Raises:
        DataError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _add_features(builder: GraphBuilder, model: FastRCNN, normalisation: Normalisation) -> None:
    builder.part = INPUT
    x = builder.add("Transpose", IMAGE, perm=[2, 0, 1])
    if normalisation.order == "BGR":
        x = builder.add("Gather", x, builder.constant([2, 1, 0], np.int64), axis=0)
    mean, std = (np.array(part).reshape(1, 3, 1, 1) for part in (normalisation.mean, normalisation.std))
    x = builder.add("Cast", x, to=TensorProto.FLOAT)
    x = builder.add("Unsqueeze", x, builder.constant([0], np.int64))
    # (x * scale - mean) / std, in two passes over the image instead of three.
    x = builder.add("Mul", x, builder.constant(normalisation.scale / std))
    x = builder.add("Add", x, builder.constant(-mean / std))
    x = _pad_to_smallest(builder, x)
    builder.part = BACKBONE
    maps = add_network(builder, model.backbone.body, x)
    features = add_neck(builder, model.backbone.neck, maps) if model.backbone.neck is not None else maps[0]
    builder.add("Identity", features, output=FEATURES)


def _pad_to_smallest(builder: GraphBuilder, x: str) -> str:
    """As `Backbone.forward` does with images under `SMALLEST_INPUT`."""
    missing = builder.add("Sub", builder.constant([SMALLEST_INPUT] * 2, np.int64), builder.add("Shape", x, start=2))
    missing = builder.add("Max", missing, builder.constant([0, 0], np.int64))
    pads = builder.add("Concat", builder.constant([0] * 6, np.int64), missing, axis=0)
    return builder.add("Pad", x, pads)


def _add_pooling(builder: GraphBuilder, model: FastRCNN) -> None:
    builder.part = POOLING
    size = model.architecture.roi_size
    rois = builder.add("Pad", ROIS, builder.constant([0, 1, 0, 0], np.int64))  # the image's number, 0, before each
    pooled = builder.add(
        "MaxRoiPool", FEATURES, rois, pooled_shape=[size, size], spatial_scale=1 / model.backbone.stride
    )
    builder.add("Flatten", builder.add("Transpose", pooled, perm=[0, 2, 3, 1]), output=POOLED, axis=1)


def _add_head(builder: GraphBuilder, head: Head) -> str:
    builder.part = HEAD
    x = POOLED
    for layer in (head.fc6, head.fc7):
        x = builder.add("Relu", _add_linear(builder, layer, x))
    builder.part = ANSWERS
    builder.add("Softmax", _add_linear(builder, head.cls_score, x), output=SCORES, axis=1)
    deltas = _add_linear(builder, head.bbox_pred, x)
    boxes = head.bbox_pred.out_features // 4
    return builder.add("Reshape", deltas, builder.constant([-1, boxes, 4], np.int64), output=DELTAS)


def _add_linear(builder: GraphBuilder, layer: nn.Module, x: str) -> str:
    if isinstance(layer, LowRankLinear):
        return _add_linear(builder, layer.second, _add_linear(builder, layer.first, x))
    inputs = [x, builder.constant(array(layer.weight))]
    if layer.bias is not None:
        inputs.append(builder.constant(array(layer.bias)))
    return builder.add("Gemm", *inputs, transB=1)


def _add_boxes(builder: GraphBuilder, deltas: str, classes: int) -> None:
    """As `core.boxes.decode` and `clip`."""

    builder.part = "boxes"

    def pair(x: str, begin: int, axis: int) -> str:
        bounds = (builder.constant([value], np.int64) for value in (begin, begin + 2, axis))
        return builder.add("Slice", x, *bounds)

    corner = pair(ROIS, 0, 1)
    size = builder.add("Sub", pair(ROIS, 2, 1), corner)
    half = builder.constant(0.5)
    centre = builder.add("Add", corner, builder.add("Mul", size, half))
    axis = builder.constant([1], np.int64)
    size, centre = (builder.add("Unsqueeze", x, axis) for x in (size, centre))  # the same for every class
    centre = builder.add("Add", centre, builder.add("Mul", pair(deltas, 0, 2), size))
    growth = builder.add("Exp", builder.add("Min", pair(deltas, 2, 2), builder.constant(MAX_LOG_SCALE)))
    reach = builder.add("Mul", builder.add("Mul", size, half), growth)
    corners = builder.add("Sub", centre, reach), builder.add("Add", centre, reach)
    boxes = builder.add("Concat", *corners, axis=2)
    sides = builder.add("Gather", builder.add("Shape", IMAGE), builder.constant([1, 0, 1, 0], np.int64))
    limit = builder.add("Cast", sides, to=TensorProto.FLOAT)
    boxes = builder.add("Min", builder.add("Max", boxes, builder.constant(0)), limit)
    builder.add("Expand", boxes, builder.constant([1, classes, 1], np.int64), output=BOXES)
