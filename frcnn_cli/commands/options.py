"""Options that several subcommands share, and what they mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from frcnn_cli.data.proposals.shards import Shard
from frcnn_cli.engine.distributed import current
from frcnn_cli.errors import UsageError
from proposals import MODES

if TYPE_CHECKING:  # at run time it would bring torch, which `frcnn propose` does not wait for
    from frcnn_cli.engine.detector import DetectionConfig

F = TypeVar("F", bound=Callable)

PATH = click.Path(path_type=Path)


class ShardType(click.ParamType):
    """``2/4``: the second of four parts."""

    name = "shard"

    def convert(self, value: str | Shard, param: click.Parameter | None, ctx: click.Context | None) -> Shard:
        try:
            return value if isinstance(value, Shard) else Shard.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SHARD = ShardType()


class Numbers(click.ParamType):
    """``480,576``: whole numbers from 1 on, as a tuple; of a configuration file, one or a list."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        try:
            parts = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
            numbers = tuple(int(part) for part in ([parts] if isinstance(parts, int) else parts))
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers such as 480,576", param, ctx)
        if any(number < 1 for number in numbers):
            self.fail("numbers start at 1", param, ctx)
        return numbers


def default_workers() -> int:
    """As many processes as there are cores to use, or this process's share of them under torchrun."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)), 1)


def proposal_options(command: F) -> F:
    """--mode, --max-proposals and --workers: how proposals are made."""
    for option in (
        click.option(
            "--workers",
            type=click.IntRange(1),
            default=default_workers,
            show_default="cores",
            help="Processes that make proposals.",
        ),
        click.option("--max-proposals", type=click.IntRange(1), default=2000, show_default=True, help="An image."),
        click.option(
            "--mode", type=click.Choice(list(MODES)), default="fast", show_default=True, help="Of selective search."
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class DetectionOptions:
    """Where proposals come from, how closely images are looked at, and what is made of boxes that overlap."""

    proposals: Path | None
    mode: str | None
    nms: float
    short_side: int | None
    scales: tuple[int, ...] | None
    long_side: int | None
    flip_test: bool
    box_voting: bool

    def apply(self, config: DetectionConfig) -> DetectionConfig:
        """The configuration, with these options in the place of its own.

        Raises:
            UsageError: both one scale and several are given, none of several, or a mode beside a file of proposals.
        """
        if self.mode and self.proposals:
            raise UsageError(f"--mode {self.mode}: --proposals has them, so none are made; give one of the two")
        if self.scales == ():
            raise UsageError("--scales needs a number")
        if self.short_side and self.scales:
            raise UsageError("--short-side is one scale, --scales are several: give one of the two")
        return replace(
            config,
            proposal_mode=self.mode or config.proposal_mode,
            nms_threshold=self.nms,
            short_sides=(self.short_side,) if self.short_side else self.scales or (),
            long_side=self.long_side,
            flip=self.flip_test,
            box_voting=self.box_voting,
        )


def detection_options(command: F) -> F:
    """The options that make a `DetectionOptions`, which the command gets as `how`."""

    def gather(**given):
        how = DetectionOptions(**{field.name: given.pop(field.name) for field in fields(DetectionOptions)})
        return command(how=how, **given)

    gather.__name__, gather.__doc__ = command.__name__, command.__doc__
    gather.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (
        click.option(
            "--box-voting/--no-box-voting",
            default=False,
            show_default=True,
            help="Make each box the mean of those of its class around it.",
        ),
        click.option(
            "--flip-test/--no-flip-test",
            default=False,
            show_default=True,
            help="Average with the mirrored image; twice the time.",
        ),
        click.option(
            "--long-side",
            type=click.IntRange(1),
            metavar="PIXELS",
            help="The most for the longer side.  [default: the model's, in proportion]",
        ),
        click.option(
            "--scales",
            type=Numbers(),
            metavar="A,B,...",
            help="Shorter sides; each proposal is scored where its area is nearest to 224 x 224.",
        ),
        click.option(
            "--short-side",
            type=click.IntRange(1),
            metavar="PIXELS",
            help="Bring images to this shorter side.  [default: the model's]",
        ),
        click.option(
            "--nms",
            type=click.FloatRange(0, 1),
            default=0.3,
            show_default=True,
            help="The most that detections of a class overlap.",
        ),
        click.option(
            "--mode",
            type=click.Choice(list(MODES)),
            help="Of selective search, where there is no file of proposals.  [default: fast]",
        ),
        click.option("--proposals", type=PATH, metavar="FILE", help=".npz, .mat or .pkl.  [default: made here]"),
    ):
        gather = option(gather)
    return gather  # type: ignore[return-value]


device_option = click.option(
    "--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu, cuda or cuda:N."
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, and nothing else there.")


def pick_device(name: str) -> str:
    """The device to compute on; auto is CUDA where there is one. Under torchrun each process has its own GPU.

    Raises:
        UsageError: no such device here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and current().world_size > 1:
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    try:
        torch.empty(0, device=name)
        if name.startswith("cuda:"):
            torch.cuda.set_device(name)  # NCCL's own memory goes there too
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: not a device of this machine") from error
    return name
