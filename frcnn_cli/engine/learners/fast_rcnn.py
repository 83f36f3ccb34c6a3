"""How Fast R-CNN learns (paper, section 2.3): one stage, two losses, from sampled RoIs of a few images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from frcnn_cli.engine.learners import NoOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.utils.data import Dataset as TorchDataset

    from frcnn_cli.core.backbones import BackboneConfig
    from frcnn_cli.data.proposals import Proposals
    from frcnn_cli.data.samples import Dataset
    from frcnn_cli.engine.batches import Batch, TrainingBatches
    from frcnn_cli.engine.detectors import Architecture
    from frcnn_cli.engine.distributed import Processes
    from frcnn_cli.engine.model_config import ModelConfig
    from frcnn_cli.engine.run_folder import Observer
    from frcnn_cli.engine.run_state import Run
    from frcnn_cli.engine.trainer import Validation
    from frcnn_cli.engine.training_config import TrainingConfig


class FastRCNNLearner:
    """See `Learner`."""

    options = NoOptions
    needs_proposals = True
    defaults: dict[str, Any] = {}  # noqa: RUF012 (nobody writes into it)
    unused: dict[str, str] = {}  # noqa: RUF012
    losses = ("cls", "bbox")
    starts_from: tuple[str, ...] = ()

    def architecture(
        self, config: ModelConfig, backbone: BackboneConfig, num_classes: int, options: Any
    ) -> Architecture:
        from frcnn_cli.core.model import Architecture

        return Architecture(
            config.backbone,
            num_classes,
            config.roi_size or backbone.roi_size,
            config.fc_width or backbone.fc_width,
            neck=backbone.neck if config.neck is None else config.neck,
            class_agnostic=config.class_agnostic,
        )

    def adopt(self, architecture: Architecture) -> Architecture:
        raise NotImplementedError

    def build(self, architecture: Architecture, dropout: float) -> nn.Module:
        from frcnn_cli.core.model import FastRCNN

        return FastRCNN(architecture, dropout)

    def freeze(self, model: nn.Module) -> None:
        model.backbone.freeze()

    def target_statistics(
        self, dataset: Dataset, proposals: Proposals | None, config: TrainingConfig
    ) -> tuple[Tensor, Tensor]:
        import torch

        from frcnn_cli.engine.batches import target_statistics

        mean, std = target_statistics(dataset.records, proposals, config.sampling.foreground_iou)
        return (mean, std) if config.normalise_targets else (torch.zeros(4), torch.ones(4))

    def batches(
        self, run: Run, dataset: Dataset, proposals: Proposals | None, processes: Processes
    ) -> TorchDataset[Batch]:
        from frcnn_cli.engine.batches import TrainingBatches

        return self._batches_of(TrainingBatches, run, dataset, proposals, processes)

    def _batches_of(
        self,
        kind: type[TrainingBatches],
        run: Run,
        dataset: Dataset,
        proposals: Proposals | None,
        processes: Processes,
    ) -> TrainingBatches:
        """Batches as the run's config says, of a class that has the arguments of `TrainingBatches`."""
        config = run.config
        return kind(
            dataset.records,
            proposals,
            run.normalisation,
            config.sampling,
            config.scales,
            config.flip_probability,
            config.seed,
            config.colour_jitter,
            config.balance,
            processes,
        )

    def step_losses(self, run: Run, part: Batch, device: torch.device, count: int) -> dict[str, Tensor]:
        import torch

        rois, config = part.rois.to(device), run.config
        with run.autocast(device):
            features = run.model.backbone(part.images.to(device, memory_format=torch.channels_last))
            logits, deltas = run.model.head(run.model.roi_pool(features, rois))
        logits, deltas = logits.float(), deltas.float()
        losses = self._losses(run, logits, deltas, part.labels, part.deltas, count)
        if config.second_look:
            more = self._second_look_losses(run, features, part, logits, deltas, count)
            losses = {name: losses[name] + config.second_look * more[name] for name in losses}
        return losses

    def _losses(
        self, run: Run, logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor, count: int
    ) -> dict[str, Tensor]:
        """The multi-task loss; `labels` and `targets` are on the CPU, and the targets not normalised."""
        from frcnn_cli.core.losses import multi_task_loss

        device = logits.device
        normalised = ((targets - run.target_mean) / run.target_std).to(device)
        return multi_task_loss(logits, deltas, labels.to(device), normalised, run.config.box_weight, count)

    def _second_look_losses(
        self, run: Run, features: Tensor, part: Batch, logits: Tensor, deltas: Tensor, count: int
    ) -> dict[str, Tensor]:
        """The losses of the RoIs where the first look, whose outputs are given, moved them."""
        import torch

        from frcnn_cli.core.refinement import moved_rois

        device = features.device
        predicted = deltas.detach().cpu() * run.target_std + run.target_mean
        iou = run.config.sampling.foreground_iou
        moved, images = moved_rois(part.rois, logits.detach().cpu(), predicted, part.scenes, iou)
        rois = torch.cat((images[:, None].to(moved.rois), moved.rois), dim=1).to(device)
        with run.autocast(device):
            logits, deltas = run.model.head(run.model.roi_pool(features, rois))
        return self._losses(run, logits.float(), deltas.float(), moved.labels, moved.deltas, count)

    def train(
        self,
        run: Run,
        dataset: Dataset,
        proposals: Proposals | None,
        output: Path,
        observer: Observer,
        validation: Validation | None,
        workers: int,
        device: torch.device | str,
        processes: Processes,
    ) -> None:
        from frcnn_cli.engine.trainer import train

        train(run, dataset, proposals, output, observer, validation, workers, device, processes)


LEARNER = FastRCNNLearner()
