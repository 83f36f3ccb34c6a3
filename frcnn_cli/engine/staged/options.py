"""What only the kinds that are trained in stages have; options are checked against it without torch."""

from __future__ import annotations

from dataclasses import dataclass

from frcnn_cli.errors import UsageError
from frcnn_cli.settings import setting

STAGES = ("finetune", "features", "svm", "boxes")
"""In their order: mini-batches with softmax; features of every region to the disk; a linear SVM a class; the regression
of boxes."""


def check_stages(text: str) -> str | None:
    """What is wrong with a list of stages; None for nothing."""
    names = text.split(",")
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        return f"no stage {unknown[0]!r}; there are {','.join(STAGES)}"
    if names != [name for name in STAGES if name in names]:
        return f"{text} is out of order, or names a stage twice; the order is {','.join(STAGES)}"
    return None


@dataclass(frozen=True)
class StagedOptions:
    """The options of a kind in stages.

    Attributes:
        stages: those to do, of `STAGES`, with commas; None for all that the classifier needs. A stage that was done for
            this model and these data is not done again.
        classifier: ``svm`` or ``softmax``, which is the fine-tuned network's own.
        svm_c: C of the SVMs, with features scaled to a mean norm of 20.
        ridge: lambda of the regression of boxes, likewise.

    Raises:
        UsageError: a stage is asked for that has no use.
    """

    stages: str | None = setting(
        None,
        f"The stages to do now, of {','.join(STAGES)}; what is done is not done again, what is left out is skipped.",
        table="detector",
        metavar="A,B,...",
        shown_default="all that --classifier needs",
        check=check_stages,
    )
    classifier: str = setting(
        "svm",
        "What scores a region in the end: a linear SVM a class, or the network's own softmax.",
        table="detector",
        choices=("svm", "softmax"),
    )
    svm_c: float = setting(0.001, "C of the SVMs: what an error weighs.", table="detector", above=0)
    ridge: float = setting(
        1000.0, "Lambda of the regression of boxes: what its weights weigh.", table="detector", above=0
    )

    def __post_init__(self) -> None:
        if self.classifier == "softmax" and "svm" in self.named:
            raise UsageError(f"--stages {self.stages}: svm has no use with --classifier softmax")

    @property
    def named(self) -> tuple[str, ...]:
        """The stages that somebody named."""
        return tuple(self.stages.split(",")) if self.stages else ()

    @property
    def plan(self) -> tuple[str, ...]:
        """The stages to do."""
        return self.named or tuple(name for name in STAGES if name != "svm" or self.classifier == "svm")


@dataclass(frozen=True)
class RCNNOptions(StagedOptions):
    """Those of R-CNN.

    Attributes:
        crop: pixels of a side of a warped region; None for what the network learned from.
        context: those of them, at each side, that show what is around it.
    """

    crop: int | None = setting(
        None,
        "Pixels of a side that regions are warped to.",
        table="detector",
        least=32,
        lasting=True,
        shown_default="224; 227 for alexnet",
    )
    context: int = setting(
        16,
        "Pixels at each side of a warped region that show its surroundings.",
        table="detector",
        least=0,
        lasting=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop is not None and 2 * self.context >= self.crop:
            raise UsageError(f"--context {self.context}: leaves nothing of a crop of {self.crop} pixels")


@dataclass(frozen=True)
class SPPOptions(StagedOptions):
    """Those of SPPnet.

    Attributes:
        pyramid: a window is max pooled to n x n for each n of these.
    """

    pyramid: tuple[int, ...] = setting(
        (6, 3, 2, 1),
        "Levels of the pyramid: a window is max pooled to n x n for each n of these.",
        table="detector",
        lasting=True,
        check=lambda levels: None if levels else "needs a number",
    )
