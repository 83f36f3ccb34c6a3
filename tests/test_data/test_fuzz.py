"""Files of any content, and sound ones with something changed: readers read them, or say in one line what is wrong.

`make fuzz` tries 10,000 of each; FUZZ says how many. One alone:
``FUZZ=10000 pytest "tests/test_data/test_fuzz.py::test_annotations[coco.json]"``.
"""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import io as scipy_io

from frcnn_cli.data.formats.coco import load_coco
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.formats.yolo import load_yolo
from frcnn_cli.data.images import image_size, load_image
from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.data.proposals.npz import write_proposals
from frcnn_cli.data.samples import Dataset
from frcnn_cli.errors import FrcnnError, UsageError

fuzzed = settings(
    max_examples=int(os.environ.get("FUZZ", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

WIDTH, HEIGHT = 32, 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A VOC folder, a COCO file, a YOLO folder and proposals of the same two images."""
    root = tmp_path_factory.mktemp("fuzz")
    for place in ("JPEGImages", "images/train"):
        (root / place).mkdir(parents=True)
        for name in ("a", "b"):
            Image.new("RGB", (WIDTH, HEIGHT)).save(root / place / f"{name}.png")
    for place in ("Annotations", "labels/train", "ImageSets/Main"):
        (root / place).mkdir(parents=True)
    for path, content in SOUND.items():
        (root / path).write_bytes(content)
    boxes = {name: np.array([[0, 0, 20, 9], [2, 1, 5, 4]], np.float32) for name in ("a", "b")}
    write_proposals(root / "p.npz", boxes, {"sizes": dict.fromkeys(boxes, (WIDTH, HEIGHT))})
    cells, ids = np.empty((1, 2), object), np.empty((2, 1), object)
    cells[0, :], ids[:, 0] = [np.array([[1, 1, 9, 20]], np.uint16)] * 2, ["a", "b"]
    scipy_io.savemat(root / "p.mat", {"boxes": cells, "images": ids})
    pickled = {"ids": ["a", "b"], "boxes": [*boxes.values()], "objectness_logits": [np.ones(2)] * 2, "bbox_mode": 0}
    (root / "p.pkl").write_bytes(pickle.dumps(pickled))
    return root


XML = (
    b"<annotation><filename>a.png</filename><size><width>32</width><height>24</height></size><object><name>dog</name>"
    b"<difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>20</xmax><ymax>9</ymax></bndbox></object>"
    b"</annotation>"
)
COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}, {"id": 2, "file_name": "b.png"}],
    "categories": [{"id": 1, "name": "dog", "supercategory": "none"}, {"id": 2, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 9, 9], "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 2, "bbox": [1, 2, 9, 9], "ignore": 1},
    ],
}
SOUND = {
    "Annotations/a.xml": XML,
    "Annotations/b.xml": XML,
    "ImageSets/Main/train.txt": b"a\nb\n",
    "coco.json": json.dumps(COCO).encode(),
    "data.yaml": b"path: .\ntrain: images/train\nval: images/train\nnames:\n  0: dog\n  1: cat\nnc: 2\n",
    "labels/train/a.txt": b"0 0.5 0.5 0.2 0.5\n1 .1 .1 .2 .1 .2 .2\n",
    "labels/train/b.txt": b"",
    "obj.data": b"classes = 2\ntrain = train.txt\nvalid = train.txt\nnames = obj.names\n",
    "obj.names": b"dog\ncat\n",
    "train.txt": b"images/train/a.png\n./images/train/b.png\n",
}


def load(folder: Path, path: str) -> Callable[[], Dataset]:
    """A function that reads the data set that a file is a part of."""
    if path == "coco.json":
        return partial(load_coco, folder / path, folder / "JPEGImages", skip_faulty=True)
    if path in ("obj.data", "obj.names", "train.txt"):
        return partial(load_yolo, folder / "obj.data", "train", skip_faulty=True)
    reader = load_yolo if path == "data.yaml" or path.startswith("labels") else load_voc
    return partial(reader, folder, "train", skip_faulty=True)


def check_dataset(read: Callable[[], Dataset]) -> None:
    """Whatever is read is a sound data set; whatever is not is said in lines that can be printed."""
    try:
        dataset = read()
    except FrcnnError as error:
        lines = [*getattr(error, "faults", ()), str(error).split("\n")[0]]
    else:
        lines = [*dataset.skipped, *dataset.notes]
        assert len({record.id for record in dataset.records}) == len(dataset) > 0
        for record in dataset.records:
            x1, y1, x2, y2 = record.objects.boxes.T
            assert ((x1 >= 0) & (y1 >= 0) & (x2 <= record.width) & (y2 <= record.height)).all()
            assert ((x1 <= x2) & (y1 <= y2)).all()
            assert ((record.objects.labels >= 1) & (record.objects.labels <= len(dataset.classes))).all()
    assert all("\n" not in line for line in lines)


@contextmanager
def one_line() -> Iterator[None]:
    """What is wrong with a file is one of our errors, and one line."""
    fault = None
    try:
        yield
    except FrcnnError as error:
        fault = error
    assert "\n" not in str(fault)


@st.composite
def changed(draw: st.DrawFn, sound: bytes) -> bytes:
    """Sound content of which parts are replaced, left out or repeated; or any at all."""
    data = bytearray(sound)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(start + draw(st.integers(0, 12)), len(data))
        data[start:end] = draw(
            st.one_of(st.binary(max_size=8), st.sampled_from(PIECES), st.just(bytes(data[start:end] * 2)))
        )
    return bytes(data)


PIECES = [
    b"0", b"-1", b"1e400", b"nan", b"inf", b"0.5", b"99999999999999999999", b"null", b"true", b'"x"', b"[]", b"{}", 
    b"'", b"<object/>", b"<name>", b"&amp;", b"&x;", b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"../", b"/", b"\\", b"\n",
    "\u2028".encode(), "猫".encode(), b"*a", b"&a", b"!!python/object:x", b"<?xml version='1.0' encoding='utf-7'?>",
]  # fmt: skip


@pytest.mark.parametrize("path", [path for path in SOUND if Path(path).stem != "b"])
@fuzzed
@given(data=st.data())
def test_annotations(folder, path, data):
    content = data.draw(st.one_of(changed(SOUND[path]), st.binary(max_size=60)))
    (folder / path).write_bytes(content)
    try:
        check_dataset(load(folder, path))
    finally:
        (folder / path).write_bytes(SOUND[path])


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**400, -1, "a.png"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@fuzzed
@given(data=st.data())
def test_coco_of_any_values(folder, data):
    """JSON that is sound as such, with any values in the places of the right ones."""
    content = json.loads(json.dumps(COCO))
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(sorted(content)))
        if not isinstance(content[key], list) or not content[key] or data.draw(st.booleans()):
            content[key] = data.draw(VALUES)
            continue
        place = data.draw(st.integers(0, len(content[key]) - 1))
        item = content[key][place]
        if isinstance(item, dict) and item:
            item[data.draw(st.sampled_from(sorted(item)))] = data.draw(VALUES)
        else:
            content[key][place] = data.draw(VALUES)
    (folder / "coco.json").write_text(json.dumps(content))
    check_dataset(load(folder, "coco.json"))


@pytest.mark.parametrize("name", ["p.npz", "p.mat", "p.pkl"])
@fuzzed
@given(data=st.data())
def test_proposals(folder, name, data):
    path = folder / f"changed{Path(name).suffix}"
    path.write_bytes(data.draw(st.one_of(changed((folder / name).read_bytes()), st.binary(max_size=60))))
    with one_line():
        file = open_proposals(path)
        for image_id in file.ids:
            boxes = file.get(image_id, WIDTH, HEIGHT)
            assert boxes.dtype == np.float32
            assert boxes.shape[1:] == (4,)


@pytest.mark.parametrize("layout", ["edge-boxes", "mcg"])
@pytest.mark.parametrize("suffix", [".mat", ".txt"])
@fuzzed
@given(data=st.data())
def test_proposals_of_one_image(folder, suffix, layout, data):
    sound = folder / f"one{suffix}"
    if not sound.exists():
        rows = np.array([[1, 1, 9, 20, 0.5], [2, 3, 5, 7, 0.9]])
        scipy_io.savemat(sound, {"bbs": rows}) if suffix == ".mat" else np.savetxt(sound, rows, fmt="%g")
    path = folder / f"changed{suffix}"
    path.write_bytes(data.draw(st.one_of(changed(sound.read_bytes()), st.binary(max_size=60))))
    with one_line():
        file = open_proposals(path, layout=layout)
        for image_id in file.ids:
            boxes = file.get(image_id, WIDTH, HEIGHT)
            assert boxes.dtype == np.float32
            assert boxes.shape[1:] == (4,)


@dataclass(frozen=True)
class SmallArchitecture:
    num_classes: int
    units: int


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Iterator[Path]:
    """A sound one, of a kind that there is meanwhile."""
    import torch

    from frcnn_cli.core.normalisation import NORMALISATIONS
    from frcnn_cli.engine.checkpoint import Checkpoint, save_checkpoint
    from frcnn_cli.engine.detectors import DETECTORS, Kind

    def build(architecture: SmallArchitecture) -> torch.nn.Module:
        return torch.nn.Linear(architecture.units, architecture.num_classes)

    DETECTORS["small"] = Kind("small one", SmallArchitecture, build, score=None)
    path = tmp_path_factory.mktemp("checkpoint") / "sound.safetensors"
    state = torch.nn.Linear(2, 1).state_dict()
    about = Checkpoint(SmallArchitecture(1, 2), ("a",), NORMALISATIONS["half"], 9, 9, {}, state, "small")
    save_checkpoint(path, about)
    yield path
    del DETECTORS["small"]


@fuzzed
@given(data=st.data())
def test_checkpoints(checkpoint, data):
    """A file of safetensors: its header of JSON, with JSON of ours in it, and a few numbers."""
    from frcnn_cli.engine.checkpoint import load_checkpoint

    sound = checkpoint.read_bytes()
    length = int.from_bytes(sound[:8], "little")
    header = data.draw(st.one_of(st.just(sound[8 : 8 + length]), changed(sound[8 : 8 + length])))
    numbers = data.draw(st.one_of(st.just(sound[8 + length :]), changed(sound[8 + length :])))
    path = checkpoint.with_name("changed.safetensors")
    path.write_bytes(len(header).to_bytes(8, "little") + header + numbers)
    with one_line():
        loaded = load_checkpoint(path)
        assert len(loaded.classes) == loaded.architecture.num_classes
        assert all(value.isfinite().all() for value in loaded.build().state_dict().values())


CONFIG = b"""version = 1

[data]
voc = "birds"
split = "train"
search-size = 400
classes = ["a", "b"]
val-fraction = 0.2

[sampling]
background-iou = [0.1, 0.5]

[images]
short-side = [400, 480]

[optimizer]
lr = 0.001
steps = [5]
"""


@fuzzed
@given(data=st.data())
def test_config_toml(tmp_path_factory, data):
    from frcnn_cli.commands.train import train
    from frcnn_cli.commands.train_call import TrainCall

    path = tmp_path_factory.getbasetemp() / "config.toml"
    path.write_bytes(data.draw(st.one_of(changed(CONFIG), st.binary(max_size=60))))
    with one_line():
        try:
            with train.make_context("train", ["--config", str(path), "--check"]) as ctx:
                TrainCall.parse(ctx)
        except click.UsageError as error:
            raise UsageError(error.format_message()) from error


@cache
def sound_image(suffix: str) -> bytes:
    """A file of 9 x 7 pixels of noise."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (7, 9, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, Image.registered_extensions()[f".{suffix}"])
    return file.getvalue()


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm"])
@fuzzed
@given(data=st.data())
def test_images(tmp_path_factory, suffix, data):
    path = tmp_path_factory.getbasetemp() / f"fuzz.{suffix}"
    path.write_bytes(data.draw(changed(sound_image(suffix))))
    for read in (image_size, load_image):
        with one_line():
            read(path)
