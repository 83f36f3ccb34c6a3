"""Checkpoints: what is saved is loaded; what is none is refused in one line; a full disk costs nothing."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from frcnn_cli.core.backbones import NORMALISATIONS
from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from frcnn_cli.engine.compression import Compression
from frcnn_cli.engine.detector import Detector
from frcnn_cli.errors import UsageError


@pytest.fixture
def checkpoint() -> Checkpoint:
    model = FastRCNN(Architecture("alexnet", 2, 2, 16))
    training = {"iteration": 7, "lr": 0.001}
    return Checkpoint(
        model.architecture, ("dog", "naïve"), NORMALISATIONS["caffe"], 480, 900, training, model.state_dict()
    )


def test_float32_round_trip_is_exact(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", checkpoint)
    back = load_checkpoint(tmp_path / "a.safetensors")
    for name in ("architecture", "classes", "normalisation", "short_side", "long_side", "training"):
        assert getattr(back, name) == getattr(checkpoint, name), name
    assert back.state.keys() == checkpoint.state.keys()
    for name, value in checkpoint.state.items():
        assert torch.equal(back.state[name], value), name
    model = back.build()
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, checkpoint.state[name]), name
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_float16_halves_the_file_and_computes_in_float32(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "full.safetensors", checkpoint)
    save_checkpoint(tmp_path / "half.safetensors", checkpoint, torch.float16)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert 0.49 < sizes[0] / sizes[1] < 0.51
    for name, value in load_checkpoint(tmp_path / "half.safetensors").build().state_dict().items():
        assert value.dtype == checkpoint.state[name].dtype
        torch.testing.assert_close(value, checkpoint.state[name], rtol=2**-11, atol=2**-24)
    changed = load_checkpoint(tmp_path / "half.safetensors").state["head.fc6.weight"].float()
    assert not torch.equal(changed, checkpoint.state["head.fc6.weight"])


def test_batch_norm_counters_survive_float16(tmp_path):
    model = FastRCNN(Architecture("efficientnet_lite0", 1, 1, 8))
    counters = [name for name, value in model.state_dict().items() if not value.is_floating_point()]
    assert counters
    about = Checkpoint(model.architecture, ("dog",), NORMALISATIONS["half"], 96, 160, {}, model.state_dict())
    save_checkpoint(tmp_path / "a.safetensors", about, torch.float16)
    assert load_checkpoint(tmp_path / "a.safetensors").build().state_dict()[counters[0]].dtype == torch.int64


def test_models_of_one_architecture_are_apart(checkpoint, tmp_path):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint)
    first = load_checkpoint(path).build()
    save_checkpoint(path, replace(checkpoint, state={name: value + 1 for name, value in checkpoint.state.items()}))
    second = load_checkpoint(path).build()
    with torch.no_grad():
        second.head.fc6.weight.zero_()
    assert not any(value.is_meta for value in first.state_dict().values())
    for name, value in first.state_dict().items():
        assert torch.equal(value, checkpoint.state[name]), name


@pytest.mark.parametrize("ranks", [{"fc6": 5}, {"fc7": 3}, {"fc6": 4, "fc7": 16}])
def test_compressed_checkpoints_are_checkpoints(checkpoint, tmp_path, ranks):
    compressed = Compression(checkpoint).apply(ranks)
    save_checkpoint(tmp_path / "a.safetensors", compressed)
    back = load_checkpoint(tmp_path / "a.safetensors")
    model = back.build()
    for name in ("fc6", "fc7"):
        assert getattr(back.architecture, f"{name}_rank") == ranks.get(name)
    for name, rank in ranks.items():
        first, second = getattr(model.head, name).first.weight, getattr(model.head, name).second.weight
        assert first.shape[0] == second.shape[1] == rank
        values = torch.linalg.svdvals(checkpoint.state[f"head.{name}.weight"])
        lost = torch.linalg.matrix_norm(second @ first - checkpoint.state[f"head.{name}.weight"])
        torch.testing.assert_close(lost, values[rank:].square().sum().sqrt(), atol=1e-4, rtol=1e-4)
        assert torch.equal(getattr(model.head, name).second.bias, checkpoint.state[f"head.{name}.bias"])


def test_compressing_twice_and_wrong_ranks(checkpoint):
    once = Compression(checkpoint).apply({"fc6": 4})
    with pytest.raises(UsageError, match=r"fc6 is compressed already \(rank 4\)"):
        Compression(once).apply({"fc6": 2})
    assert Compression(once).apply({"fc7": 2}).architecture.fc6_rank == 4
    for rank in (0, 17):
        with pytest.raises(UsageError, match="--fc7: rank must be 1 to 16"):
            Compression(checkpoint).apply({"fc7": rank})


def write_about(path: Path, checkpoint: Checkpoint, **changes) -> None:
    """A file as `save_checkpoint` writes it, with other metadata."""
    save_checkpoint(path, checkpoint)
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["frcnn"])
    state = {name: value.contiguous() for name, value in checkpoint.state.items()}
    save_file(state, path, metadata={"frcnn": json.dumps(about | changes)})


def test_files_that_are_no_checkpoint(checkpoint, tmp_path, fault_of):
    path = tmp_path / "model.safetensors"
    assert fault_of(load_checkpoint, path) == f"{path}: no such file"
    assert fault_of(load_checkpoint, tmp_path) == f"{tmp_path}: no such file"

    for content in (b"", b"not a model\n" * 50, pickle.dumps({"a": 1})):
        path.write_bytes(content)
        assert fault_of(load_checkpoint, path).startswith(f"{path}: not a checkpoint, or a damaged one")

    save_checkpoint(path, checkpoint)
    whole = path.read_bytes()
    for size in (4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert fault_of(load_checkpoint, path).startswith(f"{path}: not a checkpoint, or a damaged one")

    save_file({"weight": torch.zeros(3)}, path)
    assert fault_of(load_checkpoint, path).startswith(f"{path}: weights, but not a checkpoint of this program")
    for text in ("{", "[]", "3", "{}", '{"format": "frcnn-checkpoint", "version": 1}'):
        save_file({"weight": torch.zeros(3)}, path, metadata={"frcnn": text})
        assert fault_of(load_checkpoint, path).startswith(f"{path}: weights, but not a checkpoint of this program")


def test_another_version(checkpoint, tmp_path, fault_of):
    path = tmp_path / "model.safetensors"
    write_about(path, checkpoint, version=99)
    assert fault_of(load_checkpoint, path) == f"{path}: version 99 of the format; this program reads 1"


def read_and_build(path: Path) -> FastRCNN:
    return load_checkpoint(path).build()


@pytest.mark.parametrize(
    "changes",
    [{"backbone": "vgg16"}, {"fc_width": 8}, {"num_classes": 3}, {"fc6_rank": 2}, {"backbone": "no_such_net"}],
)
def test_tensors_of_another_architecture(checkpoint, tmp_path, changes, fault_of):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, replace(checkpoint, architecture=replace(checkpoint.architecture, **changes)))
    for function in (read_and_build, Detector.load):
        assert fault_of(function, path).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "changes",
    [
        *({"architecture": {name: value}} for name in ("backbone", "num_classes", "roi_size", "fc_width", "fc6_rank")
          for value in ("wide", [2], 1.5)),
        {"architecture": []},
        {"architecture": {"no_such_field": 1}},
        {"classes": 7},
        {"classes": ["dog", 7]},
        {"kind": ["fast-rcnn"]},
        {"kind": "slow-rcnn"},
        {"normalisation": {"order": "RGB"}},
        {"normalisation": None},
        {"short_side": "wide"},
        {"long_side": 0},
        {"version": "1"},
    ],
    ids=str,
)  # fmt: skip
def test_metadata_that_make_no_sense_are_one_line(checkpoint, tmp_path, fault_of, changes):
    path = tmp_path / "model.safetensors"
    if isinstance(changes.get("architecture"), dict):
        changes = {"architecture": {**asdict(checkpoint.architecture), **changes["architecture"]}}
    write_about(path, checkpoint, **changes)
    assert fault_of(load_checkpoint, path).startswith(f"{path}: ")


def test_a_file_that_names_no_kind_is_a_fast_rcnn(checkpoint, tmp_path):
    """As every file of the versions before, such as the bundled model."""
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint)
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["frcnn"])
    assert about.pop("kind") == load_checkpoint(path).kind == "fast-rcnn"
    save_file({name: value.contiguous() for name, value in checkpoint.state.items()}, path,
              metadata={"frcnn": json.dumps(about)})  # fmt: skip
    assert load_checkpoint(path).kind == "fast-rcnn"
    assert load_checkpoint(path).architecture == checkpoint.architecture


def test_a_name_of_a_class_too_few(checkpoint, tmp_path, fault_of):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, replace(checkpoint, classes=("dog",)))
    assert fault_of(read_and_build, path).startswith(f"{path}: ")


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def test_opening_a_checkpoint_runs_no_code(checkpoint, tmp_path, fault_of):
    path = tmp_path / "model.safetensors"
    mark = tmp_path / "it ran"
    path.write_bytes(pickle.dumps(Bomb(mark)))
    fault_of(load_checkpoint, path)
    torch.save(Bomb(mark), path)
    fault_of(load_checkpoint, path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()


def test_a_full_disk_leaves_the_old_file(checkpoint, tmp_path, full_disk, fault_of):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint)
    before = path.read_bytes()
    other = replace(checkpoint, state={name: value + 1 for name, value in checkpoint.state.items()})
    with full_disk(len(before) // 2):
        message = fault_of(save_checkpoint, path, other)
    assert message.startswith(f"{path}: cannot be written (")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    save_checkpoint(path, other)
    assert path.read_bytes() != before


def test_a_folder_in_the_place_of_the_file(checkpoint, tmp_path, fault_of):
    assert fault_of(save_checkpoint, tmp_path, checkpoint) == f"{tmp_path}: cannot be written (a folder)"
