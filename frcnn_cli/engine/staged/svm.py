"""A linear SVM a class, on features from the disk, with hard negatives (R-CNN, section 2.3 and appendix B)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from frcnn_cli.engine.staged.features import FeatureStore
from frcnn_cli.errors import DataError

MEAN_NORM = 20.0
"""Features are scaled to this mean length, for which C and lambda were chosen."""

BIAS = 10.0
"""The constant that stands beside the features: so large that the offset is hardly held back."""

POSITIVE_WEIGHT = 2.0
NEGATIVE_IOU = 0.3
"""A proposal is a negative of a class if it overlaps each of its objects by less."""

HARD, EASY = -1.0001, -1.2
"""A negative of a larger margin than the first joins those learnt from; one of a smaller one than the second is dropped
after the next fit."""

REFIT = 2000
"""New negatives of a class after which its SVM is fitted anew."""


def mean_norm(store: FeatureStore, images: int = 200) -> float:
    """The mean length of the proposals' fc7 in the first so many images.

    Raises:
        DataError: there is no proposal, or all features are 0.
    """
    norms = [np.linalg.norm(store.read(i, "fc7")[0], axis=1) for i in range(min(images, len(store.records)))]
    norm = float(np.concatenate(norms).mean()) if norms else 0.0
    if not norm > 0:
        raise DataError(f"{store.folder}: all features are 0, so that nothing can be told apart by them")
    return norm


def fit_svm(positives: np.ndarray, negatives: np.ndarray, c: float, seed: int = 0) -> tuple[np.ndarray, float]:
    """Fit a linear SVM: hinge loss, L2, positives weighted twice.

    Args:
        positives: float [P, D], P > 0.
        negatives: float [N, D], N > 0.
        c: what an error weighs.
        seed: of the order in which the solver visits examples.

    Returns:
        Weights float64 [D] and the offset: a margin is ``x @ weights + offset``.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    solver = LinearSVC(
        C=c, loss="hinge", intercept_scaling=BIAS, class_weight={1: POSITIVE_WEIGHT}, random_state=seed, max_iter=5000
    )
    labels = np.repeat((1, 0), (len(positives), len(negatives)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the next fit, with more negatives, goes further
        solver.fit(np.concatenate((positives, negatives)), labels)
    return solver.coef_[0], float(solver.intercept_[0])


@dataclass
class ClassExamples:
    """What the SVM of a class is fitted to, and what it is at the moment.

    Attributes:
        positives: float32 [P, D], scaled.
        negatives: float32 [N, D], scaled.
        places: int64 [N, 2], the image and the row that each negative is from.
        new: negatives since the last fit.
        weights: float64 [D].
        offset: of the margin.
    """

    positives: np.ndarray
    negatives: np.ndarray
    places: np.ndarray
    new: int
    weights: np.ndarray
    offset: float

    def add(self, features: np.ndarray, places: np.ndarray) -> None:
        """More negatives."""
        self.negatives = np.concatenate((self.negatives, features))
        self.places = np.concatenate((self.places, places))
        self.new += len(features)

    def refit(self, c: float, seed: int) -> None:
        """Fit the SVM anew, and drop the negatives that it finds easy."""
        self.weights, self.offset = fit_svm(self.positives, self.negatives, c, seed)
        hard = self.negatives @ self.weights + self.offset >= EASY
        self.negatives, self.places, self.new = self.negatives[hard], self.places[hard], 0


@dataclass
class Mining:
    """One pass over the images that finds each class's hard negatives.

    Args:
        store: with the features of all images.
        num_classes: C; each has an object in the store.
        c: of the SVMs.
        seed: of the fits.
        select: which of an image's negatives of a class may join, given their boxes float32 [N, 4] and margins
            float [N]: indices; None for all.

    Attributes:
        done: images that were looked at.
        examples: of each class.
    """

    store: FeatureStore
    num_classes: int
    c: float
    seed: int = 0
    select: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    done: int = 0
    scale: float = field(init=False)
    examples: list[ClassExamples] = field(init=False)

    def __post_init__(self) -> None:
        self.scale = MEAN_NORM / mean_norm(self.store)
        positives: list[list[np.ndarray]] = [[] for _ in range(self.num_classes)]
        for number in range(len(self.store.records)):
            objects, fc7 = self.store.read(number, "objects", "fc7")
            for row in objects.nonzero()[0]:
                positives[objects[row] - 1].append(fc7[row] * np.float32(self.scale))
        width = len(positives[0][0])
        nothing, nowhere = np.zeros((0, width), np.float32), np.zeros((0, 2), np.int64)
        self.examples = [ClassExamples(np.stack(p), nothing, nowhere, 0, np.zeros(width), 0.0) for p in positives]

    def step(self) -> None:
        """Look at the next image; the SVMs of its classes are fitted anew where that is due."""
        number, last = self.done, self.done + 1 == len(self.store.records)
        fc7, overlaps, objects, boxes = self.store.read(number, "fc7", "overlaps", "objects", "boxes")
        fc7 = fc7.reshape(len(boxes), -1 if len(boxes) else len(self.examples[0].weights)) * np.float32(self.scale)
        proposal = objects == 0
        for index, own in enumerate(self.examples):
            rows = (proposal & (overlaps[:, index] < NEGATIVE_IOU)).nonzero()[0]
            margins = fc7[rows] @ own.weights + own.offset
            if number:  # the first image's negatives all join: there is no SVM yet
                rows, margins = rows[margins > HARD], margins[margins > HARD]
            if self.select is not None and len(rows):
                rows = rows[self.select(boxes[rows], margins)]
            own.add(fc7[rows], np.stack((np.full(len(rows), number), rows), axis=1))
            if len(own.negatives) and (number == 0 or last or own.new > REFIT):
                own.refit(self.c, self.seed)
        self.done += 1

    @property
    def finished(self) -> bool:
        """Whether every image was looked at."""
        return self.done == len(self.store.records)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights float32 [C, D] on features as the network gives them, and offsets float32 [C]."""
        weights = np.stack([own.weights for own in self.examples]) * self.scale
        return weights.astype(np.float32), np.array([own.offset for own in self.examples], np.float32)

    def state(self) -> dict[str, np.ndarray]:
        """All that `load` needs to go on from here: the places of negatives, not their features."""
        arrays: dict[str, np.ndarray] = {"done": np.array([self.done])}
        for index, own in enumerate(self.examples):
            arrays[f"{index}.places"] = own.places
            arrays[f"{index}.weights"] = own.weights
            arrays[f"{index}.rest"] = np.array([own.offset, own.new])
        return arrays

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from where `state` was taken.

        Raises:
            KeyError, TypeError, ValueError: it was taken of something else, or nowhere.
        """
        for name, array in arrays.items():
            if array.dtype.kind not in "if" or not np.isfinite(array).all():
                raise ValueError(f"{name} is not of finite numbers")
        (self.done,) = arrays["done"].tolist()
        if not isinstance(self.done, int) or self.done not in range(len(self.store.records) + 1):
            raise ValueError(f"{self.done} images of {len(self.store.records)}")
        rows = np.array([self.store.rows(number) for number in range(self.done)], np.int64)
        for index, own in enumerate(self.examples):
            own.places, weights = arrays[f"{index}.places"], arrays[f"{index}.weights"]
            own.offset, new = arrays[f"{index}.rest"].tolist()
            _check_places(own.places, rows)
            if weights.shape != own.weights.shape or new != int(new) or new < 0:
                raise ValueError(f"weights {list(weights.shape)} of class {index}, {new} of them new")
            own.weights, own.new = weights, int(new)
            own.negatives = np.zeros((len(own.places), own.positives.shape[1]), np.float32)
        for number in range(self.done):
            (fc7,) = self.store.read(number, "fc7")
            for own in self.examples:
                here = own.places[:, 0] == number
                own.negatives[here] = fc7[own.places[here, 1]] * np.float32(self.scale)


def _check_places(places: np.ndarray, rows: np.ndarray) -> None:
    """Refuse negatives that are nowhere, or there twice.

    Args:
        places: see `ClassExamples`.
        rows: int64 [I], how many regions each image has that was looked at.

    Raises:
        ValueError: see above.
    """
    if places.dtype != np.int64 or places.ndim != 2 or places.shape[1] != 2 or (places < 0).any():
        raise ValueError(f"places are {places.dtype} {list(places.shape)}")
    if len(places) and (places[:, 0].max() >= len(rows) or (places[:, 1] >= rows[places[:, 0]]).any()):
        raise ValueError("places are beyond the images' regions")
    if len(np.unique(places, axis=0)) < len(places):
        raise ValueError("a place is there twice")
