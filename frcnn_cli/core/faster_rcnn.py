"""Faster R-CNN: Fast R-CNN whose RoIs a region proposal network finds on the map they are pooled from (Ren et al.,
Faster R-CNN: Towards real-time object detection with region proposal networks, NIPS 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from frcnn_cli.core.losses import multi_task_loss
from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.core.rpn.anchors import RATIOS, SIZES, inside, of_image
from frcnn_cli.core.rpn.config import AnchorSampling, ProposalSelection
from frcnn_cli.core.rpn.losses import anchor_loss
from frcnn_cli.core.rpn.network import RegionProposalNetwork
from frcnn_cli.core.rpn.selection import select_proposals
from frcnn_cli.core.rpn.targets import sample_anchors
from frcnn_cli.core.sampling import SampledRois, sample_rois
from frcnn_cli.core.sampling_config import SamplingConfig

MOST_CHANNELS = 512
"""Of the network's convolution, which otherwise has those of the map, as the paper's for VGG16 (512) and ZF (256)."""

TARGET_STD = (0.1, 0.1, 0.2, 0.2)
"""Spread of the head's regression targets, as in the paper's code: it cannot be measured over a data set, as proposals
come and go with the network that makes them."""


LOSSES = ("cls", "bbox", "rpn_cls", "rpn_bbox")
"""Terms of the loss: the head's, and the network's."""


@dataclass(frozen=True)
class FasterArchitecture(Architecture):
    """Fast R-CNN's, and the anchors.

    Attributes:
        anchor_sizes: square roots of their areas, in pixels of the network's input.
        anchor_ratios: their height by their width.

    Raises:
        ValueError: no anchor, or one without an area.
    """

    anchor_sizes: tuple[int, ...] = SIZES
    anchor_ratios: tuple[float, ...] = RATIOS

    def __post_init__(self) -> None:
        for name in ("anchor_sizes", "anchor_ratios"):
            values = tuple(getattr(self, name))  # JSON has lists
            if not values or not all(value > 0 for value in values):
                raise ValueError(f"{name} {list(values)} are no sizes")
            object.__setattr__(self, name, values)


class FasterRCNN(FastRCNN):
    """The detector: images in, class logits and box deltas of its own proposals out."""

    def __init__(self, architecture: FasterArchitecture, dropout: float = 0.5) -> None:
        super().__init__(architecture, dropout)
        channels = self.backbone.channels
        sizes, ratios = architecture.anchor_sizes, architecture.anchor_ratios
        self.rpn = RegionProposalNetwork(channels, min(channels, MOST_CHANNELS), sizes, ratios, self.backbone.stride)


@dataclass(frozen=True)
class Scene:
    """An image of a batch, and what is on it, in pixels of the network's input.

    Attributes:
        place: of the image in the mini-batch, from 0.
        size: (width, height), without the padding.
        boxes: Tensor[G, 4] of the objects, G >= 0.
        labels: int64 Tensor[G], classes from 1.
        crowds: Tensor[M, 4], regions of objects that are not in `boxes`.
    """

    place: int
    size: tuple[int, int]
    boxes: Tensor
    labels: Tensor
    crowds: Tensor


@dataclass(frozen=True)
class JointSampling:
    """How a mini-batch is drawn: anchors for the network, proposals, and RoIs among them for the head."""

    rois: SamplingConfig
    anchors: AnchorSampling
    proposals: ProposalSelection


class JointLosses(NamedTuple):
    """What a pass in training gives.

    Attributes:
        losses: scalars by the names in `LOSSES`; their sum is the loss.
        rois: of each image, those that the head learned from.
    """

    losses: dict[str, Tensor]
    rois: list[SampledRois]


def joint_losses(
    model: FasterRCNN,
    images: Tensor,
    scenes: Sequence[Scene],
    generators: Sequence[torch.Generator],
    sampling: JointSampling,
    target_mean: Tensor,
    target_std: Tensor,
    box_weight: float = 1.0,
) -> JointLosses:
    """The losses of both networks in one pass (section 3.2, approximate joint training): the head learns from RoIs that
    are drawn among the proposals of the moment, which are constants to it.

    The anchors of an image are averaged, and so are its RoIs, and then the images of the mini-batch: what parts of the
    batch give adds up to what the whole would.

    Args:
        model: in training mode.
        images: Tensor[N, 3, H, W], normalised, padded.
        scenes: what is on each.
        generators: a source of draws for each.
        sampling: how to draw.
        target_mean: Tensor[4], of the head's regression targets.
        target_std: Tensor[4].
        box_weight: lambda of the head's loss.
    """
    features = model.backbone(images)
    scores = model.rpn(features)
    anchors = scores.anchors.cpu()
    batch = sampling.rois.images_per_batch
    losses = dict.fromkeys(LOSSES, images.new_zeros(()))
    drawn = []
    for i, (scene, generator) in enumerate(zip(scenes, generators, strict=True)):
        real = of_image(anchors, *scene.size, model.backbone.stride)
        allowed = real if sampling.anchors.across_border else real & inside(anchors, *scene.size)
        chosen = sample_anchors(anchors, allowed, scene.boxes, sampling.anchors, generator, scene.crowds)
        _add(losses, anchor_loss(scores.logits[i], scores.deltas[i], chosen, len(chosen) * batch))
        logits = scores.logits[i].masked_fill(~real.to(images.device), -torch.inf)
        boxes, _ = select_proposals(logits, scores.deltas[i], scores.anchors, scene.size, sampling.proposals)
        gt = (scene.boxes, scene.labels)
        drawn.append(sample_rois(boxes.cpu(), *gt, sampling.rois, generator, scene.place, scene.crowds))
    rois = torch.cat([F.pad(sampled.rois, (1, 0), value=i) for i, sampled in enumerate(drawn)])
    logits, deltas = model.head(model.roi_pool(features, rois.to(images.device)))
    shares = [len(sampled) for sampled in drawn]
    for sampled, own_logits, own_deltas in zip(drawn, logits.split(shares), deltas.split(shares), strict=True):
        labels = sampled.labels.to(images.device)
        targets = ((sampled.deltas - target_mean) / target_std).to(images.device)
        count = len(sampled) * batch
        _add(losses, multi_task_loss(own_logits.float(), own_deltas.float(), labels, targets, box_weight, count))
    return JointLosses(losses, drawn)


def _add(losses: dict[str, Tensor], more: dict[str, Tensor]) -> None:
    for name, value in more.items():
        losses[name] = losses[name] + value
