"""Regression of boxes by ridge, a class at a time, from features before fc6 (R-CNN, appendix C)."""

from __future__ import annotations

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


def fit_boxes(store: FeatureStore, num_classes: int, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Fit the regression of each class to the proposals near its objects.

    Features are scaled to a mean length of 20, as for the SVMs.

    Args:
        store: with the features of all images.
        num_classes: C.
        weight: lambda.

    Returns:
        Weights float32 [4 C, D] on features as the network gives them, and offsets float32 [4 C]. A class that no
        proposal is near to has zeros: its boxes stay where they are.

    Raises:
        DataError: features are missing or damaged.
    """
    labels = [store.read(number, "labels")[0] for number in range(len(store.records))]
    norms: list[np.ndarray] = []
    depth = 0
    for number in range(len(store.records)):
        (pooled,) = store.read(number, "pooled")
        depth = max(depth, pooled.shape[1])
        if len(pooled) and len(norms) < 200:
            norms.append(np.linalg.norm(pooled, axis=1))
    norm = float(np.concatenate(norms).mean()) if norms else 0.0
    weights, offsets = np.zeros((num_classes, 4, depth), np.float32), np.zeros((num_classes, 4), np.float32)
    scale = MEAN_NORM / norm if norm > 0 else 1.0
    for index in range(num_classes):
        count = sum(int((here == index + 1).sum()) for here in labels)
        if count == 0:
            continue
        features, targets = _examples(store, labels, index + 1, -(-count // MOST))
        w, b = ridge(features * np.float32(scale), targets, weight)
        weights[index], offsets[index] = (w * scale).T, b
    return weights.reshape(-1, depth), offsets.reshape(-1)


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
