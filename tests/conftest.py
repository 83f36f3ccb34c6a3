"""What many tests need: a small data set of real photographs, its proposals, a model, and the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from browser import chromium, open_page  # noqa: F401 - fixtures
from hypothesis import settings
from PIL import Image

from frcnn_cli.cli import main
from frcnn_cli.data.formats.voc import VOC_CLASSES, load_voc
from frcnn_cli.data.proposals.npz import ProposalFile
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.proposer import propose_images
from frcnn_cli.engine.sources.search import ProposalConfig
from frcnn_cli.errors import DataError

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported: its kernels then run on the CPU

settings.register_profile("any machine", deadline=None)  # a busy one is no fault
settings.load_profile("any machine")

REPOSITORY = Path(__file__).parent.parent
SHORT_SIDE = 96


class Outcome(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The ten photographs of the repository, in VOC layout."""
    return REPOSITORY / "tests" / "data"


@pytest.fixture(scope="session")
def tiny_voc(photographs, tmp_path_factory) -> Path:
    """The photographs shrunk to a short side of 96, with their boxes; splits train (8), val (2), test (10)."""
    root = tmp_path_factory.mktemp("data") / "tiny"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    ids = sorted(path.stem for path in (photographs / "JPEGImages").glob("*.jpg"))
    for image_id in ids:
        _shrink(photographs, root, image_id)
    for split, members in (("train", ids[:8]), ("val", ids[8:]), ("test", ids)):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(members) + "\n")
    return root


def _shrink(source: Path, target: Path, image_id: str) -> None:
    with Image.open(source / "JPEGImages" / f"{image_id}.jpg") as image:
        scale = SHORT_SIDE / min(image.size)
        small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BOX)
    small.save(target / "JPEGImages" / f"{image_id}.jpg", quality=95)
    tree = ElementTree.parse(source / "Annotations" / f"{image_id}.xml")
    size = tree.find("size")
    size.find("width").text, size.find("height").text = map(str, small.size)
    for box in tree.iter("bndbox"):
        for tag, limit in (("xmin", 1), ("ymin", 1), ("xmax", small.width), ("ymax", small.height)):
            value = float(box.findtext(tag))
            # 1-based and inclusive: the first pixel's far edge is 1, its near edge 0
            first = limit == 1
            box.find(tag).text = str(
                max(round((value - 1) * scale) + 1, 1) if first else min(round(value * scale), limit)
            )
    tree.write(target / "Annotations" / f"{image_id}.xml")


@pytest.fixture
def voc_copy(tiny_voc, tmp_path) -> Path:
    """A copy of the small data set, to be spoilt."""
    return Path(shutil.copytree(tiny_voc, tmp_path / "copy"))


@pytest.fixture(scope="session")
def tiny_dataset(tiny_voc) -> Dataset:
    """All ten images."""
    return load_voc(tiny_voc, "test")


@pytest.fixture(scope="session")
def tiny_proposals_path(tiny_dataset, tmp_path_factory) -> Path:
    """Selective search on all ten images."""
    path = tmp_path_factory.mktemp("proposals") / "tiny.npz"
    propose_images(tiny_dataset.records, path, ProposalConfig())
    return path


@pytest.fixture(scope="session")
def tiny_proposals(tiny_proposals_path) -> ProposalFile:
    """The file, opened."""
    return ProposalFile(tiny_proposals_path)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """An untrained AlexNet of VOC's classes that is sure of itself: it "finds" objects with any score."""
    from frcnn_cli.core.backbones import NORMALISATIONS
    from frcnn_cli.core.model import Architecture, FastRCNN
    from frcnn_cli.engine.checkpoint import Checkpoint, save_checkpoint

    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = FastRCNN(Architecture("alexnet", len(VOC_CLASSES), roi_size=3, fc_width=32))
        for layer, std in ((model.head.cls_score, 0.5), (model.head.bbox_pred, 0.05)):
            torch.nn.init.normal_(layer.weight, std=std)
        # AlexNet's own random weights let the picture fade until all RoIs look alike.
        for layer in (*model.backbone.body, model.head.fc6, model.head.fc7):
            if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    checkpoint = Checkpoint(
        model.architecture, VOC_CLASSES, NORMALISATIONS["imagenet"], SHORT_SIDE, 160, {}, model.state_dict()
    )
    save_checkpoint(path, checkpoint)
    return path


@pytest.fixture(scope="session")
def fault_of() -> Callable[..., str]:
    """`fault_of(function, *arguments)`: what the DataError says that the call raises, in one line."""

    def call(function: Callable, *arguments: object) -> str:
        with pytest.raises(DataError) as caught:
            function(*arguments)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return call


@pytest.fixture
def run_frcnn(capfd) -> Callable[..., Outcome]:
    """`run_frcnn("detect", path)`: the command line, in this process."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture
def run_process(tmp_path) -> Callable[..., Outcome]:
    """The same in a process of its own; with `interrupt`, a signal is sent as soon as that function says so."""

    def run(
        *arguments: object,
        interrupt: Callable[[], bool] | None = None,
        sent: int = signal.SIGINT,
        cwd: Path = REPOSITORY,
    ) -> Outcome:
        out, err = tmp_path / "process.out", tmp_path / "process.err"
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
        # Tests started in the background of a shell ignore Ctrl-C, and their children would inherit that.
        own = signal.signal(signal.SIGINT, signal.default_int_handler)
        with out.open("w") as out_file, err.open("w") as err_file:
            process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                stdout=out_file,
                stderr=err_file,
                cwd=cwd,
                env=environment,
                start_new_session=True,  # a group of its own: Ctrl-C reaches every process of the group
            )
            signal.signal(signal.SIGINT, own)
            try:
                if interrupt:
                    while process.poll() is None and not interrupt():
                        time.sleep(0.01)
                    os.killpg(process.pid, sent)
                process.wait(timeout=120)
            finally:
                process.kill()
        return Outcome(process.returncode, out.read_text(), err.read_text())

    return run


class Killed(NamedTuple):
    """How a command ended: its exit code, less than 0 for a signal; whether it left processes behind; what it wrote."""

    code: int
    left: bool
    text: str


@pytest.fixture(scope="session")
def killing(tmp_path_factory) -> Iterator[Callable[..., Killed]]:
    """`killing("train", ..., folder=run, kill={"write": 7})`: a command that is killed, as tests/killing.py says."""
    if not hasattr(os, "fork"):
        pytest.skip("needs POSIX processes")
    output = tmp_path_factory.mktemp("killing") / "output.txt"
    server = subprocess.Popen(
        [sys.executable, REPOSITORY / "tests" / "killing.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"},
    )

    def run(*arguments: object, folder: Path, kill: dict | None = None) -> Killed:
        order = {"arguments": [*map(str, arguments)], "folder": str(folder), "kill": kill, "output": str(output)}
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        return Killed(answer["code"], answer["left"], output.read_text())

    with server:
        yield run


@pytest.fixture
def full_disk():
    """`with full_disk(1000):` no file can grow beyond 1000 bytes."""
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    from contextlib import contextmanager

    @contextmanager
    def limit(size: int):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)

    return limit


@pytest.fixture
def noise_image(tmp_path) -> Callable[[str, int, int], Path]:
    """`noise_image("a.png", 20, 10)`: a picture of noise, 20 wide and 10 high."""

    def make(name: str, width: int, height: int) -> Path:
        noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(path)
        return path

    return make
