"""`frcnn export`: what it writes, and what it refuses before any work."""

from __future__ import annotations

import json
import shutil
import sys

import onnx
import pytest

from frcnn_cli.engine.export.metadata import KEY, digest


def about(path) -> dict:
    return json.loads({entry.key: entry.value for entry in onnx.load(path).metadata_props}[KEY])


def test_detect_takes_what_it_writes(run_frcnn, tiny_checkpoint, tiny_voc, tmp_path):
    path = tmp_path / "tiny.onnx"
    outcome = run_frcnn("export", tiny_checkpoint, "-o", path)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{path}: {path.stat().st_size / 1e6:.1f} MB (float32, 20 classes)\n"
    assert about(path)["checkpoint"] == digest(tiny_checkpoint)
    call = ("detect", tiny_voc / "JPEGImages" / "kitten.jpg", "--score", 0.2, "--json", "--weights")
    (ours,), (theirs,) = (json.loads(run_frcnn(*call, weights).out) for weights in (path, tiny_checkpoint))
    assert [found["class"] for found in ours["detections"]] == [found["class"] for found in theirs["detections"]]
    assert len(ours["detections"]) > 0
    for found, expected in zip(ours["detections"], theirs["detections"], strict=True):
        assert found["score"] == pytest.approx(expected["score"], abs=1e-3)
        assert found["box"] == pytest.approx(expected["box"], abs=0.5)


def test_eight_bits(run_frcnn, tiny_checkpoint, tiny_voc, tmp_path):
    path = tmp_path / "small.onnx"
    images = ("--calibrate", tiny_voc / "JPEGImages", "--calibration-images", 2, "--calibration-rois", 20)
    outcome = run_frcnn("export", tiny_checkpoint, "-o", path, "--int8", *images)
    assert outcome.code == 0, outcome.err
    assert "calibrating on 2 photographs" in outcome.err
    assert about(path)["int8"]["calibration"] == "2 photographs of JPEGImages, 20 proposals each"
    outcome = run_frcnn("detect", tiny_voc / "JPEGImages" / "kitten.jpg", "--weights", path, "--score", 0.1, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)[0]["detections"]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["-o", "model.pt"], "-o model.pt: the name of an exported model ends in .onnx"),
        (["-o", "model.onnx", "--int8"], "--int8 needs --calibrate FOLDER"),
        (["-o", "model.onnx", "--calibrate", "."], "--calibrate is for --int8: give both"),
    ],
)
def test_a_wrong_call(run_frcnn, tiny_checkpoint, arguments, fault):
    outcome = run_frcnn("export", tiny_checkpoint, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"frcnn: {fault}")
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_a_package_that_is_missing(run_frcnn, tiny_checkpoint, tiny_voc, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    outcome = run_frcnn("export", tiny_checkpoint, "-o", tmp_path / "a.onnx", "--int8", "--calibrate", tiny_voc)
    assert outcome.code == 2
    assert outcome.err == f"frcnn: export needs the package {name}: pip install {name}\n"


def test_a_folder_without_images(run_frcnn, tiny_checkpoint, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    outcome = run_frcnn("export", tiny_checkpoint, "-o", tmp_path / "a.onnx", "--int8", "--calibrate", empty)
    assert (outcome.code, outcome.err) == (1, f"frcnn: {empty}: no image in this folder\n")


def test_a_photograph_that_cannot_be_read(run_frcnn, tiny_checkpoint, tiny_voc, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    shutil.copy(tiny_voc / "JPEGImages" / "cow.jpg", folder)
    (folder / "damaged.jpg").write_bytes(b"no photograph")
    outcome = run_frcnn("export", tiny_checkpoint, "-o", tmp_path / "a.onnx", "--int8", "--calibrate", folder)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].startswith(f"frcnn: {folder / 'damaged.jpg'}: not an image")
    assert not (tmp_path / "a.onnx").exists()


def test_what_is_no_checkpoint(run_frcnn, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    outcome = run_frcnn("export", tmp_path / "a.safetensors", "-o", tmp_path / "a.onnx")
    assert outcome.code == 1
    assert outcome.err.startswith(f"frcnn: {tmp_path / 'a.safetensors'}: not a checkpoint")


def test_a_place_that_cannot_be_written(run_frcnn, tiny_checkpoint, tmp_path):
    (tmp_path / "file").touch()
    outcome = run_frcnn("export", tiny_checkpoint, "-o", tmp_path / "file" / "a.onnx")
    assert outcome.code == 1
    assert "cannot be written" in outcome.err


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_profile_has_every_part(run_frcnn, tiny_checkpoint, tiny_voc, tmp_path, runtime):
    weights = shutil.copy(tiny_checkpoint, tmp_path / "tiny.safetensors")
    assert run_frcnn("export", weights, "-o", tmp_path / "tiny.onnx").code == 0
    images = tiny_voc / "JPEGImages"
    outcome = run_frcnn("detect", images, "--weights", weights, "--runtime", runtime, "--profile", "--jsonl")
    assert outcome.code == 0, outcome.err
    rows = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in outcome.err.splitlines() if "│" in line}
    assert list(rows)[:5] == ["decoding", "proposals", "backbone", "RoI pooling", "head"]
    assert all(float(value) >= 0 for value in rows.values())
    assert float(rows["backbone"]) > 0
    assert len(outcome.out.splitlines()) == 10
