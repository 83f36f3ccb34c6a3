"""Regression of boxes by ridge, a class at a time, from features before fc6 (R-CNN, appendix C)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from frcnn_cli.engine.staged.features import FeatureStore
from frcnn_cli.engine.staged.svm import MEAN_NORM

MOST = 10_000
"""Examples of a class that are used: a larger class gives every second, third, ... one. The equations are as many as
examples or features, whichever are fewer, and take their square in memory."""


def ridge(features: np.ndarray, targets: np.ndarray, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Minimise ``|targets - features @ w - b|^2 + weight |w|^2``; the offset is free.

    Args:
        features: float [N, D], N > 0.
        targets: float [N, T].
        weight: lambda, above 0.

    Returns:
        w, float64 [D, T], and b, float64 [T].
    """
    x, y = features.astype(np.float64), targets.astype(np.float64)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x -= mean_x
    y -= mean_y
    if len(x) < x.shape[1]:  # the same w by fewer equations: X^T (X X^T + lambda I)^-1 Y
        w = x.T @ np.linalg.solve(x @ x.T + weight * np.eye(len(x)), y)
    else:
        w = np.linalg.solve(x.T @ x + weight * np.eye(x.shape[1]), x.T @ y)
    return w, mean_y - mean_x @ w


@dataclass
class BoxFitting:
    """The regression of each class, fitted to the proposals near its objects, one class after another.

    Features are scaled to a mean length of 20, as for the SVMs. With VGG16 and a whole VOC, a class takes minutes: ten
    thousand examples of 25,088 numbers.

    Args:
        store: with the features of all images.
        num_classes: C.
        weight: lambda.

    Attributes:
        done: classes that were fitted.
        weights: float32 [C, 4, D] on features as the network gives them; zeros of a class that is still to do, and of
            one that no proposal is near to, whose boxes stay where they are.
        offsets: float32 [C, 4].

    Raises:
        DataError: features are missing or damaged.
    """

    store: FeatureStore
    num_classes: int
    weight: float
    done: int = 0
    weights: np.ndarray = field(init=False)
    offsets: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        images = range(len(self.store.records))
        self._labels = [self.store.read(number, "labels")[0] for number in images]
        norms: list[np.ndarray] = []
        depth = 0
        for number in images:
            (pooled,) = self.store.read(number, "pooled")
            depth = max(depth, pooled.shape[1])
            if len(pooled):
                norms.append(np.linalg.norm(pooled, axis=1))
            if len(norms) == 200:
                break
        norm = float(np.concatenate(norms).mean()) if norms else 0.0
        self._scale = MEAN_NORM / norm if norm > 0 else 1.0
        self.weights = np.zeros((self.num_classes, 4, depth), np.float32)
        self.offsets = np.zeros((self.num_classes, 4), np.float32)

    @property
    def finished(self) -> bool:
        """Whether every class was fitted."""
        return self.done == self.num_classes

    def step(self) -> None:
        """Fit the next class."""
        index = self.done
        count = sum(int((here == index + 1).sum()) for here in self._labels)
        if count:
            features, targets = _examples(self.store, self._labels, index + 1, -(-count // MOST))
            w, b = ridge(features * np.float32(self._scale), targets, self.weight)
            self.weights[index], self.offsets[index] = (w * self._scale).T, b
        self.done += 1

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights float32 [4 C, D], and offsets float32 [4 C]."""
        return self.weights.reshape(-1, self.weights.shape[-1]), self.offsets.reshape(-1)

    def state(self) -> dict[str, np.ndarray]:
        """All that `load` needs to go on from here: the classes that were fitted."""
        return {"weights": self.weights[: self.done], "offsets": self.offsets[: self.done]}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from where `state` was taken."""
        self.done = len(arrays["offsets"])
        self.weights[: self.done], self.offsets[: self.done] = arrays["weights"], arrays["offsets"]


def _examples(store: FeatureStore, labels: list[np.ndarray], label: int, every: int) -> tuple[np.ndarray, np.ndarray]:
    """The features and targets of a class's near proposals, every so many-th."""
    features, targets, seen = [], [], 0
    for number, here in enumerate(labels):
        rows = (here == label).nonzero()[0]
        chosen = rows[(np.arange(len(rows)) + seen) % every == 0]
        seen += len(rows)
        if len(chosen):
            pooled, deltas = store.read(number, "pooled", "deltas")
            features.append(pooled[chosen])
            targets.append(deltas[chosen])
    return np.concatenate(features), np.concatenate(targets)
