"""How SPPnet learns (He et al., ECCV 2014): fc6 and fc7 alone, on features of convolutions that stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from frcnn_cli.engine.learners.staged import StagedLearner
from frcnn_cli.engine.staged.options import SPPOptions

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from frcnn_cli.core.backbones import BackboneConfig
    from frcnn_cli.engine.batches import Batch
    from frcnn_cli.engine.detectors import Architecture
    from frcnn_cli.engine.model_config import ModelConfig
    from frcnn_cli.engine.run_state import Run

WINDOWS = 256
"""That go through fc6 and fc7 at a time."""

ALIKE = 0.7
"""A negative that overlaps a harder one by more is dropped."""


class SPPnetLearner(StagedLearner):
    """See `Learner`."""

    options = SPPOptions
    defaults = {  # noqa: RUF012
        "neck": 0,  # a new one would stay random
        "background_iou": (0.1, 0.5),
        "foreground_fraction": 0.25,
    }
    unused = {  # noqa: RUF012
        **StagedLearner.unused,
        "roi_size": "SPPnet pools a pyramid (--pyramid)",
        "backbone_lr_factor": "the convolutions stay as they are",
    }
    near_iou = 0.5

    def architecture(
        self, config: ModelConfig, backbone: BackboneConfig, num_classes: int, options: SPPOptions
    ) -> Architecture:
        from frcnn_cli.core.sppnet import SPPArchitecture

        return SPPArchitecture(
            config.backbone,
            num_classes,
            config.fc_width or backbone.fc_width,
            neck=backbone.neck if config.neck is None else config.neck,
            pyramid=options.pyramid,
        )

    def build(self, architecture: Architecture, dropout: float) -> nn.Module:
        from frcnn_cli.core.sppnet import SPPNet

        return SPPNet(architecture, dropout)

    def freeze(self, model: nn.Module) -> None:
        super().freeze(model)
        model.backbone.requires_grad_(False)

    def step_losses(self, run: Run, part: Batch, device: torch.device, count: int) -> dict[str, Tensor]:
        import torch
        from torch.nn import functional as F

        images = part.images.to(device, memory_format=torch.channels_last)
        with run.autocast(device):
            logits = run.model(images, part.rois.to(device))
        return {"cls": F.cross_entropy(logits.float(), part.labels.to(device), reduction="sum") / max(count, 1)}

    def extract(self, engine: Any, image: np.ndarray, boxes: Tensor) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        import torch

        from frcnn_cli.data.transforms import scale_image, scale_to
        from frcnn_cli.engine.staged.pipeline import in_parts

        height, width = image.shape[:2]
        scaled, ratio = scale_image(image, scale_to(width, height, engine.short_side, engine.long_side))
        tensor = engine.normalisation(torch.from_numpy(scaled).permute(2, 0, 1)).to(engine.device)
        model = engine.model.eval()
        features = model.backbone(tensor[None].to(memory_format=torch.channels_last))
        windows = (boxes * torch.from_numpy(ratio)).to(engine.device)
        for rows in in_parts(boxes, WINDOWS):
            here = windows[rows]
            pooled = model.pooled(features, torch.cat((here.new_zeros(len(here), 1), here), dim=1))
            yield rows, pooled.cpu(), model.head.fc7_of(pooled).cpu()

    def select(self, boxes: np.ndarray, margins: np.ndarray) -> np.ndarray:
        """The hardest negatives, without those that overlap one of them by more than 0.7."""
        import torch
        from torchvision.ops import nms

        return nms(torch.from_numpy(boxes), torch.from_numpy(margins).float(), ALIKE).numpy()


LEARNER = SPPnetLearner()
