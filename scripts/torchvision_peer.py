"""Fast R-CNN of the parts that torchvision and timm offer: what people would train instead. bench_training.py runs it.

timm's EfficientNet-Lite0 with its own frozen batch norm; torchvision's MultiScaleRoIAlign, RoIHeads, TwoMLPHead,
FastRCNNPredictor and loss; torch's AdamW as it comes. The neck is this package's, so that both see the same map.
"""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign

from frcnn_cli.core.backbones.network import Backbone
from frcnn_cli.core.model import FastRCNN, Head
from frcnn_cli.core.necks import TopDownNeck
from frcnn_cli.engine.batches import Batch

MAP = "0"
"""torchvision's name of a network's first feature map."""


class SampledRoIHeads(RoIHeads):
    """torchvision's heads, fed with RoIs that are sampled and labelled already."""

    def select_training_samples(self, proposals, targets):
        """What torchvision would do within the step is done in making the batch, for this package and here alike."""
        weights = torch.tensor(self.box_coder.weights)
        deltas = [target["deltas"] * weights for target in targets]
        return proposals, None, [target["labels"] for target in targets], deltas


class TorchvisionPeer(nn.Module):
    """The detector; its weights begin as copies of another's.

    Attributes are named as those of `FastRCNN`, so that `build_optimizer` makes the same groups of parameters.

    Args:
        ours: an EfficientNet-Lite0 with a neck and a box for each class.
    """

    def __init__(self, ours: FastRCNN) -> None:
        super().__init__()
        architecture = ours.architecture
        size, width, classes = architecture.roi_size, architecture.fc_width, 1 + architecture.num_classes
        self.backbone = plain_backbone(ours.backbone)
        self.head = SampledRoIHeads(
            MultiScaleRoIAlign([MAP], size, sampling_ratio=2),
            TwoMLPHead(ours.backbone.channels * size**2, width),
            FastRCNNPredictor(width, classes),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=64,
            positive_fraction=0.25,
            bbox_reg_weights=None,  # torchvision's own: 10, 10, 5, 5
            score_thresh=0.05,
            nms_thresh=0.5,
            detections_per_img=100,
        )
        _copy_head(ours.head, self.head, size)

    def forward(self, images: Tensor, rois: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The losses by torchvision's names."""
        sizes = [tuple(images.shape[-2:])] * len(images)
        _, losses = self.head({MAP: self.backbone(images)}, rois, sizes, targets)
        return losses

    @torch.inference_mode()
    def score(self, image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """As `FastRCNN.score`: probabilities Tensor[K, 1 + C] and plain deltas Tensor[K, C, 4]."""
        pooled = self.head.box_roi_pool({MAP: self.backbone(image[None])}, [boxes], [tuple(image.shape[-2:])])
        logits, deltas = self.head.box_predictor(self.head.box_head(pooled))
        return logits.softmax(dim=1), deltas.unflatten(1, (-1, 4))[:, 1:] / torch.tensor(self.head.box_coder.weights)


def plain_backbone(ours: Backbone) -> Backbone:
    """The same network, weights and neck with batch norm as timm has it, a pass of its own; frozen alike."""
    body = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(-3, -2, -1))
    neck = TopDownNeck(body.feature_info.channels(), ours.channels)
    backbone = Backbone(body, ours.channels, ours.frozen, neck)
    backbone.load_state_dict(ours.state_dict())
    backbone.freeze()
    return backbone


def peer_step(
    model: TorchvisionPeer, batch: Batch, optimizer: torch.optim.Optimizer, memory_format: torch.memory_format
) -> float:
    """One update on the batch; returns the loss.

    Raises:
        FloatingPointError: it is not finite.
    """
    inside = [batch.rois[:, 0] == index for index in range(len(batch.images))]
    rois = [batch.rois[mine, 1:] for mine in inside]
    targets = [
        {"boxes": boxes, "labels": batch.labels[mine], "deltas": batch.deltas[mine]}
        for boxes, mine in zip(rois, inside, strict=True)
    ]
    losses = model(batch.images.contiguous(memory_format=memory_format), rois, targets)
    loss = sum(losses.values())
    value = loss.item()
    if not value < float("inf"):
        raise FloatingPointError(f"the loss is {value}")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return value


@torch.no_grad()
def _copy_head(ours: Head, theirs: RoIHeads, size: int) -> None:
    """fc6 reads (channel, row, column) there and (row, column, channel) here; the background has a box there."""
    theirs.box_head.load_state_dict({**ours.fc6.state_dict(prefix="fc6."), **ours.fc7.state_dict(prefix="fc7.")})
    by_cell = ours.fc6.weight.unflatten(1, (size, size, -1))
    theirs.box_head.fc6.weight.copy_(by_cell.permute(0, 3, 1, 2).flatten(1))
    theirs.box_predictor.cls_score.load_state_dict(ours.cls_score.state_dict())
    for parameter, of_ours in (
        (theirs.box_predictor.bbox_pred.weight, ours.bbox_pred.weight),
        (theirs.box_predictor.bbox_pred.bias, ours.bbox_pred.bias),
    ):
        parameter[:4] = 0
        parameter[4:] = of_ours
