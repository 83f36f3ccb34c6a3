"""Mini-batches for training: N images, scaled and mirrored, and R sampled RoIs (paper, section 2.3).

Every random choice for an image follows from the seed, the batch's number and the image's place in it alone, so a
resumed run meets the batches it would have met, any number of workers gives the same ones, and processes that train
together make a part of a batch each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import sqrt

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset as TorchDataset

from frcnn_cli.core.boxes import clip, encode, flip
from frcnn_cli.core.normalisation import Normalisation
from frcnn_cli.core.sampling import SampledRois, SamplingConfig, best_overlap, sample_rois
from frcnn_cli.core.scenes import Scene
from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.samples import ImageRecord
from frcnn_cli.data.transforms import jitter_colours, mirror, scale_image, scale_to, scaled_size
from frcnn_cli.engine.distributed import ALONE, Processes
from frcnn_cli.engine.training_config import Scales
from frcnn_cli.errors import DataError


@dataclass(frozen=True)
class Batch:
    """One iteration's input, or this process's part of it.

    Attributes:
        images: Tensor[N, 3, H, W], normalised, padded with zeros at the right and the bottom to the largest of all
            processes, so that a convolution meets the same at an image's border.
        rois: Tensor[R, 5], (image index, x1, y1, x2, y2) in pixels of `images`.
        labels: int64 Tensor[R].
        deltas: Tensor[R, 4], not normalised.
        image_ids: N ids, for messages.
        scenes: what is on each image; empty where RoIs are not images' parts, as crops are not.
    """

    images: Tensor
    rois: Tensor
    labels: Tensor
    deltas: Tensor
    image_ids: tuple[str, ...]
    scenes: tuple[Scene, ...] = ()

    def counts(self) -> tuple[int, int]:
        """RoIs, and those of them that are foreground."""
        return len(self.labels), int((self.labels > 0).sum())

    def parts(self, images: int) -> Iterator[Batch]:
        """The batch in pieces of so many images, for a network that has no room for all of them at once."""
        for first in range(0, len(self.images), images):
            here = slice(first, first + images)
            inside = (self.rois[:, 0] >= here.start) & (self.rois[:, 0] < here.stop)
            rois = self.rois[inside] - self.rois.new_tensor((first, 0, 0, 0, 0))
            targets = self.labels[inside], self.deltas[inside]
            yield Batch(self.images[here], rois, *targets, self.image_ids[here], self.scenes[here])


class TrainingBatches(TorchDataset):
    """Batch number i, for any i >= 0: epochs follow one another without end."""

    def __init__(
        self,
        records: tuple[ImageRecord, ...],
        proposals: Proposals | None,
        normalisation: Normalisation,
        sampling: SamplingConfig,
        scales: Scales,
        flip_probability: float,
        seed: int,
        colour_jitter: float = 0.0,
        balance: float = 0.0,
        processes: Processes = ALONE,
    ) -> None:
        showing = tuple(record for record in records if len(record.objects.without_crowds()))
        if not showing:
            raise DataError("no image to train on: none has an object")
        # An image without an object has no foreground and, unless that starts at IoU 0, no background.
        self.records = records if sampling.background_iou[0] == 0 else showing
        self.proposals = proposals
        self.normalisation = normalisation
        self.sampling = sampling
        self.scales = scales
        self.flip_probability = flip_probability
        self.colour_jitter = colour_jitter
        self.repeats = repeat_factors(self.records, balance)
        self.seed = seed
        self.processes = processes
        self._order = lru_cache(maxsize=2)(self._epoch)

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_order"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._order = lru_cache(maxsize=2)(self._epoch)

    @property
    def batches_per_epoch(self) -> int:
        return max(int(self.repeats.sum()) // self.sampling.images_per_batch, 1)

    def __getitem__(self, number: int) -> Batch:
        chosen, generators = self._chosen(number)
        scales = [self._draw_scale(record, generator) for record, generator in zip(chosen, generators, strict=True)]
        sizes = [scaled_size(record.width, record.height, scale) for record, scale in zip(chosen, scales, strict=True)]
        mine = self.processes.share(range(len(chosen)))
        samples = [self._sample(chosen[i], i, scales[i], generators[i]) for i in mine]
        size = max(width for width, _ in sizes), max(height for _, height in sizes)
        return self._batch(_stack([image for image, *_ in samples], *size), samples, tuple(chosen[i].id for i in mine))

    def _batch(self, images: Tensor, samples: list[tuple[Tensor, SampledRois, Scene]], ids: tuple[str, ...]) -> Batch:
        """What `_sample` gave of each image, together; `images` are theirs, padded."""
        _, sampled, scenes = zip(*samples, strict=True)
        rois = torch.cat([F.pad(part.rois, (1, 0), value=i) for i, part in enumerate(sampled)])
        labels = torch.cat([part.labels for part in sampled])
        return Batch(images, rois, labels, torch.cat([part.deltas for part in sampled]), ids, scenes)

    def _chosen(self, number: int) -> tuple[list[ImageRecord], list[torch.Generator]]:
        """The images of a batch, and what decides at random in each."""
        epoch, place = divmod(number, self.batches_per_epoch)
        chosen = [self.records[i] for i in self._order(epoch)[place]]
        return chosen, [_generator(self.seed, 1, number, i) for i in range(len(chosen))]

    def _epoch(self, epoch: int) -> list[list[int]]:
        """Every image about as often as its repeat factor says, in an order drawn for this epoch; landscape with
        landscape, to pad little."""
        size = self.sampling.images_per_batch
        generator = _generator(self.seed, 0, epoch)
        order = self._draw_images(generator)
        order *= -(-size // len(order))
        order = order[: self.batches_per_epoch * size]  # what is left out is drawn before the images are sorted
        upright = [i for i in order if self.records[i].height > self.records[i].width]
        wide = [i for i in order if self.records[i].height <= self.records[i].width]
        # Whole batches of either kind, then one of both from what is left over, mixed: places differ in what they give.
        rest = wide[len(wide) // size * size :] + upright[len(upright) // size * size :]
        rest = [rest[i] for i in torch.randperm(len(rest), generator=generator).tolist()]
        line = wide[: len(wide) // size * size] + upright[: len(upright) // size * size] + rest
        batches = [line[i : i + size] for i in range(0, len(line), size)]
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def _draw_images(self, generator: torch.Generator) -> list[int]:
        """Numbers of images, shuffled: each `repeats` times, a fraction by chance, and sum(repeats) in all."""
        whole = self.repeats.floor()
        certain = torch.repeat_interleave(torch.arange(len(self.records)), whole.long())
        chance = self.repeats - whole
        left = int(self.repeats.sum()) - len(certain)
        if left:
            certain = torch.cat((certain, torch.multinomial(chance, left, generator=generator)))
        return certain[torch.randperm(len(certain), generator=generator)].tolist()

    def _draw_scale(self, record: ImageRecord, generator: torch.Generator) -> float:
        short_sides = self.scales.short_sides
        short_side = short_sides[int(torch.randint(len(short_sides), (), generator=generator))]
        return scale_to(record.width, record.height, short_side, self.scales.long_side)

    def _sample(
        self, record: ImageRecord, place: int, scale: float, generator: torch.Generator
    ) -> tuple[Tensor, SampledRois, Scene]:
        """An image as the network gets it, the RoIs to learn from, and what is on it, in its pixels."""
        image, sampled, scene = self._draw_rois(record, place, generator)
        image, ratio = scale_image(image, scale)
        image = self._jittered(image, generator)
        height, width = image.shape[:2]
        rois = clip(sampled.rois * torch.from_numpy(ratio), width, height)
        pixels = self.normalisation(torch.from_numpy(image).permute(2, 0, 1))
        return pixels, replace(sampled, rois=rois), scene.resized(torch.from_numpy(ratio), (width, height))

    def _draw_rois(
        self, record: ImageRecord, place: int, generator: torch.Generator
    ) -> tuple[np.ndarray, SampledRois, Scene]:
        """An image, mirrored or not, what is learnt from of it, and what is on it, in its pixels."""
        image, scene, mirrored = self._draw_scene(record, place, generator)
        proposals = torch.from_numpy(self.proposals.get(record.id, record.width, record.height))
        if mirrored:
            proposals = flip(proposals, record.width)
        objects = (scene.boxes, scene.labels)
        return image, sample_rois(proposals, *objects, self.sampling, generator, place, scene.crowds), scene

    def _draw_scene(
        self, record: ImageRecord, place: int, generator: torch.Generator
    ) -> tuple[np.ndarray, Scene, bool]:
        """An image, what is on it, in its pixels, and whether both are mirrored."""
        objects = record.objects.without_crowds()
        boxes, crowds = torch.from_numpy(objects.boxes), torch.from_numpy(record.objects.crowds())
        image = self._load(record)
        mirrored = bool(torch.rand((), generator=generator) < self.flip_probability)
        if mirrored:
            image = mirror(image)
            boxes, crowds = (flip(part, record.width) for part in (boxes, crowds))
        size = (record.width, record.height)
        return image, Scene(place, size, boxes, torch.from_numpy(objects.labels), crowds), mirrored

    def _load(self, record: ImageRecord) -> np.ndarray:
        image = load_image(record.path)
        if image.shape[:2] != (record.height, record.width):
            raise DataError(f"{record.path}: no longer {record.width} x {record.height} pixels; changed meanwhile?")
        return image

    def _jittered(self, image: np.ndarray, generator: torch.Generator) -> np.ndarray:
        if not self.colour_jitter:
            return image
        factors = 1 + self.colour_jitter * (2 * torch.rand(3, generator=generator) - 1)
        return jitter_colours(image, *factors.tolist())


def repeat_factors(records: tuple[ImageRecord, ...], balance: float) -> Tensor:
    """Return how often each image comes up in an epoch: sqrt(balance / f) of its rarest class, at least once.

    f is the share of images that show a class (repeat factor sampling: Gupta et al., LVIS, CVPR 2019, section 4.2).

    Returns:
        float64 Tensor[len(records)], 1 and more.
    """
    shown = [set(record.objects.without_crowds().labels.tolist()) for record in records]
    count = Counter(label for labels in shown for label in labels)
    factor = {label: max(1.0, sqrt(balance * len(records) / images)) for label, images in count.items()}
    return torch.tensor(
        [max((factor[label] for label in labels), default=1.0) for labels in shown], dtype=torch.float64
    )


def target_statistics(
    records: tuple[ImageRecord, ...], proposals: Proposals, foreground_iou: float
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the regression targets over every foreground RoI: Tensor[4] each.

    Raises:
        DataError: no RoI of the data set is foreground.
    """
    count, total, squares = 0, torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for record in records:
        gt_boxes = torch.from_numpy(record.objects.without_crowds().boxes)
        if len(gt_boxes) == 0:
            continue
        boxes = torch.cat((gt_boxes, torch.from_numpy(proposals.get(record.id, record.width, record.height))))
        overlap, matched = best_overlap(boxes, gt_boxes)
        foreground = overlap >= foreground_iou
        deltas = encode(boxes[foreground], gt_boxes[matched[foreground]]).double()
        count += len(deltas)
        total += deltas.sum(dim=0)
        squares += deltas.square().sum(dim=0)
    if count == 0:
        raise DataError("nothing to learn from: no image has an object")
    mean = total / count
    # A handful of RoIs may all agree; a spread of 0 could not be divided by.
    std = (squares / count - mean.square()).clamp(min=1e-4).sqrt()
    return mean.float(), std.float()


def _stack(images: list[Tensor], width: int, height: int) -> Tensor:
    stacked = torch.zeros(len(images), 3, height, width).to(memory_format=torch.channels_last)
    for target, image in zip(stacked, images, strict=True):
        target[:, : image.shape[1], : image.shape[2]] = image
    return stacked


def derived_seed(seed: int, purpose: int, *numbers: int) -> int:
    """A seed of its own for each purpose and number."""
    state = np.random.SeedSequence((seed, purpose, *numbers)).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))


def _generator(seed: int, purpose: int, *numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(derived_seed(seed, purpose, *numbers))
