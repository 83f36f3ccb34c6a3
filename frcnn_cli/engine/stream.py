"""Detecting in many image files: the next one is on its way while this one is looked at."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import numpy as np

from frcnn_cli.data.detections import ImageResult, Seconds
from frcnn_cli.data.images import load_image
from frcnn_cli.data.items import Item
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector, detect_image
from frcnn_cli.engine.runtimes import EarlyEngine
from frcnn_cli.engine.sources import ProposalSource
from frcnn_cli.engine.sources.search import SearchSource, search_for
from frcnn_cli.engine.stopwatch import DECODING, PartTimes
from frcnn_cli.errors import DataError

T = TypeVar("T")


@dataclass(frozen=True)
class Looked:
    """What came of an image file.

    Attributes:
        item: the file.
        image: uint8 RGB [H, W, 3]; None where it cannot be read.
        result: None where there is a fault.
        fault: of the file, or of its proposals.
    """

    item: Item
    image: np.ndarray | None = None
    result: ImageResult | None = None
    fault: DataError | None = None


def detect_files(
    detector: Detector,
    items: Sequence[Item],
    source: ProposalSource | None = None,
    config: DetectionConfig | None = None,
) -> Iterator[Looked]:
    """Detect objects in every image, in their order.

    An engine that looks at several images together (`EarlyEngine.at_once`) has a thread for each, which uses its share
    of the cores for all of an image, so that no core waits for another; of every other, the next image is decoded while
    this one is in the network. Close the iterator to stop after the images at hand.

    Args:
        detector: the model.
        items: files and their names in the source.
        source: of proposals; None to search each image.
        config: thresholds, and how closely to look.

    Yields:
        One an image. Of several that are looked at together, the seconds of each are its share of the time.
    """
    config = config or DetectionConfig()
    source = source or search_for(config)
    at_once = detector.engine.at_once if isinstance(detector.engine, EarlyEngine) else 1
    at_once = min(at_once, max(len(items), 1))
    if at_once > 1:
        detector = detector.sharing(at_once)
        source = source.sharing(at_once) if isinstance(source, SearchSource) else source

    def load(item: Item) -> Looked:
        try:
            with (detector.times or PartTimes()).part(DECODING):
                image = load_image(item.path)
        except DataError as fault:
            return Looked(item, fault=fault)
        return Looked(item, image)

    def detect(loaded: Looked) -> Looked:
        if loaded.image is None:
            return loaded
        try:
            result = detect_image(detector, loaded.image, loaded.item.path, loaded.item.id, source, config)
        except DataError as fault:
            return replace(loaded, fault=fault)
        return replace(loaded, result=_share(result, at_once))

    if at_once == 1:
        yield from map(detect, _ahead(load, items, 1))
    else:
        yield from _ahead(lambda item: detect(load(item)), items, at_once)


def _ahead(work: Callable[[Item], T], items: Sequence[Item], threads: int) -> Iterator[T]:
    """What `work` makes of the items, in their order, with one begun for each thread before it is asked for."""
    pool = ThreadPoolExecutor(threads)
    try:
        todo = iter(items)
        begun: deque[Future[T]] = deque(pool.submit(work, item) for item in islice(todo, threads))
        while begun:
            done = begun.popleft().result()
            begun.extend(pool.submit(work, item) for item in islice(todo, 1))
            yield done
    finally:
        pool.shutdown(cancel_futures=True)


def _share(result: ImageResult, at_once: int) -> ImageResult:
    if at_once == 1:
        return result
    proposals, detection = result.seconds.proposals, result.seconds.detection
    shared = Seconds(None if proposals is None else proposals / at_once, detection / at_once)
    return replace(result, seconds=shared)
