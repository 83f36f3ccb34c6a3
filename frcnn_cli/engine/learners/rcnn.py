"""How R-CNN learns (Girshick et al., CVPR 2014): from crops of all images, 32 of objects and 96 of others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from frcnn_cli.engine.learners.staged import StagedLearner
from frcnn_cli.engine.staged.options import RCNNOptions

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn
    from torch.utils.data import Dataset as TorchDataset

    from frcnn_cli.core.backbones import BackboneConfig
    from frcnn_cli.data.proposals import Proposals
    from frcnn_cli.data.samples import Dataset
    from frcnn_cli.engine.batches import Batch
    from frcnn_cli.engine.detectors import Architecture
    from frcnn_cli.engine.distributed import Processes
    from frcnn_cli.engine.model_config import ModelConfig
    from frcnn_cli.engine.run_state import Run

CROPS = {"alexnet": 227}
"""Of backbones that learned from images of another size than 224."""


class RCNNLearner(StagedLearner):
    """See `Learner`."""

    options = RCNNOptions
    defaults = {  # noqa: RUF012
        "sampling": "region-wise",
        "rois_per_batch": 128,
        "foreground_fraction": 0.25,
        "background_iou": (0.0, 0.5),
        "images_per_pass": 32,
    }
    unused = {  # noqa: RUF012
        **StagedLearner.unused,
        "short_side": "R-CNN looks at crops of one size (--crop)",
        "long_side": "R-CNN looks at crops of one size (--crop)",
    }

    def architecture(
        self, config: ModelConfig, backbone: BackboneConfig, num_classes: int, options: RCNNOptions
    ) -> Architecture:
        from frcnn_cli.core.rcnn import RCNNArchitecture

        return RCNNArchitecture(
            config.backbone,
            num_classes,
            config.fc_width or backbone.fc_width,
            neck=backbone.neck if config.neck is None else config.neck,
            roi_size=config.roi_size or backbone.roi_size,
            crop=options.crop or CROPS.get(config.backbone, 224),
            context=options.context,
        )

    def build(self, architecture: Architecture, dropout: float) -> nn.Module:
        from frcnn_cli.core.rcnn import RCNN

        return RCNN(architecture, dropout)

    def batches(
        self, run: Run, dataset: Dataset, proposals: Proposals | None, processes: Processes
    ) -> TorchDataset[Batch]:
        from frcnn_cli.engine.staged.crop_batches import CropBatches

        batches = super().batches(run, dataset, proposals, processes)
        return CropBatches.of(batches, run.model.architecture)

    def step_losses(self, run: Run, part: Batch, device: torch.device, count: int) -> dict[str, Tensor]:
        import torch
        from torch.nn import functional as F

        with run.autocast(device):
            logits = run.model(part.images.to(device, memory_format=torch.channels_last))
        return {"cls": F.cross_entropy(logits.float(), part.labels.to(device), reduction="sum") / max(count, 1)}

    def extract(self, engine: Any, image: np.ndarray, boxes: Tensor) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        from frcnn_cli.core.rcnn import warp
        from frcnn_cli.engine.detectors.rcnn import CROPS
        from frcnn_cli.engine.staged.pipeline import in_parts

        model = engine.model.eval()
        for rows in in_parts(boxes, CROPS):
            crops = warp(image, boxes[rows], model.architecture, engine.normalisation).to(engine.device)
            pooled = model.pooled(crops)
            yield rows, pooled.cpu(), model.head.fc7_of(pooled).cpu()


LEARNER = RCNNLearner()
