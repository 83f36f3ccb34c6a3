"""Detection by ONNX Runtime against torch's, on photographs and odd shapes; files that it cannot run."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from frcnn_cli.core import boxes as torch_boxes
from frcnn_cli.core.detection import select_detections as torch_select
from frcnn_cli.core.pyramid import assign_levels as torch_levels
from frcnn_cli.data.images import load_image
from frcnn_cli.data.items import ImageFile
from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.detection_config import EVALUATION, DetectionConfig
from frcnn_cli.engine.detector import BUNDLED_MODEL, Detector
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.engine.export.detector import export_checkpoint, save_model
from frcnn_cli.engine.export.metadata import FEATURES, IMAGE, KEY, digest
from frcnn_cli.engine.runtimes import numpy_boxes
from frcnn_cli.engine.runtimes.numpy_selection import select_detections
from frcnn_cli.engine.runtimes.onnx_engine import OnnxEngine
from frcnn_cli.engine.runtimes.onnx_model import OnnxModel
from frcnn_cli.engine.runtimes.torch_engine import TorchEngine
from frcnn_cli.engine.stream import detect_files
from frcnn_cli.errors import UsageError
from proposals import selective_search


@pytest.fixture(scope="module")
def exported(tiny_checkpoint, tmp_path_factory) -> Path:
    """A copy of the small checkpoint with its ONNX file beside it; the path is the checkpoint's."""
    path = tmp_path_factory.mktemp("exported") / "tiny.safetensors"
    shutil.copy(tiny_checkpoint, path)
    save_model(path.with_suffix(".onnx"), export_checkpoint(load_checkpoint(path), digest(path)))
    return path


@pytest.fixture(scope="module")
def both(exported) -> tuple[Detector, Detector]:
    """The same model in ONNX Runtime and in torch."""
    return Detector.load(exported, runtime="onnx"), Detector.load(exported, runtime="torch")


LOOKS = {
    "plain": DetectionConfig(score_threshold=0.1),
    "evaluation": EVALUATION,
    "as the paper selects": replace(EVALUATION, nms_threshold=0.3, box_voting=False, refine=0),
    "several sizes, mirrored": replace(EVALUATION, scales=(64, 96, 150), flip=True),
    "all": DetectionConfig(score_threshold=0.0, nms_threshold=1.0, max_detections=10**6, refine=7),
}


def assert_same(found, expected, share: float = 1.0) -> None:
    """Scores to 1e-3; so large a share of the boxes to half a pixel.

    Of the random model's RoIs many have one score, to the last bits, in which the two differ; which of those
    non-maximum suppression keeps is then left to chance.
    """
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
    near = []
    for label in np.unique(expected.labels):
        ours, theirs = (part.boxes[part.labels == label] for part in (found, expected))
        distance = np.abs(ours[:, None] - theirs[None]).max(axis=2, initial=0)
        assert distance.shape[0] == distance.shape[1]
        near += (distance.min(axis=1) < 0.5).tolist()
    assert sum(near) >= share * len(near)


@pytest.mark.parametrize("name", ["dog_bicycle", "cow"])
def test_photographs_by_the_bundled_model_in_float32(photographs, tmp_path, name):
    path = tmp_path / "bundled.onnx"
    save_model(path, export_checkpoint(load_checkpoint(BUNDLED_MODEL), ""))
    image = load_image(photographs / "JPEGImages" / f"{name}.jpg")
    boxes = selective_search(image)
    found, expected = (
        detector.detect(image, boxes) for detector in (Detector.load(path), Detector.load(runtime="torch"))
    )
    assert len(expected) > 2
    assert_same(found, expected)


@pytest.mark.parametrize("looks", LOOKS)
def test_detections_are_those_of_torch(both, tiny_dataset, tiny_proposals, looks):
    total = 0
    for record in tiny_dataset.records[:3]:
        image = load_image(record.path)
        boxes = tiny_proposals.boxes(image, record.id)
        found, expected = (detector.detect(image, boxes, LOOKS[looks]) for detector in both)
        assert_same(found, expected, 0.97)
        total += len(expected)
    assert total > 10


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (400, 9), (9, 400)])
def test_odd_shapes(both, size):
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    found, expected = (detector.detect(image, score=0.01, refine=0) for detector in both)
    assert_same(found, expected, 0.97)


def test_no_proposals(both):
    nothing = np.zeros((0, 4), np.float32)
    assert len(both[0].detect(np.zeros((50, 40, 3), np.uint8), nothing, EVALUATION)) == 0


def test_a_data_set_is_scored_alike(both, tiny_dataset, tiny_proposals):
    """Images that are looked at together come out in their order."""
    ours, theirs = (evaluate_dataset(detector, tiny_dataset, tiny_proposals) for detector in both)
    assert [result.id for result in ours.results] == [record.id for record in tiny_dataset.records]
    for found, expected in zip(ours.detections, theirs.detections, strict=True):
        assert_same(found, expected, 0.97)
    assert ours.ap.mean_ap == pytest.approx(theirs.ap.mean_ap, abs=0.01)


def test_images_looked_at_together_give_what_each_gives_alone(both, photographs):
    """Threads share a model, and each takes its share of the cores: 3 // 3 = 1."""
    engine = OnnxEngine(both[0].engine.model, 3)
    items = [ImageFile(path) for path in sorted((photographs / "JPEGImages").iterdir())[:6]]
    found = [looked.result.detections for looked in detect_files(Detector(engine), items, config=EVALUATION)]
    for item, together in zip(items, found, strict=True):
        alone = both[0].detect(item.path, config=EVALUATION)
        assert_same(together, alone)


def test_numpy_s_mathematics_is_torch_s():
    generator = np.random.default_rng(0)
    corners = (generator.random((60, 2, 2)) * 300).astype(np.float32)
    a = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    b, deltas = a[::-1].copy(), generator.standard_normal((60, 5, 4)).astype(np.float32) * 2
    a[3] = (5, 5, 5, 5)  # without an area

    def same(name, *arguments):
        tensors = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in arguments]
        function = torch_levels if name == "assign_levels" else getattr(torch_boxes, name)
        expected = function(*tensors).numpy()
        np.testing.assert_allclose(getattr(numpy_boxes, name)(*arguments), expected, rtol=1e-5, atol=1e-4)

    same("area", a)
    same("iou", a, b)
    same("decode", a[:, None], deltas)
    same("clip", a - 100, 90, 70)
    same("flip", a, 300)
    same("flip_deltas", deltas)
    same("assign_levels", a, np.array((0.5, 1.0, 3.0), np.float32))
    probabilities = generator.dirichlet(np.ones(6), 60).astype(np.float32)
    config = DetectionConfig(score_threshold=0.1, nms_threshold=0.4)
    found = select_detections((a, probabilities, deltas), (300, 300), config)
    tensors = (torch.from_numpy(x) for x in (probabilities, deltas, a))
    expected = torch_select(*tensors, (300, 300), 0.1, 0.4, 100, True)
    for ours, theirs in zip((found.boxes, found.scores, found.labels), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-3)
    assert len(found) > 20


# --- which engine runs a model


def test_auto_takes_the_file_that_belongs_to_a_checkpoint(exported, tiny_checkpoint, tmp_path):
    assert isinstance(Detector.load(exported).engine, OnnxEngine)
    assert isinstance(Detector.load(exported.with_suffix(".onnx")).engine, OnnxEngine)
    assert isinstance(Detector.load(tiny_checkpoint).engine, TorchEngine)
    later = tmp_path / "later.safetensors"
    shutil.copy(BUNDLED_MODEL, later)
    shutil.copy(exported.with_suffix(".onnx"), later.with_suffix(".onnx"))
    assert isinstance(Detector.load(later).engine, TorchEngine)  # the ONNX file is of another checkpoint


def test_without_onnxruntime_auto_takes_torch_and_onnx_says_how_to_get_it(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert isinstance(Detector.load(exported).engine, TorchEngine)
    with pytest.raises(UsageError, match="--runtime onnx: onnxruntime is not installed; pip install onnxruntime"):
        Detector.load(exported, runtime="onnx")


def test_the_bundled_file_is_of_the_bundled_checkpoint():
    """After a new checkpoint, ``make onnx VOC=VOC2012`` makes the file anew."""
    path = BUNDLED_MODEL.with_suffix(".onnx")
    about = json.loads({entry.key: entry.value for entry in onnx.load(path).metadata_props}[KEY])
    assert about["checkpoint"] == digest(BUNDLED_MODEL)
    assert path.stat().st_size + BUNDLED_MODEL.stat().st_size < 25e6


# --- files that cannot be run


def edited(source: Path, target: Path, edit) -> Path:
    model = onnx.load(source)
    edit(model)
    target.write_bytes(model.SerializeToString())  # onnx.save would look for numbers in other files
    return target


def drop_metadata(model) -> None:
    del model.metadata_props[:]


def older_opset(model) -> None:
    model.opset_import[0].version = 11


def later_version(model) -> None:
    (entry,) = model.metadata_props
    entry.value = json.dumps({**json.loads(entry.value), "version": 2})


def other_words(model) -> None:
    helper.set_model_props(model, {KEY: json.dumps({"format": "frcnn-onnx", "version": 1, "classes": 3})})


def unknown_operator(model) -> None:
    model.graph.node[3].op_type = "Abracadabra"


def another_domain(model) -> None:
    model.graph.node[3].domain = "com.somebody"
    model.opset_import.append(helper.make_opsetid("com.somebody", 1))


def add_first(model, node) -> None:
    nodes = [node, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def much_of_nothing(model) -> None:
    """A terabyte of zeros, of the eight bytes that say so."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**40], np.int64), "size"))
    add_first(model, helper.make_node("ConstantOfShape", ["size"], ["zeros"]))


def much_of_a_constant(model) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1, 1, 1), np.float32), "one"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 1e6, 1e6], np.float32), "times"))
    add_first(model, helper.make_node("Resize", ["one", "", "times"], ["many"]))


def a_loop(model) -> None:
    body = helper.make_graph([], "body", [], [])
    add_first(model, helper.make_node("Loop", ["", ""], [], body=body))


def numbers_elsewhere(model) -> None:
    value = model.graph.initializer[0]
    value.data_location = onnx.TensorProto.EXTERNAL
    value.external_data.add(key="location", value="/etc/passwd")


def numbers_that_are_none(model) -> None:
    value = max(model.graph.initializer, key=lambda value: len(value.raw_data))
    value.CopyFrom(numpy_helper.from_array(np.full(tuple(value.dims), np.nan, np.float32), value.name))


def more_numbers_than_there_are(model) -> None:
    value = max(model.graph.initializer, key=lambda value: len(value.raw_data))
    value.dims[0] = 2**40


def another_count(model) -> None:
    about(model, classes=["one"])


def other_features(model) -> None:
    """Of another form, and of other numbers."""
    for node in model.graph.node:
        if FEATURES in node.output:
            node.input[0], node.op_type = IMAGE, "Identity"


def about(model, **changes) -> None:
    (entry,) = model.metadata_props
    entry.value = json.dumps({**json.loads(entry.value), **changes})


def deep_metadata(model) -> None:
    helper.set_model_props(model, {KEY: "[" * 100_000})


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (drop_metadata, "an ONNX model, but not one of `frcnn export` (no usable metadata)"),
        (other_words, "an ONNX model, but not one of `frcnn export` (no usable metadata)"),
        (older_opset, "opset 11 of ONNX; this program reads 17: export it anew"),
        (later_version, "version 2 of the format; this program reads 1"),
        (unknown_operator, "it has the operator 'Abracadabra'; `frcnn export` writes no such file"),
        (another_domain, "it has the operator 'com.somebody."),
        (much_of_nothing, "it has the operator 'ConstantOfShape'"),
        (a_loop, "it has the operator 'Loop'"),
        (much_of_a_constant, "its operator 'Resize' computes the same whatever the image"),
        (numbers_elsewhere, "its numbers "),
        (numbers_that_are_none, "its numbers "),
        (more_numbers_than_there_are, "not an ONNX model, or a damaged one"),
        (another_count, "ONNX Runtime cannot run it (answers are ["),
        (other_features, "ONNX Runtime cannot run it ("),
        *(
            (partial(about, **{name: value}), "an ONNX model, but not one of `frcnn export`")
            for name, value in (
                ("short_side", 10**9),
                ("short_side", float("nan")),
                ("roi_size", 10**6),
                ("stride", 0),
                ("classes", []),
                ("classes", ["a", "a"]),
                ("normalisation", None),
                ("int8", {"calibration": 1, "features": 2, "pooled": 3}),
            )
        ),
        (deep_metadata, "an ONNX model, but not one of `frcnn export`"),
    ],
)
def test_another_s_model_is_one_line(run_frcnn, exported, photographs, tmp_path, edit, fault):
    path = edited(exported.with_suffix(".onnx"), tmp_path / "other.onnx", edit)
    outcome = run_frcnn("detect", photographs / "JPEGImages" / "cow.jpg", "--weights", path)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"frcnn: {path}: {fault}")
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x08" + bytes(range(256))])
def test_what_is_no_model_is_one_line(run_frcnn, photographs, tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    outcome = run_frcnn("detect", photographs / "JPEGImages" / "cow.jpg", "--weights", path)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"frcnn: {path}: ")
    assert len(outcome.err.splitlines()) == 1


def test_a_checkpoint_without_its_file_and_a_gpu_are_wrong_calls(run_frcnn, tiny_checkpoint, exported, photographs):
    image = photographs / "JPEGImages" / "cow.jpg"
    outcome = run_frcnn("detect", image, "--weights", tiny_checkpoint, "--runtime", "onnx")
    assert outcome.code == 2
    assert f"no {tiny_checkpoint.with_suffix('.onnx')}; make it: frcnn export" in outcome.err
    outcome = run_frcnn("detect", image, "--weights", exported, "--runtime", "onnx", "--device", "cuda")
    assert outcome.code == 2
    assert "--device cuda: ONNX Runtime runs on the CPU here" in outcome.err


def test_a_checkpoint_that_changed_since_is_told_where_onnx_is_asked_for(run_frcnn, exported, photographs, tmp_path):
    path = tmp_path / "changed.safetensors"
    shutil.copy(BUNDLED_MODEL, path)
    shutil.copy(exported.with_suffix(".onnx"), path.with_suffix(".onnx"))
    outcome = run_frcnn("detect", photographs / "JPEGImages" / "cow.jpg", "--weights", path, "--runtime", "onnx")
    assert outcome.code == 1
    assert f"not exported from {path} as it is now" in outcome.err


# --- from the command line to the boxes, without torch


def test_detect_imports_neither_torch_nor_torchvision_nor_timm(run_process, photographs):
    image = photographs / "JPEGImages" / "dog_bicycle.jpg"
    code = f"import sys; from frcnn_cli.cli import main; print(main(['detect', {str(image)!r}, '--jsonl'])); "
    code += "print([name for name in ('torch', 'torchvision', 'timm') if name in sys.modules])"
    outcome = run_process("-c", code)
    lines = outcome.out.splitlines()
    assert lines[-2:] == ["0", "[]"], outcome.err
    assert {found["class"] for found in json.loads(lines[0])["detections"]} >= {"bicycle", "dog"}


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 6])
def test_any_number_of_threads_finds_the_same(exported, photographs, threads):
    """And what is ready before the first image is all that an image needs."""
    engine = OnnxEngine(OnnxModel(exported.with_suffix(".onnx")), threads)
    engine.warm_up()
    ready = set(engine.model._backbone._made)
    image = load_image(photographs / "JPEGImages" / "dog_bicycle.jpg")
    proposals = selective_search(image, "single", 50)
    config = DetectionConfig(score_threshold=0.0, refine=20)
    found = engine.look(image, config).detect(proposals)
    expected = Detector.load(exported, runtime="torch").engine.detect(image, proposals, config)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.5)
    assert set(engine.model._backbone._made) == ready
