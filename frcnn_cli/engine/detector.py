"""A trained model, ready to use: an image in, its detections out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frcnn_cli.data.detections import Detections, ImageResult, Seconds
from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposals.npz import checked_proposals
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.runtimes import RUNTIMES, EarlyEngine, Engine
from frcnn_cli.engine.sources import ProposalSource
from frcnn_cli.engine.sources.search import DetectionSearch, SearchSource, search_for
from frcnn_cli.engine.stopwatch import PROPOSALS, PartTimes
from frcnn_cli.errors import DataError, MissingFile, UsageError, ran_out_of_memory
from frcnn_cli.settings import build, flat

if TYPE_CHECKING:  # torch is imported when a model is loaded
    import torch

    from frcnn_cli.engine.checkpoint import Checkpoint

BUNDLED_MODEL = Path(__file__).parent.parent / "models" / "efficientnet_lite0_voc.safetensors"


class Detector:
    """A trained model that finds objects in images.

    Args:
        engine: what runs the model; see `load`, which makes one of a file.

    Attributes:
        classes: names of the labels 1, 2, ...
        times: of each part, where they are taken (`measure`).

    Examples:
        >>> from frcnn_cli import Detector
        >>> detector = Detector.load()  # the model that comes with the package
        >>> found = detector.detect("tests/data/JPEGImages/dog_bicycle.jpg", score=0.8)
        >>> found.names
        ('car', 'dog', 'bicycle')
        >>> found.boxes.shape, found.boxes.dtype, bool((found.scores >= 0.8).all())
        ((3, 4), dtype('float32'), True)
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.times: PartTimes | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.engine.classes

    def measure(self) -> PartTimes:
        """Take the time of each part from now on; of an engine that does not tell, of what is not its own."""
        self.times = PartTimes()
        if hasattr(self.engine, "measure"):
            self.engine.measure(self.times)
        return self.times

    def sharing(self, images: int) -> Detector:
        """The same detector for one of so many images that are looked at together, where its engine can do that."""
        detector = Detector(self.engine.sharing(images))
        detector.times = self.times
        return detector

    @classmethod
    def load(cls, path: str | Path | None = None, device: str = "cpu", runtime: str = "auto") -> Detector:
        """The detector in a file.

        Args:
            path: a checkpoint, or an ONNX file of `frcnn export`; None for the model that comes with the package.
            device: cpu, cuda, cuda:N, ..., or auto, which is CUDA where there is one.
            runtime: a name of `RUNTIMES`; auto is ONNX Runtime where an ONNX file of the model lies beside it, and
                torch where none does.

        Raises:
            UsageError: no such runtime, or no such device here.
            DataError: no such file, or not a checkpoint.
        """
        open_checkpoint = RUNTIMES.find(runtime)
        return cls(open_checkpoint(find_model(path), device))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, device: torch.device | str = "cpu") -> Detector:
        """The detector that a checkpoint in memory holds, run by torch."""
        from frcnn_cli.engine.runtimes.torch_engine import TorchEngine

        return cls(TorchEngine.of(checkpoint, device))

    def detect(
        self,
        image: np.ndarray | str | Path,
        proposals: np.ndarray | None = None,
        config: DetectionConfig | None = None,
        *,
        mode: str = "fast",
        search_size: int = DetectionSearch.search_size,
        smallest: int = DetectionSearch.smallest,
        **options: Any,
    ) -> Detections:
        """Detect objects.

        Args:
            image: uint8 RGB [H, W, 3], or the path of a file.
            proposals: float [K, 4], xyxy in pixels of the image; None to search the image for some, where the model
                does not propose its own.
            config: thresholds, and how closely to look.
            mode: of the search, a name of `SEARCHES`.
            search_size: see `ProposalConfig`.
            smallest: likewise.
            options: what to change of `config`, by the names of the options of `frcnn detect` with ``_`` for ``-``:
                ``score=0.7, nms=0.5, max_detections=20, scales=(480, 688), flip_test=True``, ...

        Returns:
            By falling score, with the names of their classes.

        Raises:
            TypeError: no such option.
            ValueError: an array that is no image, or proposals that are no boxes of it.
            UsageError: options that do not go together, no such mode, or proposals for a model that makes its own.
            DataError: the file cannot be read.
        """
        config = _changed(config or DetectionConfig(), options)
        image = load_image(image) if isinstance(image, (str, Path)) else _checked_image(image)
        if proposals is not None and not self.engine.needs_proposals:
            raise UsageError("the model proposes its own boxes, and takes no others")
        if proposals is not None:
            height, width = image.shape[:2]
            proposals = checked_proposals(np.asarray(proposals, np.float32), width, height)[: config.max_proposals]
            return self.engine.detect(image, proposals, config).named(self.classes)
        search = DetectionSearch(mode, config.max_proposals, search_size=search_size, smallest=smallest)
        source = SearchSource(search) if self.engine.needs_proposals else None
        found, _ = _detect(self.engine, image, "", source, config)
        return found.named(self.classes)


def find_model(path: str | Path | None = None) -> Path:
    """The file of a model; None stands for the one that comes with the package.

    Raises:
        DataError: there is no such file.
    """
    path = BUNDLED_MODEL if path is None else Path(path)
    if not path.is_file():
        raise MissingFile(f"{path}: no such file")
    return path


def detect_file(
    detector: Detector,
    path: Path,
    image_id: str,
    source: ProposalSource | None = None,
    config: DetectionConfig | None = None,
) -> ImageResult:
    """Detect objects in an image file; see `detect_image`.

    Raises:
        DataError: the image cannot be read, or the source has no proposals that fit it.
    """
    return detect_image(detector, load_image(path), path, image_id, source, config)


def detect_image(
    detector: Detector,
    image: np.ndarray,
    path: Path,
    image_id: str,
    source: ProposalSource | None = None,
    config: DetectionConfig | None = None,
) -> ImageResult:
    """Detect objects in an image, and take the time: of the proposals, and how much longer the detections took.

    Args:
        detector: the model.
        image: uint8 RGB [H, W, 3].
        path: of its file.
        image_id: its name in the source.
        source: of proposals, where the model needs any; None to search the image.
        config: thresholds, and how closely to look.

    Raises:
        DataError: the source has no proposals that fit the image.
    """
    config = config or DetectionConfig()
    if source is None and detector.engine.needs_proposals:
        source = search_for(config)
    engine, height, width = detector.engine, *image.shape[:2]
    start = time.perf_counter()
    try:
        found, proposing = _detect(engine, image, image_id, source, config)
    except Exception as error:
        if ran_out_of_memory(error):
            raise DataError(f"{path}: too large for the memory that is left, at these scales") from error
        raise
    seconds = time.perf_counter() - start
    if proposing is not None and detector.times:
        detector.times.add(PROPOSALS, proposing)
    taken = Seconds(proposing, seconds - (proposing or 0.0))
    return ImageResult(image_id, path, width, height, found.named(detector.classes), taken)


def _detect(
    engine: Engine, image: np.ndarray, image_id: str, source: ProposalSource | None, config: DetectionConfig
) -> tuple[Detections, float | None]:
    """Detections, and the seconds that making the proposals took; None where none were made."""
    if not engine.needs_proposals:
        return engine.detect(image, None, config), None
    early = isinstance(engine, EarlyEngine) and engine.at_once > 1 and source.made
    look = engine.look(image, config) if early else None
    if early and look.lasting and isinstance(source, SearchSource):
        source = source.sharing(2)
    start = time.perf_counter()
    boxes = source.boxes(image, image_id)[: config.max_proposals]
    seconds = time.perf_counter() - start
    found = look.detect(boxes) if early else engine.detect(image, boxes, config)
    return found, seconds if source.made else None


def _changed(config: DetectionConfig, options: dict[str, Any]) -> DetectionConfig:
    if not options:
        return config
    values = flat(config)
    unknown = sorted(options.keys() - values.keys())
    if unknown:
        raise TypeError(f"no option {unknown[0]!r} of detection; there are {', '.join(values)}")
    return build(type(config), {**values, **options})


def _checked_image(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"image must be uint8 RGB [H, W, 3], not {image.dtype} {list(image.shape)}")
    return image
