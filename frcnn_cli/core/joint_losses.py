"""The losses of Faster R-CNN's two networks in one pass (section 3.2 of its paper, approximate joint training)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from frcnn_cli.core.faster_rcnn import FasterRCNN
from frcnn_cli.core.losses import multi_task_loss
from frcnn_cli.core.rpn.anchors import inside, of_image
from frcnn_cli.core.rpn.config import AnchorSampling, ProposalSelection
from frcnn_cli.core.rpn.losses import anchor_loss
from frcnn_cli.core.rpn.selection import select_proposals
from frcnn_cli.core.rpn.targets import sample_anchors
from frcnn_cli.core.sampling import SampledRois, sample_rois
from frcnn_cli.core.sampling_config import SamplingConfig
from frcnn_cli.core.scenes import Scene

LOSSES = ("cls", "bbox", "rpn_cls", "rpn_bbox")
"""Terms of the loss: the head's, and the network's."""


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
    anchors, stride = scores.anchors.cpu(), model.backbone.stride
    share = sampling.rois.images_per_batch
    losses = dict.fromkeys(LOSSES, images.new_zeros(()))
    drawn = []
    for i, (scene, generator) in enumerate(zip(scenes, generators, strict=True)):
        logits, deltas = scores.logits[i], scores.deltas[i]
        real = of_image(anchors, *scene.size, stride)
        allowed = real if sampling.anchors.across_border else real & inside(anchors, *scene.size)
        chosen = sample_anchors(anchors, allowed, scene.boxes, sampling.anchors, generator, scene.crowds)
        _add(losses, anchor_loss(logits, deltas, chosen, len(chosen) * share))
        logits = logits.masked_fill(~real.to(logits.device), -torch.inf)
        boxes, _ = select_proposals(logits, deltas, scores.anchors, scene.size, sampling.proposals)
        objects = (scene.boxes, scene.labels)
        drawn.append(sample_rois(boxes.cpu(), *objects, sampling.rois, generator, scene.place, scene.crowds))
    for sampled, (logits, deltas) in zip(drawn, _head_outputs(model, features, drawn), strict=True):
        targets = ((sampled.deltas - target_mean) / target_std).to(logits.device)
        labels, count = sampled.labels.to(logits.device), len(sampled) * share
        _add(losses, multi_task_loss(logits, deltas, labels, targets, box_weight, count))
    return JointLosses(losses, drawn)


def _head_outputs(model: FasterRCNN, features: Tensor, drawn: Sequence[SampledRois]) -> Iterator[tuple[Tensor, Tensor]]:
    """Class logits Tensor[R_i, 1 + C] and deltas Tensor[R_i, C, 4] of each image's RoIs, which pass together."""
    rois = torch.cat([F.pad(sampled.rois, (1, 0), value=i) for i, sampled in enumerate(drawn)])
    logits, deltas = model.head(model.roi_pool(features, rois.to(features.device)))
    counts = [len(sampled) for sampled in drawn]
    return zip(logits.float().split(counts), deltas.float().split(counts), strict=True)


def _add(losses: dict[str, Tensor], more: dict[str, Tensor]) -> None:
    for name, value in more.items():
        losses[name] = losses[name] + value
