"""Mini-batches of whole scenes, for a detector that finds its RoIs itself while it learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from frcnn_cli.core.scenes import Scene
from frcnn_cli.data.samples import ImageRecord
from frcnn_cli.data.transforms import scale_image
from frcnn_cli.engine.batches import TrainingBatches


@dataclass(frozen=True)
class SceneBatch:
    """One iteration's input, or this process's part of it.

    Attributes:
        images: Tensor[N, 3, H, W], as of `Batch`.
        scenes: what is on each of them.
        seeds: what the draws for each follow from, of anchors and of RoIs.
        image_ids: N ids, for messages.
    """

    images: Tensor
    scenes: tuple[Scene, ...]
    seeds: tuple[int, ...]
    image_ids: tuple[str, ...]

    def counts(self) -> tuple[int, int]:
        """See `Batch.counts`: RoIs are not there before the forward pass, which counts them."""
        return 0, 0

    def parts(self, images: int) -> Iterator[SceneBatch]:
        """See `Batch.parts`."""
        for first in range(0, len(self.images), images):
            here = slice(first, first + images)
            yield SceneBatch(self.images[here], self.scenes[here], self.seeds[here], self.image_ids[here])


class SceneBatches(TrainingBatches):
    """Batch number i, for any i >= 0, of the images that `TrainingBatches` would take; it needs no proposals."""

    def _sample(
        self, record: ImageRecord, place: int, scale: float, generator: torch.Generator
    ) -> tuple[Tensor, Scene, int]:
        image, scene, _ = self._draw_scene(record, place, generator)
        image, ratio = scale_image(image, scale)
        pixels = self.normalisation(torch.from_numpy(self._jittered(image, generator)).permute(2, 0, 1))
        height, width = pixels.shape[1:]
        seed = int(torch.randint(2**62, (), generator=generator))
        return pixels, scene.resized(torch.from_numpy(ratio), (width, height)), seed

    def _batch(self, images: Tensor, samples: list[tuple[Tensor, Scene, int]], ids: tuple[str, ...]) -> SceneBatch:
        _, scenes, seeds = zip(*samples, strict=True)
        return SceneBatch(images, scenes, seeds, ids)
