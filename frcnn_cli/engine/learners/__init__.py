"""How the kinds of detector learn: what differs between them in `frcnn train`.

A kind that can be trained has two members: its `Kind` in `engine.detectors`, which says what a checkpoint of it is and
how it looks at an image, and its `Learner` here, under the same name. To add one takes a module that makes a learner,
mostly a subclass of `fast_rcnn.FastRCNNLearner`, and a line in `LEARNERS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from frcnn_cli.engine.detectors import FAST_RCNN
from frcnn_cli.tables import Table

if TYPE_CHECKING:  # options are checked before torch is there
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
    from frcnn_cli.engine.run_folder import Observer
    from frcnn_cli.engine.run_state import Run
    from frcnn_cli.engine.trainer import Validation
    from frcnn_cli.engine.training_config import TrainingConfig


@dataclass(frozen=True)
class NoOptions:
    """The options of a kind that has none of its own."""


NO_OPTIONS = NoOptions()


class Learner(Protocol):
    """How a kind of detector learns. Its module does not import torch: options are checked against it, and for --help.

    Attributes:
        options: a dataclass of settings, such as `NoOptions`: the options of `frcnn train` that only this kind has, in
            the table ``detector`` of config.toml. A run has an instance of it, `Run.options`.
        needs_proposals: whether it learns from proposals, which are then made or read.
        defaults: of other options, by the names of their parameters, where a kind has its own; those that the command
            line or a file of --config names win, and a recipe's do not.
        unused: options that mean nothing to it, by the names of their parameters, and why; naming one is an error.
        losses: names of the terms of its loss, whose sum is minimised.
        starts_from: other kinds, whose checkpoints it can begin with; what those do not have starts anew.
    """

    options: type
    needs_proposals: bool
    defaults: Mapping[str, Any]
    unused: Mapping[str, str]
    losses: Sequence[str]
    starts_from: Sequence[str]

    def architecture(
        self, config: ModelConfig, backbone: BackboneConfig, num_classes: int, options: Any
    ) -> Architecture:
        """What to build for a new run: as its options say, or else as suits the backbone."""

    def adopt(self, architecture: Architecture) -> Architecture:
        """What to build to begin with a model of another kind, of this architecture: one of `starts_from`."""

    def build(self, architecture: Architecture, dropout: float) -> nn.Module:
        """A model with random weights.

        It has a `backbone`, whose body may have learned before, and a `head` with a last layer `bbox_pred`, into which
        the normalisation of the targets is folded; whatever is not in the backbone's body learns at the full rate.
        """

    def freeze(self, model: nn.Module) -> None:
        """Stop from learning what stays as it is, in place."""

    def target_statistics(
        self, dataset: Dataset, proposals: Proposals | None, config: TrainingConfig
    ) -> tuple[Tensor, Tensor]:
        """Mean and spread of the regression targets, Tensor[4] each; 0 and 1 where they are learned as they are.

        Raises:
            DataError: there is nothing to learn from.
        """

    def batches(
        self, run: Run, dataset: Dataset, proposals: Proposals | None, processes: Processes
    ) -> TorchDataset[Batch]:
        """Batch i for any i >= 0; everything random in it follows from the seed and i, whoever makes it.

        Raises:
            DataError: there is nothing to learn from.
        """

    def step_losses(self, run: Run, part: Batch, device: torch.device, count: int) -> dict[str, Any]:
        """Forward: the terms of the loss of a part of a batch, by the names in `losses`.

        Where RoIs are drawn in the pass, there are also ``rois``, their number, and ``foreground``, that of those on
        objects.

        Args:
            run: on its device.
            part: on the CPU.
            device: to compute on.
            count: the RoIs of the whole batch, of all processes, that the part's sums are divided by.
        """

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
        """Go on from wherever the run is, to the end; arguments and exceptions are those of `trainer.train`."""


LEARNERS: Table[Learner] = Table(
    "kind of detector",
    {
        "rcnn": "frcnn_cli.engine.learners.rcnn:LEARNER",
        "sppnet": "frcnn_cli.engine.learners.sppnet:LEARNER",
        FAST_RCNN: "frcnn_cli.engine.learners.fast_rcnn:LEARNER",
        "faster-rcnn": "frcnn_cli.engine.learners.faster_rcnn:LEARNER",
    },
)
"""By the names of `DETECTORS`."""
