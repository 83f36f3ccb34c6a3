"""Mini-batches of warped regions, for R-CNN's fine-tuning."""

from __future__ import annotations

import torch

from frcnn_cli.core.rcnn import RCNNArchitecture, warp
from frcnn_cli.engine.batches import Batch, TrainingBatches


class CropBatches(TrainingBatches):
    """As `TrainingBatches`, with a crop of each sampled region in the place of the images.

    Region-wise sampling takes each of the R regions from another image, of all images in turn.
    """

    architecture: RCNNArchitecture

    @classmethod
    def of(cls, batches: TrainingBatches, architecture: RCNNArchitecture) -> CropBatches:
        """The crops of the regions that `batches` samples."""
        made = cls.__new__(cls)
        made.__setstate__({**batches.__getstate__(), "architecture": architecture})
        return made

    def __getitem__(self, number: int) -> Batch:
        chosen, generators = self._chosen(number)
        crops, labels, deltas, ids = [], [], [], []
        for place in self.processes.share(range(len(chosen))):
            record, generator = chosen[place], generators[place]
            image, sampled, _ = self._draw_rois(record, place, generator)
            crops.append(warp(self._jittered(image, generator), sampled.rois, self.architecture, self.normalisation))
            labels.append(sampled.labels)
            deltas.append(sampled.deltas)
            ids += [record.id] * len(sampled)
        images = torch.cat(crops)
        size = float(self.architecture.crop)
        rois = torch.tensor([[float(index), 0.0, 0.0, size, size] for index in range(len(images))]).reshape(-1, 5)
        return Batch(images, rois, torch.cat(labels), torch.cat(deltas), tuple(ids))
