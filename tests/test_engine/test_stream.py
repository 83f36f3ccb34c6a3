"""Many files, one after the other or several at a time: their order, their faults, and stopping in the middle."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from frcnn_cli.data.detections import Detections
from frcnn_cli.data.items import ImageFile
from frcnn_cli.engine.compiling import warm_up, watched
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector, detect_image
from frcnn_cli.engine.sources import SEARCHES
from frcnn_cli.engine.stream import detect_files


@dataclass
class Plain:
    """An engine that finds a box as wide as the image."""

    classes: tuple[str, ...] = ("thing",)
    needs_proposals: bool = True
    seen: list[int] = field(default_factory=list)

    def detect(self, image: np.ndarray, proposals: np.ndarray, config) -> Detections:
        self.seen.append(image.shape[1])
        return Detections(np.array([[0, 0, image.shape[1], 1]]), np.ones(1), np.ones(1, np.int64))


@dataclass
class Early(Plain):
    """One that looks at three images together."""

    at_once: int = 3

    def sharing(self, images: int) -> Early:
        return replace(self, at_once=self.at_once // images)

    def look(self, image: np.ndarray, config) -> EarlyLook:
        return EarlyLook(self, image)


@dataclass
class EarlyLook:
    engine: Early
    image: np.ndarray
    lasting: bool = True

    def detect(self, proposals: np.ndarray) -> Detections:
        assert len(proposals) > 0
        return self.engine.detect(self.image, proposals, None)


@pytest.fixture
def items(noise_image) -> list[ImageFile]:
    """Eight pictures, 20 to 27 wide; the fourth is none."""
    paths = [noise_image(f"{width}.png", width, 16) for width in range(20, 28)]
    paths[3].write_bytes(b"no picture")
    return [ImageFile(path) for path in paths]


@pytest.mark.parametrize("engine", [Plain, Early])
def test_order_and_faults(engine, items):
    looked = list(detect_files(Detector(engine()), items))
    assert [each.item for each in looked] == items
    assert [each.fault is not None for each in looked] == [i == 3 for i in range(8)]
    assert str(looked[3].fault).startswith(f"{items[3].path}: not an image")
    for i, each in enumerate(looked):
        if i != 3:
            assert each.result.width == each.image.shape[1] == each.result.detections.boxes[0, 2] == 20 + i
            assert each.result.seconds.proposals > 0


@pytest.fixture
def searches(monkeypatch) -> list[dict]:
    """What mode fast is asked for, in whose place stands a search that finds one box."""
    asked = []

    def search(image: np.ndarray, **how: int | None) -> np.ndarray:
        asked.append(how)
        return np.array([[0, 0, 5, 5]], np.float32)

    search.version, search.sizes = 1, True
    monkeypatch.setitem(SEARCHES, "fast", search)
    return asked


@pytest.mark.parametrize("engine", [Plain, Early])
@pytest.mark.parametrize("most", [50, 1500])
def test_a_search_of_its_own_makes_as_many_as_are_looked_at(engine, items, most, searches):
    config = DetectionConfig(max_proposals=most)
    list(detect_files(Detector(engine()), items[:3], config=config))
    detect_image(Detector(engine()), np.zeros((20, 20, 3), np.uint8), Path("x.png"), "x", config=config)
    assert [how["max_proposals"] for how in searches] == [most] * 4


@pytest.mark.parametrize(("lasting", "cores"), [(True, 4), (False, None)])
def test_beside_a_look_that_lasts_the_search_has_half_of_the_cores(lasting, cores, searches, monkeypatch):
    class Looking(Early):
        def look(self, image: np.ndarray, config) -> EarlyLook:
            return EarlyLook(self, image, lasting)

    monkeypatch.setattr("frcnn_cli.engine.sources.search.own_cores", lambda: 8)
    detect_image(Detector(Looking()), np.zeros((20, 20, 3), np.uint8), Path("x.png"), "x")
    assert [how["threads"] for how in searches] == [cores]


@pytest.mark.parametrize("engine", [Plain, Early])
def test_stopping_leaves_the_rest(engine, items):
    detector = Detector(engine())
    with closing(detect_files(detector, items)) as looked:
        next(looked)
    assert 1 <= len(detector.engine.seen) <= 5  # the first, and those that were on their way


def test_what_an_engine_raises_comes_out(items):
    class Broken(Early):
        def detect(self, image, proposals, config):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        list(detect_files(Detector(Broken()), items))


def test_compilation_is_told_of_once_and_timed(tmp_path: Path):
    from numba import njit

    @njit
    def inner(x):
        return x + 1

    @njit
    def outer(x):
        return inner(x) * 2

    told: list[str] = []
    with watched(told.append) as compilation:
        assert outer(1) == 4
    assert len(told) == 1
    assert "done once" in told[0]
    assert compilation.seconds > 0
    with watched(told.append) as compilation:
        outer(2)
    assert (len(told), compilation.seconds) == (1, 0)


def test_warming_up_searches_only_where_proposals_are_made():
    class Source:
        made = True

        def __init__(self) -> None:
            self.images: list[tuple[int, ...]] = []

        def boxes(self, image: np.ndarray, image_id: str) -> np.ndarray:
            self.images.append(image.shape)
            return np.zeros((0, 4), np.float32)

    source = Source()
    warm_up(Plain(), source, print)
    assert len(source.images) == 1
    warm_up(Plain(), None, print)
