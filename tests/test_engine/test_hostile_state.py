"""Checkpoints and states of runs that say what no training wrote: one line, and nothing is built of it."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from frcnn_cli.core.backbones import NORMALISATIONS
from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.engine.backbone_weights import _read_state
from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.run_files import STATE_FILE
from frcnn_cli.engine.run_folder import FORMAT, restore_run
from frcnn_cli.engine.run_state import Run
from frcnn_cli.engine.training_config import Schedule, TrainingConfig
from frcnn_cli.errors import DataError


@pytest.fixture(scope="module")
def model() -> FastRCNN:
    return FastRCNN(Architecture("alexnet", 2, 2, 16))


def write(path: Path, model: FastRCNN, changes: dict, state: dict | None = None) -> None:
    about = {
        "format": "frcnn-checkpoint", "version": 1, "kind": "fast-rcnn", "architecture": asdict(model.architecture),
        "classes": ["dog", "cat"], "normalisation": asdict(NORMALISATIONS["caffe"]), "short_side": 480,
        "long_side": 900, "training": {"iteration": 7},
    }  # fmt: skip
    for key, value in changes.items():
        *outer, last = key.split(".")
        inner = about
        for name in outer:
            inner = inner[name]
        inner[last] = value
    text = changes.get("text") or json.dumps(about)
    state = {name: value.contiguous() for name, value in (model.state_dict() | (state or {})).items()}
    save_file(state, path, metadata={"frcnn": text})


NAN, HUGE = math.nan, 10**400
HOSTILE = [
    *({"classes": value} for value in ([], ["dog", "dog"], ["dog", ""], ["dog", None], {"dog": 1}, "ab", [["a"], "b"])),
    *({"short_side": value} for value in (-1, 0, 1.5, True, NAN, 10**9, HUGE, "480", None, [480])),
    {"short_side": 60_000, "long_side": 60_000},
    *({"long_side": value} for value in (0, 10**12, NAN, None)),
    *({"training": value} for value in ([], "x", None, 7)),
    *({"training.iteration": value} for value in (-1, 1.5, "7", None, NAN, HUGE)),
    *({"normalisation": value} for value in ([], "RGB", {}, None)),
    {"normalisation.order": "GRB"},
    {"normalisation.order": ["RGB"]},
    *({"normalisation.scale": value} for value in (0, -1, NAN, math.inf, HUGE, "1", None, True)),
    *({"normalisation.mean": value} for value in ([1, 2], [1, 2, 3, 4], [1, 2, NAN], ["1", 2, 3], 7, {})),
    *({"normalisation.std": value} for value in ([0, 1, 1], [-1, 1, 1], [1, 1, math.inf], None)),
    *({f"architecture.{name}": value} for name in ("num_classes", "roi_size", "fc_width", "fc6_rank", "neck")
      for value in (-1, 2.0, True, "2", [2], HUGE, 10**7)),
    {"architecture.class_agnostic": 1},
    {"architecture.class_agnostic": "no"},
    {"architecture.backbone": 3},
    {"architecture.backbone": "hf-hub:someone/something"},
    {"architecture.backbone": "../alexnet"},
    *({"kind": value} for value in (1, None, {}, "x" * 10_000)),
    *({"version": value} for value in (0, None, [[]], "x" * 10_000)),
    {"text": "[" * 100_000},
    {"text": '{"format": "frcnn-checkpoint", "version": ' + "[" * 100_000},
    {"text": " " * (5 * 2**20)},
]  # fmt: skip


@pytest.mark.parametrize("changes", HOSTILE, ids=lambda changes: str(changes)[:60])
def test_metadata(tmp_path, model, changes, fault_of):
    path = tmp_path / "a.safetensors"
    write(path, model, changes)
    message = fault_of(load_checkpoint, path)
    assert message.startswith(f"{path}: ")
    assert len(message) < 400 + len(str(path))


def test_the_sound_one_is_read(tmp_path, model):
    write(tmp_path / "a.safetensors", model, {})
    assert load_checkpoint(tmp_path / "a.safetensors").training == {"iteration": 7}


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_that_are_not_finite(tmp_path, model, value, dtype, fault_of):
    """They would find nothing, and say nothing."""
    weight = model.state_dict()["head.fc7.weight"].clone().to(dtype)
    weight[3, 4] = value
    write(tmp_path / "a.safetensors", model, {}, {"head.fc7.weight": weight})
    assert "head.fc7.weight is not finite" in fault_of(load_checkpoint, tmp_path / "a.safetensors")


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64])
def test_weights_of_another_type(tmp_path, model, dtype, fault_of):
    weight = model.state_dict()["head.fc7.weight"].clone().to(dtype)
    write(tmp_path / "a.safetensors", model, {}, {"head.fc7.weight": weight})
    assert "head.fc7.weight is of torch." in fault_of(load_checkpoint, tmp_path / "a.safetensors")


def test_tensors_are_read_when_they_fit(tmp_path, model, fault_of):
    """A file with a hole of 40 GB in it takes no room on the disk, and would take it all in memory."""
    header = {"head.fc6.weight": {"dtype": "F32", "shape": [10**10], "data_offsets": [0, 4 * 10**10]}}
    write(tmp_path / "a.safetensors", model, {})
    sound = (tmp_path / "a.safetensors").read_bytes()
    length = int.from_bytes(sound[:8], "little")
    header["__metadata__"] = json.loads(sound[8 : 8 + length])["__metadata__"]
    text = json.dumps(header).encode()
    path = tmp_path / "b.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + 4 * 10**10)
    message = fault_of(load_checkpoint, path)  # where there is memory for as much, it is read as far as its header
    assert "the tensors are not those of the Fast R-CNN" in message or "not a checkpoint, or a damaged one" in message


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("vgg16.pth", b"PK\x03\x04", "PyTorch's weights; to start a training from them"),
        ("model_best.pth.tar", b"\x80\x02", "PyTorch's weights"),
        ("VGG16.CAFFEMODEL", b"\n\x05", "a network of Caffe"),
        ("model.onnx", b"\x08\x07", "a network for ONNX Runtime"),
        ("vgg16.h5", b"\x89HDF\r\n", "a network of Keras"),
        ("renamed.safetensors", b"PK\x03\x04" + bytes(60), "PyTorch's weights"),
    ],
)
def test_other_programs_weights(tmp_path, name, content, words, fault_of):
    path = tmp_path / name
    path.write_bytes(content)
    message = fault_of(load_checkpoint, path)
    assert f"{path}: not a checkpoint, or a damaged one (it is " in message
    assert words in message
    if "PyTorch" not in words:
        assert words in fault_of(_read_state, path)


def test_weights_that_are_packed_or_a_whole_model(tmp_path, fault_of):
    import zipfile

    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")
    assert "save its state_dict()" in fault_of(_read_state, tmp_path / "whole.pth")
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as plain,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert "not a file of weights that can be read" in fault_of(_read_state, tmp_path / "b.pth")


CONFIG = TrainingConfig(iterations=10, schedule=Schedule(steps=(5,)), optimizer="sgd", ema=0.9)


def a_run(model: FastRCNN) -> Run:
    return Run(model, ("dog", "cat"), NORMALISATIONS["caffe"], CONFIG, torch.zeros(4), torch.ones(4))


@pytest.fixture(scope="module")
def state(model) -> dict:
    """Of a run that has made an update."""
    run = a_run(model)
    run.to(torch.device("cpu"))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    run.optimizer.step()
    run.iteration = 1
    return {"format": FORMAT, **run.state_dict()}


def changed(state: dict, key: str, value: object) -> dict:
    state = dict(state)
    *outer, last = key.split("/")
    inner = state
    for name in outer:
        name = int(name) if name.isdecimal() else name
        inner[name] = inner[name].copy()
        inner = inner[name]
    inner[int(last) if last.isdecimal() else last] = value
    return state


STATES = [
    *(("iteration", value) for value in (-1, 10**9, 1.5, "1", None, True, [1])),
    *(("measured", value) for value in (2, -1, "0")),
    *(("best_map", value) for value in (2.0, "x", None, [0.5])),
    *(("last_map", value) for value in (-3.0, {})),
    *(("window", value) for value in (None, [1], {"loss": NAN}, {"loss": "x"}, {1: 1.0})),
    *(("target_mean", value) for value in (torch.zeros(3), torch.full((4,), NAN), [0, 0, 0, 0], torch.zeros(4).int())),
    *(("target_std", value) for value in (torch.zeros(4), -torch.ones(4), None)),
    *(("model", value) for value in ({}, None, [1])),
    ("model/head.fc7.bias", torch.full((16,), NAN)),
    ("model/head.fc7.bias", torch.zeros(7)),
    ("model/head.fc7.bias", torch.zeros(16).half()),
    ("model/head.fc7.bias", 3),
    ("average", {"head.fc7.bias": torch.zeros(16)}),
    ("average", [1]),
    *(("optimizer", value) for value in ([1], {"state": {}}, {"state": {}, "param_groups": []}, "x")),
    ("optimizer/param_groups/0/weight_decay", NAN),
    ("optimizer/param_groups/0/base", "x"),
    ("optimizer/state/0/momentum_buffer", torch.zeros(3)),
    ("optimizer/state/0/momentum_buffer", "x"),
    *(("rng", value) for value in (torch.zeros(3, dtype=torch.uint8), torch.zeros(5056), "x", None)),
    ("format", "another"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), STATES, ids=lambda value: str(value)[:40].replace("\n", " "))
def test_states(tmp_path, model, state, key, value, fault_of):
    torch.save(changed(state, key, value), tmp_path / STATE_FILE)
    run = a_run(model)

    def resume() -> None:
        restore_run(run, tmp_path)
        run.to(torch.device("cpu"))

    assert fault_of(resume).startswith(f"{tmp_path / STATE_FILE}: not the state of this run (")


@pytest.mark.parametrize("key", ["iteration", "best_map", "target_mean", "model", "optimizer", "rng"])
def test_states_that_lack_something(tmp_path, model, state, key):
    torch.save({name: value for name, value in state.items() if name != key}, tmp_path / STATE_FILE)
    with pytest.raises(DataError, match="not the state of this run"):
        restore_run(a_run(model), tmp_path)


def test_the_sound_state_is_taken_over(tmp_path, model, state):
    torch.save(state, tmp_path / STATE_FILE)
    run = a_run(model)
    restore_run(run, tmp_path)
    run.to(torch.device("cpu"))
    assert (run.iteration, run.new) == (1, True)
    no_objects = changed(changed(state, "last_map", NAN), "best_map", NAN)
    torch.save(no_objects, tmp_path / STATE_FILE)
    restore_run(a_run(model), tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02", b"x" * 99])
def test_files_that_are_no_state(tmp_path, model, content):
    (tmp_path / STATE_FILE).write_bytes(content)
    with pytest.raises(DataError, match="not the state of this run"):
        restore_run(a_run(model), tmp_path)
