"""Exported models against torch: the same scores and boxes, for every backbone and size; what cannot be exported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from frcnn_cli.core.boxes import clip, decode
from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.core.normalisation import NORMALISATIONS, Normalisation
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint
from frcnn_cli.engine.export.detector import export_checkpoint
from frcnn_cli.engine.export.metadata import OPSET, OnnxAbout
from frcnn_cli.engine.export.pixels import Pixels
from frcnn_cli.engine.export.quantisation import quantise
from frcnn_cli.errors import UsageError

CLASSES = ("ant", "bee", "cat")


HALF = NORMALISATIONS["half"]
BGR = Normalisation("BGR", 1.0, (103.9, 116.8, 123.7), (58.0, 57.0, 57.0))


def checkpoint_of(architecture: Architecture, normalisation: Normalisation = HALF) -> Checkpoint:
    """A model with random weights, whose answers differ from RoI to RoI."""
    torch.manual_seed(0)
    model = FastRCNN(architecture)
    for layer in (*model.backbone.body.modules(), model.head.fc6, model.head.fc7):
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):  # else the picture fades until all RoIs look alike
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    for layer, std in ((model.head.cls_score, 0.02), (model.head.bbox_pred, 0.002)):
        torch.nn.init.normal_(layer.weight, std=std)
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.running_mean, std=0.1)
            torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return Checkpoint(architecture, CLASSES, normalisation, 96, 160, {}, model.state_dict())


def picture(height: int, width: int) -> np.ndarray:
    """Coloured squares of 8 pixels."""
    colours = np.random.default_rng(0).integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(colours, np.ones((8, 8, 1), np.uint8))[:height, :width])


def boxes_of(height: int, width: int, count: int = 40) -> np.ndarray:
    corners = np.random.default_rng(1).random((count, 2, 2)).astype(np.float32) * (width, height)
    return np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1).astype(np.float32)


def run(model: onnx.ModelProto, image: np.ndarray, rois: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return tuple(session.run(["scores", "boxes"], {"image": image, "rois": rois}))


@torch.inference_mode()
def by_torch(checkpoint: Checkpoint, image: np.ndarray, rois: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    model, boxes = checkpoint.build(), torch.from_numpy(rois)
    tensor = checkpoint.normalisation(torch.from_numpy(image).permute(2, 0, 1))[None]
    logits, deltas = model(tensor, torch.cat((boxes.new_zeros(len(boxes), 1), boxes), dim=1))
    height, width = image.shape[:2]
    return logits.softmax(dim=1).numpy(), clip(decode(boxes[:, None], deltas), width, height).numpy()


MODELS = {
    "vgg16": Architecture("vgg16", 3, roi_size=3, fc_width=16),
    "alexnet": Architecture("alexnet", 3, roi_size=6, fc_width=16, class_agnostic=True),
    "efficientnet_lite0": Architecture(
        "efficientnet_lite0", 3, roi_size=7, fc_width=16, neck=8, class_agnostic=True, fc6_rank=5, fc7_rank=4
    ),
    "without a neck": Architecture("efficientnet_lite0", 3, roi_size=2, fc_width=16),
    "resnet18 of timm": Architecture("resnet18", 3, roi_size=2, fc_width=16),
}


@pytest.mark.parametrize("name", MODELS)
def test_scores_and_boxes_are_those_of_torch(name):
    checkpoint = checkpoint_of(MODELS[name], BGR if name == "vgg16" else HALF)
    model = export_checkpoint(checkpoint, "digest")
    onnx.checker.check_model(model)
    for height, width in ((96, 128), (97, 131), (40, 150)):  # an odd size, and one under the least
        image, rois = picture(height, width), boxes_of(height, width)
        expected_scores, expected_boxes = by_torch(checkpoint, image, rois)
        assert np.ptp(expected_scores[:, 1:], axis=0).min() > 1e-3  # or else all would be equal to anything
        scores, boxes = run(model, image, rois)
        assert boxes.shape == (len(rois), 3, 4)
        np.testing.assert_allclose(scores, expected_scores, atol=1e-4, rtol=0)
        np.testing.assert_allclose(boxes, expected_boxes, atol=1e-4, rtol=1e-5)


def test_no_rois():
    scores, boxes = run(export_checkpoint(checkpoint_of(MODELS["alexnet"]), ""), picture(70, 80), boxes_of(70, 80, 0))
    assert (scores.shape, boxes.shape) == ((0, 4), (0, 3, 4))


def test_what_a_file_says_of_itself():
    checkpoint = checkpoint_of(MODELS["efficientnet_lite0"])
    model = export_checkpoint(checkpoint, "digest")
    about = OnnxAbout.of({entry.key: entry.value for entry in model.metadata_props}, "")
    assert about == OnnxAbout("fast-rcnn", CLASSES, HALF, 96, 160, 8, 7, "digest")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert {value.name for value in model.graph.input} == {"image", "rois"}


@pytest.mark.parametrize("backbone", ["mobilenetv3_small_100", "convnext_atto"])
def test_a_backbone_with_a_layer_that_is_not_known_is_refused(backbone):
    checkpoint = checkpoint_of(Architecture(backbone, 3, roi_size=2, fc_width=16))
    with pytest.raises(UsageError, match="the backbone cannot be exported") as caught:
        export_checkpoint(checkpoint, "")
    assert "\n" not in str(caught.value)


def test_another_kind_of_detector_is_refused():
    with pytest.raises(UsageError, match="cannot be exported, only Fast R-CNN"):
        export_checkpoint(replace(checkpoint_of(MODELS["alexnet"]), kind="rcnn"), "")


# --- eight bits


def test_eight_bits_are_near_float32(tiny_checkpoint):
    checkpoint = load_checkpoint(tiny_checkpoint)
    model = export_checkpoint(checkpoint, "")
    image, rois = picture(96, 128), boxes_of(96, 128)
    small = quantise(model, [(image, rois)], "squares")
    assert len(small.SerializeToString()) < 0.4 * len(model.SerializeToString())
    scores, boxes = run(small, image, rois)
    expected_scores, expected_boxes = run(model, image, rois)
    assert np.corrcoef(scores.ravel(), expected_scores.ravel())[0, 1] > 0.99
    assert np.abs(boxes - expected_boxes).mean() < 1
    about = OnnxAbout.of({entry.key: entry.value for entry in small.metadata_props}, "")
    assert about.int8.calibration == "squares"
    types = {value.name: value.data_type for value in small.graph.initializer}
    assert onnx.TensorProto.INT8 in types.values()


@pytest.mark.parametrize(
    ("normalisation", "zero"), [(HALF, 128), (Normalisation("BGR", 1.0, (100.25,) * 3, (50.0,) * 3), 100)]
)
@pytest.mark.parametrize("name", ["vgg16", "efficientnet_lite0", "resnet18 of timm"])
def test_an_image_s_bytes_serve_as_quantised_pixels(name, normalisation, zero):
    """The same answers as from the model whose quantised input is the normalised image, but for rounding."""
    model = export_checkpoint(checkpoint_of(MODELS[name], normalisation), "")
    image, rois = picture(96, 120), boxes_of(96, 120)
    small = quantise(model, [(image, rois)], "squares")
    inputs = [node.op_type for node in small.graph.node if node.name.startswith("input/")]
    assert not {"Cast", "Mul", "Add", "QuantizeLinear"}.intersection(inputs)
    (pad,) = (node for node in small.graph.node if node.op_type == "Pad" and node.name.startswith("input/"))
    (first,) = (node for node in small.graph.node if pad.output[0] in node.input)
    constants = {value.name: onnx.numpy_helper.to_array(value) for value in small.graph.initializer}
    assert constants[first.input[2]] == zero
    assert constants[first.input[1]] == pytest.approx(normalisation.scale / normalisation.std[0])
    assert constants.keys() <= {name for node in small.graph.node for name in node.input}
    scores, _ = run(small, image, rois)
    expected, _ = run(model, image, rois)
    assert np.corrcoef(scores.ravel(), expected.ravel())[0, 1] > 0.95  # random layers, of eight bits each


def test_what_moves_into_the_bias_changes_nothing_within_the_image():
    model = export_checkpoint(checkpoint_of(MODELS["vgg16"]), "")
    image, rois = picture(200, 200), np.array([[80, 80, 120, 120]], np.float32)
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    Pixels.of(moved, HALF).prepare(moved)
    for before, after in zip(run(model, image, rois), run(moved, image, rois), strict=True):
        assert np.abs(before - after).max() < 1e-4


@pytest.mark.parametrize("name", ["vgg16", "efficientnet_lite0"])
def test_a_channel_of_nothing_changes_nothing(name):
    """Without it, to the bit the same; with it, ONNX Runtime takes four channels at a time."""
    model = export_checkpoint(checkpoint_of(MODELS[name], HALF), "")
    image, rois = picture(97, 120), boxes_of(97, 120)
    wide = quantise(model, [(image, rois)], "squares")
    narrow = onnx.ModelProto()
    narrow.CopyFrom(wide)
    constants = {value.name: value for value in narrow.graph.initializer}
    producers = {name: node for node in narrow.graph.node for name in node.output}
    first = next(node for node in narrow.graph.node if node.op_type == "Conv")
    weights = constants[producers[first.input[1]].input[0]]
    values = onnx.numpy_helper.to_array(weights)
    assert values.shape[1] == 4
    assert not values[:, 3].any()
    weights.CopyFrom(onnx.numpy_helper.from_array(values[:, :3], weights.name))
    pads = constants["pads_of_channels"]
    assert onnx.numpy_helper.to_array(pads).tolist() == [0, 0, 0, 0, 0, 1]
    pads.CopyFrom(onnx.numpy_helper.from_array(np.zeros(6, np.int64), pads.name))
    for found, expected in zip(run(wide, image, rois), run(narrow, image, rois), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_channels_normalised_differently_are_normalised_before():
    checkpoint = checkpoint_of(MODELS["vgg16"], BGR)
    model = export_checkpoint(checkpoint, "")
    assert Pixels.of(model, BGR) is None
    image, rois = picture(96, 120), boxes_of(96, 120)
    scores, _ = run(quantise(model, [(image, rois)], "squares"), image, rois)
    assert np.corrcoef(scores.ravel(), by_torch(checkpoint, image, rois)[0].ravel())[0, 1] > 0.99
