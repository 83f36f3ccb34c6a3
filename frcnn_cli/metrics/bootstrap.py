"""How far a figure may be off by the choice of images: the bootstrap (Efron, 1979).

The images are drawn again and again, as many as there are, with replacement, and the figure is computed of each draw.
Two models that are compared get the same draws, so what makes an image hard for both does not count as a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frcnn_cli.data.detections import Detections
from frcnn_cli.data.samples import Objects
from frcnn_cli.metrics.average_precision import (
    COCO_RECALLS,
    VOC07_RECALLS,
    Metric,
    Ranking,
    match_coco_detections,
    rank_classes,
)

DRAWS = 1000
_CELLS = 4_000_000
"""As many numbers of draws x detections are held at a time."""


@dataclass(frozen=True)
class Interval:
    """What 95 of 100 draws lie in.

    Attributes:
        low: nan where no draw has a figure, as for the other.
        high: see `low`.
    """

    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> Interval:
        """Of the figures of all draws; those that are nan are left out."""
        numbers = values[~np.isnan(values)]
        return cls(*map(float, np.quantile(numbers, (0.025, 0.975)))) if len(numbers) else cls(np.nan, np.nan)

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference with this interval is more than chance, at the level of 5 %."""
        return self.low > 0 or self.high < 0


def draw_images(num_images: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each image is in each draw: int64 [draws, N], rows sum to N."""
    if num_images == 0:
        return np.zeros((draws, 0), dtype=np.int64)
    return np.random.default_rng(seed).multinomial(num_images, np.full(num_images, 1 / num_images), size=draws)


def resampled_ap(ranking: Ranking, weights: np.ndarray, metric: Metric) -> np.ndarray:
    """AP of each draw.

    An image that is drawn twice brings each of its detections twice, one after the other: AP is that of the longer
    ranking.

    Args:
        ranking: of all images, of one class.
        weights: int [draws, N], see `draw_images`.
        metric: see `average_precision`.

    Returns:
        float64 [draws]; nan where a draw has no object of the class.
    """
    step = max(_CELLS // max(len(ranking.scores), 1), 1)
    parts = [_resampled_ap(ranking, weights[start : start + step], metric) for start in range(0, len(weights), step)]
    return np.concatenate([np.zeros(0), *parts])


def resampled_mean(table: np.ndarray) -> np.ndarray:
    """Mean over the classes, the last axis, that have objects: nan where none has."""
    there = ~np.isnan(table)
    total = np.where(there, table, 0.0).sum(axis=-1)
    count = there.sum(axis=-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def resampled_classes(rankings: Sequence[Ranking], weights: np.ndarray, metric: Metric) -> np.ndarray:
    """AP of each draw and class: float64 [draws, C]."""
    columns = [resampled_ap(ranking, weights, metric) for ranking in rankings]
    return np.stack(columns, axis=1) if columns else np.zeros((len(weights), 0))


def _resampled_ap(ranking: Ranking, weights: np.ndarray, metric: Metric) -> np.ndarray:
    objects = weights @ ranking.objects
    times = weights[:, ranking.images].astype(np.float64)
    reported = np.cumsum(times, axis=1)
    hits = np.cumsum(times * ranking.correct, axis=1)
    precision = np.divide(hits, reported, out=reported, where=reported > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = np.divide(hits, objects[:, None], out=hits, where=objects[:, None] > 0)
    if metric == "voc":
        ap = (np.diff(recall, axis=1, prepend=0.0) * envelope).sum(axis=1)
    else:
        levels = VOC07_RECALLS if metric == "voc07" else COCO_RECALLS
        envelope = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)
        ap = np.array(
            [row[np.searchsorted(reached, levels)].mean() for row, reached in zip(envelope, recall, strict=True)]
        )
    return np.where(objects > 0, ap, np.nan)


def resampled_detections(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    num_classes: int,
    metric: Metric,
    weights: np.ndarray,
) -> np.ndarray:
    """AP of each draw and class, of what a model says about all images; COCO's is the mean over its thresholds.

    Args:
        detections: one an image.
        objects: one an image, in the same order.
        num_classes: C, without the background.
        metric: what to measure.
        weights: int [draws, N], see `draw_images`.

    Returns:
        float64 [draws, C]; nan where a draw has no object of the class.
    """
    if metric != "coco":
        return resampled_classes(rank_classes(detections, objects, num_classes), weights, metric)
    columns = [
        np.mean(
            [resampled_ap(ranking, weights, "coco") for ranking in match_coco_detections(detections, objects, label)],
            axis=0,
        )
        for label in range(1, num_classes + 1)
    ]
    return np.stack(columns, axis=1) if columns else np.zeros((len(weights), 0))


@dataclass(frozen=True, eq=False)
class Difference:
    """How far one model's figure is from another's.

    Attributes:
        value: of all images.
        interval: of the draws.
        p: how often chance alone would make as large a difference, by the draws; two-sided.
    """

    value: float
    interval: Interval
    p: float

    @property
    def more_than_chance(self) -> bool:
        """Whether 95 of 100 draws have it on the same side of nought."""
        return self.interval.excludes_zero


def difference(value: float, draws: np.ndarray) -> Difference:
    """A difference of all images, and that of each draw, float [draws]."""
    numbers = draws[~np.isnan(draws)]
    share = min((numbers <= 0).mean(), (numbers >= 0).mean()) if len(numbers) else np.nan
    return Difference(value, Interval.of(draws), float(min(2 * share, 1.0)))
