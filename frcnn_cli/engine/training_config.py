"""The numbers of a training run. The defaults are the paper's.

Each field is an option of `frcnn train` and a key of config.toml, and is written into the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, cos, inf, pi

from frcnn_cli.core.sampling_config import SamplingConfig
from frcnn_cli.settings import setting

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Schedule:
    """The learning rate over the iterations.

    Attributes:
        kind: ``step``: lr, times `gamma` at each of `steps` (the paper's); ``cosine``: falls to 0 at the end.
        steps: iterations.
        warmup: iterations over which it first rises from 0.
        gamma: factor at each step.
    """

    kind: str = setting(
        "step",
        "How the learning rate falls: to a tenth at --steps, or along a cosine to 0.",
        option="schedule",
        table="optimizer",
        choices=("step", "cosine"),
    )
    steps: tuple[int, ...] = setting(
        (30_000,), "Iterations at which the learning rate falls to a tenth.", table="optimizer"
    )
    warmup: int = setting(0, "Iterations over which the learning rate first rises from 0.", table="optimizer", least=0)
    gamma: float = 0.1

    def factor(self, iteration: int, iterations: int) -> float:
        """What the base learning rate is multiplied with in iteration 0, 1, ... of `iterations`."""
        factor = min((iteration + 1) / self.warmup, 1.0) if self.warmup else 1.0
        if self.kind == "cosine":
            return factor * 0.5 * (1 + cos(pi * iteration / iterations))
        return factor * self.gamma ** sum(iteration >= step for step in self.steps)


@dataclass(frozen=True)
class Scales:
    """Training scales: one of the short sides is drawn for every image; the long side is a limit (section 5.2)."""

    short_sides: tuple[int, ...] = setting(
        (600,),
        "Pixels of an image's shorter side; of several, as in 480,576, one is drawn for each image.",
        option="short-side",
        table="images",
        check=lambda sides: None if sides else "needs a number",
    )
    long_side: int = setting(1000, "The most pixels of an image's longer side.", table="images", least=1)


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Attributes:
        sampling: of RoIs.
        scales: of the images.
        flip_probability: of mirroring an image.
        colour_jitter: brightness, contrast and saturation are each multiplied by 1 - x to 1 + x.
        balance: images of a class that fewer than this share of the images show come up more often; 0 for no class.
        iterations: updates.
        optimizer: ``sgd`` (the paper's) or ``adamw``.
        lr: base learning rate.
        backbone_lr_factor: times lr for the convolutions.
        momentum: of SGD.
        weight_decay: not on biases.
        schedule: of the learning rate.
        box_weight: lambda, the weight of the localisation loss.
        second_look: weight of the loss of the RoIs where the regression moved them, scored once more; 0: no such look.
        normalise_targets: regression targets to zero mean and unit variance over the data set, as in the paper (2.3).
        ema: decay of the moving average of the weights that is saved and measured; 0 for the weights as they are.
        dropout: after fc6 and fc7.
        precision: of the forward pass, one of `PRECISIONS`; the weights stay float32 (autocast).
        images_per_pass: through the network at a time; the gradients of a larger batch add up.
        seed: of everything random.
        checkpoint_every: iterations, or a text such as ``10min``; see `save_interval`.
        eval_every: iterations between measurements on the validation set; 0: only at the end.
        log_every: iterations between lines of the log.
    """

    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    scales: Scales = field(default_factory=Scales)
    flip_probability: float = setting(
        0.5, "The probability of mirroring an image.", option="flip", table="images", least=0, most=1
    )
    colour_jitter: float = setting(
        0.0,
        "Multiply brightness, contrast and saturation by random factors that differ from 1 by up to this.",
        table="images",
        least=0,
        below=1,
    )
    balance: float = setting(
        0.0,
        "Show images more often whose rarest class is in less than this share of all images.",
        table="images",
        least=0,
        most=1,
    )
    iterations: int = setting(40_000, "Updates of the weights.", table="optimizer", least=1)
    optimizer: str = setting(
        "sgd", "What updates the weights: SGD, as in the paper, or AdamW.", table="optimizer",
        choices=("sgd", "adamw"), lasting=True,
    )  # fmt: skip
    lr: float = setting(0.001, "The learning rate that the schedule starts from.", table="optimizer", above=0)
    backbone_lr_factor: float = setting(
        1.0, "What the learning rate is multiplied with for the convolutions.", table="optimizer", least=0
    )
    momentum: float = setting(0.9, "The momentum of SGD.", table="optimizer", least=0, most=1)
    weight_decay: float = setting(0.0005, "Weight decay, on weights and not on biases.", table="optimizer", least=0)
    schedule: Schedule = field(default_factory=Schedule)
    box_weight: float = setting(
        1.0, "Lambda, the weight of the localisation loss.", option="loss-lambda", table="optimizer", least=0
    )
    second_look: float = setting(
        0.0,
        "Weight of the loss of a second look: the RoIs once more, where their regression moved them, as --refine of "
        "detect and eval looks at them; 0 for none.",
        table="optimizer",
        least=0,
    )
    normalise_targets: bool = setting(
        True,
        "Bring regression targets to zero mean and unit variance, as in the paper, or learn them as they are.",
        table="optimizer",
        off="raw-targets",
        lasting=True,
    )
    ema: float = setting(
        0.0,
        "Save and measure a moving average of the weights, of this decay; 0 for the weights as they are.",
        table="optimizer",
        least=0,
        below=1,
        lasting=True,
    )
    dropout: float = setting(
        0.5, "The share of fc6's and fc7's units that are dropped.", table="model", least=0, most=1
    )
    precision: str = setting(
        "float32",
        "Numbers of the forward pass; with float16 the loss is scaled.",
        table="optimizer",
        choices=PRECISIONS,
    )
    images_per_pass: int = setting(
        8,
        "Images that go through the network at a time; the gradients of a larger batch add up.",
        table="optimizer",
        least=1,
    )
    seed: int = setting(0, "The seed of everything random.", table="run", least=0)
    checkpoint_every: int | str = setting(
        1000,
        "Save after every so many iterations, or minutes, as 10min.",
        table="run",
        metavar="N|Nmin",
    )
    eval_every: int = setting(
        5000, "Measure after every so many iterations; 0 measures at the end only.", table="run", least=0
    )
    log_every: int = setting(20, "Report after every so many iterations.", table="run", least=1)


def save_interval(every: int | str) -> tuple[int, float]:
    """What `checkpoint_every` means: iterations between two saves, and seconds; 0 where they do not count.

    Raises:
        ValueError: neither a whole number of iterations, 1 or more, nor a number of minutes above 0.
    """
    if isinstance(every, int):
        iterations, seconds = every, 0.0
    elif every.removesuffix("min") != every:
        iterations, seconds = 0, 60 * float(every.removesuffix("min"))
    else:
        iterations, seconds = int(every), 0.0
    if not (iterations >= 1 or 0 < seconds < inf):
        raise ValueError(every)
    return iterations, seconds


def iterations_of(epochs: float, images: int, images_per_batch: int) -> int:
    """The updates that show every image `epochs` times; at least one."""
    return max(ceil(epochs * images / images_per_batch), 1)
