"""The stages after fine-tuning: features to the disk, SVMs, boxes, and a checkpoint of all of it.

Each stage leaves its result in the run's folder, marked with what it was made from, so that a stage that was done is
not done again, one that was interrupted goes on, and one whose ground has changed is refused or made anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.checkpoint import Checkpoint
from frcnn_cli.engine.interrupts import Interruption
from frcnn_cli.engine.runtimes.torch_engine import TorchEngine
from frcnn_cli.engine.staged.box_regression import BoxFitting
from frcnn_cli.engine.staged.features import FOLDER, FeatureStore, data_key, describe, model_key
from frcnn_cli.engine.staged.log import StageLog
from frcnn_cli.engine.staged.options import STAGES, StagedOptions
from frcnn_cli.engine.staged.svm import Mining
from frcnn_cli.errors import DataError, Interrupted, UsageError
from frcnn_cli.files import atomic_write, reason

SVM_FILE, MINING_FILE = "svm.safetensors", "svm-mining.safetensors"
BOXES_FILE, FITTING_FILE = "boxes.safetensors", "boxes-fitting.safetensors"
"""In the run's folder: the SVMs; how far their mining is; the regression of boxes; of how many classes it is there."""

SAVED_EVERY = 100
"""Images between two savings of the mining."""


class Extractor(Protocol):
    """Computes what regions show, for a kind of detector."""

    near_iou: float
    """Proposals that overlap an object by more teach the regression of boxes."""

    def extract(self, engine: TorchEngine, image: np.ndarray, boxes: Tensor) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        """Rows int64 [R] of the boxes, their pooled features Tensor[R, D] and their fc7 Tensor[R, W], part by part."""

    def select(self, boxes: np.ndarray, margins: np.ndarray) -> np.ndarray:
        """Which of an image's negatives of a class may teach its SVM: indices; see `Mining.select`."""


@dataclass
class Pipeline:
    """The stages after fine-tuning, of one run.

    Args:
        checkpoint: the fine-tuned network, with softmax.
        options: of the run.
        extractor: of the kind.
        dataset: to learn from.
        proposals: of its images.
        folder: of the run.
        log: of its stages.
        tell: hears of a stage's end, in a line.
        interrupted: set when the run is to stop.
        device: to compute on.
        seed: of the SVMs.

    Attributes:
        store: of the features.
        key: what the results of stages are marked with.
    """

    checkpoint: Checkpoint
    options: StagedOptions
    extractor: Extractor
    dataset: Dataset
    proposals: Proposals
    folder: Path
    log: StageLog
    tell: Callable[[str], None]
    interrupted: Interruption
    device: torch.device | str = "cpu"
    seed: int = 0
    store: FeatureStore = field(init=False)
    key: str = field(init=False)

    def run(self) -> Checkpoint | None:
        """Do the stages of the plan.

        Returns:
            The finished detector; None where a stage that it needs was left out for now.

        Raises:
            UsageError: a stage needs one that was left out and has not been done.
            DataError: the disk is full, features are of another model or other data, a class has no example.
            Interrupted: a signal came, and what was done is saved.
        """
        plan = [name for name in self.options.plan if name != STAGES[0]]
        if not plan:
            return self.checkpoint if self.options.classifier == "softmax" else None
        key = model_key(self.checkpoint, near_iou=self.extractor.near_iou)
        records = self.dataset.records
        data, classes = data_key(records, self.proposals), len(self.dataset.classes)
        self.store = FeatureStore(self.folder / FOLDER, records, key, data, classes)
        self.key = f"{key} {self.store.about['data']} seed {self.seed}"
        with_svms = self.options.classifier == "svm" and "svm" not in plan
        if with_svms and "boxes" in plan and self._fitted_svms() is None:
            raise UsageError(f"--stages {','.join(plan)}: the SVMs come before the boxes; name svm, too")
        stages = {"features": self._features, "svm": self._svm, "boxes": self._boxes}
        for name in plan:
            if name != "features" and self.store.missing:
                raise UsageError(f"--stages {','.join(plan)}: {name} needs features of all images; name features, too")
            stages[name]()
        return self._finished()

    def _features(self) -> None:
        missing, images = self.store.missing, len(self.dataset)
        if not missing:
            self._tell_end("features", False, f"{self.store.bytes / 1e6:.1f} MB of {images} images")
            return
        with self.log.timed("features") as record:
            engine = TorchEngine.of(self.checkpoint, self.device)
            told = time.perf_counter()
            for number in missing:
                self._stop_if_asked("features", f"{number} of {images} images")
                self._write_features(engine, number)
                if time.perf_counter() - told > 30:
                    told = time.perf_counter()
                    self.tell(f"features: {number + 1} of {images} images")
            record |= {"bytes": self.store.bytes, "done": True}
        self._tell_end("features", True, f"{record['bytes'] / 1e6:.1f} MB of {images} images")

    def _write_features(self, engine: TorchEngine, number: int) -> None:
        item = self.dataset.records[number]
        boxes = np.asarray(self.proposals.get(item.id, item.width, item.height), np.float32)

        def extract(image: np.ndarray, boxes: Tensor) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
            return self.extractor.extract(engine, image, boxes)

        near_iou = self.extractor.near_iou
        with torch.inference_mode():
            regions = describe(item, boxes, len(self.dataset.classes), near_iou, extract)
        self.store.write(number, regions)

    def _svm(self) -> None:
        path, key = self.folder / SVM_FILE, f"{self.key} C {self.options.svm_c}"
        if self._fitted_svms() is not None:
            self._tell_end("svm", False, f"{len(self.dataset.classes)} classes")
            return
        with self.log.timed("svm") as record:
            classes = len(self.dataset.classes)
            mining = Mining(self.store, classes, self.options.svm_c, self.seed, select=self.extractor.select)
            begun = _read(self.folder / MINING_FILE, key)
            if begun is not None:
                try:
                    mining.load(begun)
                except (KeyError, TypeError, ValueError) as error:
                    raise DataError(
                        f"{self.folder / MINING_FILE}: damaged ({reason(error)}); delete it and resume"
                    ) from error
            while not mining.finished:
                if self.interrupted.is_set() or (mining.done and mining.done % SAVED_EVERY == 0):
                    _write(self.folder / MINING_FILE, key, mining.state())
                self._stop_if_asked("svm", f"{mining.done} of {len(self.dataset)} images")
                mining.step()
            weights, offsets = mining.result()
            _write(path, key, {"weight": weights, "bias": offsets})
            (self.folder / MINING_FILE).unlink(missing_ok=True)
            negatives = sum(len(own.negatives) for own in mining.examples)
            record |= {"done": True, "negatives": negatives}
        self._tell_end("svm", True, f"{classes} classes, {negatives} hard negatives")

    def _boxes(self) -> None:
        path, key = self.folder / BOXES_FILE, f"{self.key} lambda {self.options.ridge}"
        if _read(path, key) is not None:
            self._tell_end("boxes", False, f"{len(self.dataset.classes)} classes")
            return
        with self.log.timed("boxes") as record:
            fitting = BoxFitting(self.store, len(self.dataset.classes), self.options.ridge)
            begun = _read(self.folder / FITTING_FILE, key)
            if begun is not None:
                fitting.load(begun)
            while not fitting.finished:
                self._stop_if_asked("boxes", f"{fitting.done} of {fitting.num_classes} classes")
                fitting.step()
                _write(self.folder / FITTING_FILE, key, fitting.state())
            weights, offsets = fitting.result()
            _write(path, key, {"weight": weights, "bias": offsets})
            (self.folder / FITTING_FILE).unlink(missing_ok=True)
            record["done"] = True
        self._tell_end("boxes", True, f"{len(self.dataset.classes)} classes")

    def _fitted_svms(self) -> dict[str, np.ndarray] | None:
        return _read(self.folder / SVM_FILE, f"{self.key} C {self.options.svm_c}")

    def _finished(self) -> Checkpoint | None:
        """The detector of what the stages, now or earlier, have fitted; None without SVMs that it is to have."""
        state, architecture = dict(self.checkpoint.state), self.checkpoint.architecture
        if self.options.classifier == "svm":
            svm = self._fitted_svms()
            if svm is None:
                return None
            rows, width = state["head.cls_score.weight"].shape
            _check_fitted(self.folder / SVM_FILE, svm, (rows - 1, width))
            weights, offsets = torch.from_numpy(svm["weight"]), torch.from_numpy(svm["bias"])
            state["head.cls_score.weight"] = torch.cat((weights.new_zeros(1, width), weights))
            state["head.cls_score.bias"] = torch.cat((offsets.new_zeros(1), offsets))
            architecture = replace(architecture, classifier="svm")
        boxes = _read(self.folder / BOXES_FILE, f"{self.key} lambda {self.options.ridge}")
        if boxes is not None and (boxes.keys() != {"weight", "bias"} or boxes["weight"].size):
            _check_fitted(self.folder / BOXES_FILE, boxes, tuple(state["head.bbox_pred.weight"].shape))
            state |= {f"head.bbox_pred.{name}": torch.from_numpy(value) for name, value in boxes.items()}
        training = self.checkpoint.training | {"stage_seconds": self.seconds()}
        return replace(self.checkpoint, architecture=architecture, state=state, training=training)

    def seconds(self) -> dict[str, float]:
        """Spent so far, by stage."""
        return {name: round(record["seconds"], 3) for name, record in self.log.stages.items()}

    def _stop_if_asked(self, stage: str, done: str) -> None:
        if self.interrupted.is_set():
            raise Interrupted(
                f"stopped in stage {stage} with {done} done; all is saved in {self.folder}", self.interrupted.signal
            )

    def _tell_end(self, stage: str, new: bool, what: str) -> None:
        seconds = f"{self.log.stages[stage]['seconds']:.1f} s" if stage in self.log.stages else "no time"
        self.tell(f"{stage}: {what}, {seconds}{'' if new else ' (done before)'}")


def in_parts(boxes: Tensor, size: int) -> Iterator[Tensor]:
    """The rows of boxes, a few at a time: int64 [R]; none where there are no boxes."""
    return iter(torch.arange(len(boxes)).split(size) if len(boxes) else ())


def _write(path: Path, key: str, arrays: dict[str, np.ndarray]) -> None:
    with atomic_write(path) as temporary:
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        temporary.write_bytes(save(contiguous, metadata={"key": key}))


def _check_fitted(path: Path, arrays: dict[str, np.ndarray], shape: tuple[int, ...]) -> None:
    """Refuse what no stage has fitted.

    Raises:
        DataError: weights and offsets are not finite float32 numbers of the shape of the layer that they are for.
    """
    wanted = {"weight": shape, "bias": shape[:1]}
    if {name: array.shape for name, array in arrays.items()} != wanted or not all(
        array.dtype == np.float32 and np.isfinite(array).all() for array in arrays.values()
    ):
        raise DataError(f"{path}: damaged (not what the network needs); delete it and resume")


def _read(path: Path, key: str) -> dict[str, np.ndarray] | None:
    """What `_write` wrote, if it was for the same key; None otherwise.

    Raises:
        DataError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, TypeError, ValueError) as error:  # the latter of numbers that NumPy has not
        raise DataError(f"{path}: damaged; delete it and resume") from error
