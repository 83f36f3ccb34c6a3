"""The paper's table of truncated SVD: where VGG16's time goes with 2,000 RoIs, before fc6 has rank 1024 and fc7 256.

    python scripts/bench_svd.py [--repeats 3] [--rois 2000] [--cpu-time] [--json FILE]

The weights are random, as times do not depend on them; the image has 600 x 800 pixels. The parts of the network are
timed one after another and the two heads take turns, so load on the machine meets both; medians are compared.
--cpu-time counts the seconds that this process has of its processors, which load hardly changes (of several threads,
their sum). Exit code 1 if the fully connected layers take more than 0.45 of what they did, or the whole more than 0.7
(30 % faster).
"""

from __future__ import annotations

import copy
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F

from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.core.svd import LowRankLinear

RANKS = {"fc6": 1024, "fc7": 256}
VGG16 = Architecture("vgg16", 20, roi_size=7, fc_width=4096)
PAPER = {"conv": 46.3, "RoI pool": 5.4, "fc6": 38.7, "fc7": 6.2}
"""Per cent of 320 ms, of which 223 ms are left."""


@click.command()
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option("--rois", type=click.IntRange(1), default=2000, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the seconds here.")
@click.option("--cpu-time", is_flag=True, help="Count seconds of CPU, on a machine that others use too.")
def main(repeats: int, rois: int, json_file: Path | None, cpu_time: bool) -> None:
    """Time VGG16's parts, before and after."""
    seconds = measure(repeats, rois, now=time.process_time if cpu_time else time.perf_counter)
    print_table(seconds)
    if json_file:
        json_file.write_text(json.dumps(seconds, indent=2) + "\n")
    connected, whole = ratios(seconds)
    sys.exit(0 if connected <= 0.45 and whole <= 0.7 else 1)


@torch.inference_mode()
def measure(
    repeats: int,
    count: int,
    architecture: Architecture = VGG16,
    size: tuple[int, int] = (800, 600),
    device: str = "cpu",
    ranks: Mapping[str, int] = RANKS,
    now: Callable[[], float] = time.perf_counter,
) -> dict[str, dict[str, float]]:
    """{"before" and "after": {part: median seconds}}, of an image of this width and height."""
    torch.manual_seed(0)
    model = FastRCNN(architecture).eval().to(device, memory_format=torch.channels_last)
    image = torch.rand(1, 3, size[1], size[0]).to(device, memory_format=torch.channels_last)
    corners = torch.rand(count, 2, 2).sort(dim=1).values * torch.tensor(size)
    rois = torch.cat((torch.zeros(count, 1), corners.flatten(1)), dim=1).to(device)
    heads = {"before": model.head, "after": _compressed(model.head, ranks).to(device)}
    times: dict[str, dict[str, list[float]]] = {name: {} for name in heads}

    def clock(name: str, part: str, call: Callable[[], torch.Tensor]) -> torch.Tensor:
        start = now()
        result = call()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times[name].setdefault(part, []).append(now() - start)
        return result

    for _ in range(repeats + 1):  # the first, which prepares memory and kernels, does not count
        for name, head in heads.items():
            features = clock(name, "conv", lambda: model.backbone(image))
            pooled = clock(name, "RoI pool", lambda f=features: model.roi_pool(f, rois))
            x = pooled.permute(0, 2, 3, 1).flatten(1)
            x = clock(name, "fc6", lambda x=x, head=head: F.relu(head.fc6(x), inplace=True))
            x = clock(name, "fc7", lambda x=x, head=head: F.relu(head.fc7(x), inplace=True))
            clock(name, "other", lambda x=x, head=head: torch.cat((head.cls_score(x), head.bbox_pred(x)), dim=1))
    return {
        name: {part: statistics.median(values[1:]) for part, values in parts.items()} for name, parts in times.items()
    }


def _compressed(head: nn.Module, ranks: Mapping[str, int]) -> nn.Module:
    """The head with layers of the ranks, whose weights do not matter."""
    small = copy.copy(head)
    small._modules = dict(head._modules)
    for name, rank in ranks.items():
        layer = getattr(head, name)
        setattr(small, name, LowRankLinear(layer.in_features, layer.out_features, rank))
    return small.eval()


def ratios(seconds: dict[str, dict[str, float]]) -> tuple[float, float]:
    """What is left of the time of fc6 and fc7, and of the whole. What SVD does not touch is taken from before."""
    before, after = seconds["before"], seconds["after"]
    connected = (after["fc6"] + after["fc7"]) / (before["fc6"] + before["fc7"])
    untouched = before["conv"] + before["RoI pool"] + before["other"]
    return connected, (untouched + after["fc6"] + after["fc7"]) / sum(before.values())


def print_table(seconds: dict[str, dict[str, float]]) -> None:
    table = Table("part", "before", "share", "after", "left", "share in the paper")
    for column in table.columns[1:]:
        column.justify = "right"
    whole = sum(seconds["before"].values())
    for part, before in seconds["before"].items():
        after = seconds["after"][part]
        paper = f"{PAPER[part]:.1f} %" if part in PAPER else ""
        table.add_row(
            part, f"{before:.2f} s", f"{before / whole:.1%}", f"{after:.2f} s", f"{after / before:.2f}", paper
        )
    Console().print(table)
    connected, left = ratios(seconds)
    Console().print(f"fc6 and fc7: {connected:.2f} of the time before; the whole: {left:.2f}, {1 - left:.0%} faster")


if __name__ == "__main__":
    main()
