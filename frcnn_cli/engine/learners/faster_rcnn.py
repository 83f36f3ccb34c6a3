"""How Faster R-CNN learns: both networks in one pass, from the proposals of the moment (approximate joint training)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from frcnn_cli.core.rpn.config import TRAINING, AnchorSampling
from frcnn_cli.engine.detectors import FAST_RCNN
from frcnn_cli.engine.learners.fast_rcnn import FastRCNNLearner
from frcnn_cli.settings import setting

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from frcnn_cli.core.backbones import BackboneConfig
    from frcnn_cli.data.proposals import Proposals
    from frcnn_cli.data.samples import Dataset
    from frcnn_cli.engine.detectors import Architecture
    from frcnn_cli.engine.distributed import Processes
    from frcnn_cli.engine.model_config import ModelConfig
    from frcnn_cli.engine.run_state import Run
    from frcnn_cli.engine.scene_batches import SceneBatch, SceneBatches
    from frcnn_cli.engine.training_config import TrainingConfig


@dataclass(frozen=True)
class FasterOptions:
    """What only Faster R-CNN has.

    Attributes:
        anchor_sizes: square roots of the anchors' areas; None for `core.rpn.anchors.SIZES`.
        anchor_sampling: which of them to learn from.
        training_proposals: of an image, that its RoIs are drawn from.
    """

    anchor_sizes: tuple[int, ...] | None = setting(
        None,
        "Sides of the square anchors, in pixels of the network's input; others have the same areas.",
        table="detector",
        metavar="A,B,...",
        shown_default="32,64,128,256,512",
        check=lambda sizes: None if sizes else "needs a number",
        lasting=True,
        building=True,
    )
    anchor_sampling: AnchorSampling = field(default_factory=AnchorSampling)
    training_proposals: int = setting(
        TRAINING.count, "The most proposals of an image that RoIs are drawn from.", table="detector", least=1
    )


class FasterRCNNLearner(FastRCNNLearner):
    """See `Learner`."""

    options = FasterOptions
    needs_proposals = False
    # Any RoI that is not foreground is background, as in the paper's code: proposals of nothing are to be unlearned.
    defaults = {"background_iou": (0.0, 0.5)}  # noqa: RUF012
    unused = {"second_look": "its RoIs are drawn anew in each pass"}  # noqa: RUF012
    losses = ("cls", "bbox", "rpn_cls", "rpn_bbox")
    starts_from = (FAST_RCNN,)

    def architecture(
        self, config: ModelConfig, backbone: BackboneConfig, num_classes: int, options: FasterOptions
    ) -> Architecture:
        from frcnn_cli.core.faster_rcnn import FasterArchitecture

        own = super().architecture(config, backbone, num_classes, options)
        sizes = {"anchor_sizes": options.anchor_sizes} if options.anchor_sizes else {}
        return FasterArchitecture(**vars(own), **sizes)

    def adopt(self, architecture: Architecture) -> Architecture:
        from frcnn_cli.core.faster_rcnn import FasterArchitecture

        return FasterArchitecture(**vars(architecture))

    def build(self, architecture: Architecture, dropout: float) -> nn.Module:
        from frcnn_cli.core.faster_rcnn import FasterRCNN

        return FasterRCNN(architecture, dropout)

    def target_statistics(
        self, dataset: Dataset, proposals: Proposals | None, config: TrainingConfig
    ) -> tuple[Tensor, Tensor]:
        import torch

        from frcnn_cli.core.faster_rcnn import TARGET_STD

        return torch.zeros(4), torch.tensor(TARGET_STD) if config.normalise_targets else torch.ones(4)

    def batches(self, run: Run, dataset: Dataset, proposals: Proposals | None, processes: Processes) -> SceneBatches:
        from frcnn_cli.engine.scene_batches import SceneBatches

        return self._batches_of(SceneBatches, run, dataset, proposals, processes)

    def step_losses(self, run: Run, part: SceneBatch, device: torch.device, count: int) -> dict[str, Any]:
        import torch

        from frcnn_cli.core.joint_losses import JointSampling, joint_losses

        options: FasterOptions = run.options
        proposals = TRAINING.of(options.training_proposals)
        with run.autocast(device):
            losses, drawn = joint_losses(
                run.model,
                part.images.to(device, memory_format=torch.channels_last),
                part.scenes,
                [torch.Generator().manual_seed(seed) for seed in part.seeds],
                JointSampling(run.config.sampling, options.anchor_sampling, proposals),
                run.target_mean,
                run.target_std,
                run.config.box_weight,
            )
        foreground = sum(int((rois.labels > 0).sum()) for rois in drawn)
        return {**losses, "rois": sum(map(len, drawn)), "foreground": foreground}


LEARNER = FasterRCNNLearner()
