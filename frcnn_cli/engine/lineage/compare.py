"""Training and measuring one detector after the other; what is done is not done again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.proposals.stored import StoredProposals
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.beginning import begin_run, first_model, latest_model, resume_run
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint
from frcnn_cli.engine.distributed import ALONE
from frcnn_cli.engine.learners import LEARNERS
from frcnn_cli.engine.lineage.figures import FigureFile, Figures, Trial
from frcnn_cli.engine.lineage.measure import compressed, measure
from frcnn_cli.engine.lineage.options import Contestant
from frcnn_cli.engine.run_files import MODEL_FILE
from frcnn_cli.engine.run_folder import Observer
from frcnn_cli.engine.staged.log import StageLog
from frcnn_cli.engine.staged.options import StagedOptions

RCNN_NAME = "rcnn"
"""Its time is that of the convolutions, which a smaller fc6 and fc7 change little of: it is not measured with them."""


class FirstProposals(StoredProposals):
    """The best-ranked proposals of each image.

    Args:
        proposals: of a file.
        most: an image.
    """

    def __init__(self, proposals: Proposals, most: int) -> None:
        self.proposals = proposals
        self.most = most
        self.path, self.meta, self.ids = proposals.path, proposals.meta, proposals.ids

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.proposals

    def __len__(self) -> int:
        return len(self.proposals)

    def get(self, image_id: str, width: int, height: int) -> np.ndarray:
        """See `StoredProposals.get`."""
        return self.proposals.get(image_id, width, height)[: self.most]


@dataclass(frozen=True)
class Material:
    """What a detector learns from, or is measured on.

    Attributes:
        dataset: the images.
        proposals: of them.
    """

    dataset: Dataset
    proposals: Proposals


def compare(
    contestants: list[Contestant],
    learning: Material,
    measuring: Material,
    file: FigureFile,
    observer: Callable[[int], Observer],
    device: torch.device | str = "cpu",
) -> None:
    """Train and measure each that is not in the file yet, and add it.

    Args:
        contestants: in the order in which they are done.
        learning: what they learn from.
        measuring: what they are measured on.
        file: gets the figures; each detector's run is in a folder of its name beside it.
        observer: of so many iterations; hears of a run.
        device: to compute on.

    Raises:
        Interrupted: a signal came, and what was done is saved.
        DataError: as in training.
    """
    for contestant in contestants:
        if file.is_complete(contestant.name):
            continue
        folder = file.folder / contestant.name
        test = _Test(measuring, LEARNERS[contestant.name].needs_proposals, device)
        if contestant.name not in file.figures:
            log = train_contestant(contestant, learning, folder, observer(contestant.training.iterations), device)
            checkpoint = load_checkpoint(folder / MODEL_FILE)
            stages = {name: {"seconds": s["seconds"], "cpu": s["cpu"]} for name, s in log.stages.items()}
            size = log.stages.get("features", {}).get("bytes", 0)
            whole = test(checkpoint)
            svd = None if contestant.name == RCNN_NAME else test(compressed(checkpoint))
            file.add(Figures(contestant.name, stages, size, whole, svd))
        if not file.is_complete(contestant.name):
            cut = compressed(load_checkpoint(folder / MODEL_FILE), learning.dataset)
            file.add(replace(file.figures[contestant.name], responses=test(cut)))


@dataclass(frozen=True)
class _Test:
    """Measures a checkpoint."""

    measuring: Material
    needs_proposals: bool
    device: torch.device | str

    def __call__(self, checkpoint: Checkpoint) -> Trial:
        proposals = self.measuring.proposals if self.needs_proposals else None
        return measure(checkpoint, self.measuring.dataset, proposals, self.device)


def train_contestant(
    contestant: Contestant,
    learning: Material,
    folder: Path,
    observer: Observer,
    device: torch.device | str = "cpu",
    prepare: Callable[[nn.Module], None] | None = None,
) -> StageLog:
    """Train a detector from wherever its run is.

    Args:
        contestant: what and how.
        learning: what from.
        folder: of the run.
        observer: hears of it.
        device: to compute on.
        prepare: changes the model before it learns, and again when a run goes on, such as what of it is frozen.

    Returns:
        What it has taken, by stage.
    """
    learner, config, dataset = LEARNERS[contestant.name], contestant.training, learning.dataset
    proposals = learning.proposals if learner.needs_proposals else None
    folder.mkdir(parents=True, exist_ok=True)
    latest = latest_model(folder)
    start = first_model(contestant.model, config, dataset.classes, latest, contestant.own)
    if prepare is not None:
        prepare(start.model)
    notes = {"dataset": dataset.name, "images": len(dataset), "weights": contestant.model.weights}
    if latest is not None:
        run = resume_run(start, dataset, config, notes, folder)
    else:
        run = begin_run(start, dataset, proposals, config, notes)

    def train() -> None:
        learner.train(run, dataset, proposals, folder, observer, None, 0, device, ALONE)

    if issubclass(learner.options, StagedOptions):  # it times its stages by itself
        train()
    else:
        with StageLog(folder).timed("training"):
            train()
    return StageLog(folder)
