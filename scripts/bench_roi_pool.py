"""RoI pooling side by side with torchvision.ops.roi_pool: time, distance from the limit, and memory, in one run.

    python scripts/bench_roi_pool.py [--repeats 7] [--only TEXT] [--json FILE] [--plot FILE]

Feature maps of four networks, RoIs in several numbers and sizes, inference and training. The limit is to write the
output once: nothing that returns it can do with less.

Before anything is timed, outputs are compared: equal to the bit, gradients but for the order of additions. That warms
up as well. Then torchvision, ours and the limit are timed in turn (A B C A B C ...), each result is freed before the
next call, and medians are compared: times depend on the machine, ratios hardly do, so those are printed (--json has the
seconds). Each gets its input in the layout it works on, torchvision planes, ours channels-last unless the case says
planes, and the gradient in the layout of its output. Extra memory is the most that one call of ours has at a time
beyond its results, in a process of its own.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import click
import torch
import torchvision
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor

from frcnn_cli.core.backbones.network import STRIDE
from frcnn_cli.core.roi_pool import roi_pool

ALL_THREADS = torch.get_num_threads()
TORCHVISION, OURS, LIMIT = "torchvision", "ours", "writing the output once"


@dataclass(frozen=True)
class Case:
    """What is pooled, and how."""

    network: str
    channels: int
    height: int
    width: int
    size: int = 7
    rois: int = 2000
    kind: str = "mixed"
    images: int = 1
    planes: bool = False
    training: bool = False
    threads: int = ALL_THREADS
    device: str = "cpu"

    @property
    def what(self) -> str:
        """The map and the bins, and what is not as usual."""
        unusual = {
            f"{self.kind} RoIs": self.kind != "mixed",
            f"{self.images} images": self.images > 1,
            "planes": self.planes,
            self.device: self.device != "cpu",
        }
        shapes = f"{self.network}, {self.channels} x {self.height} x {self.width} to {self.size} x {self.size}"
        return ", ".join([shapes, *(text for text, applies in unusual.items() if applies)])

    @property
    def direction(self) -> str:
        return "forward + backward" if self.training else "forward"

    @property
    def name(self) -> str:
        return f"{self.what}, {self.rois} RoIs, {self.threads} threads, {self.direction}"


VGG16 = Case("VGG16", 512, 38, 63)
EFFICIENTNET = Case("EfficientNet", 112, 38, 50)
ALEXNET = Case("AlexNet", 256, 38, 63, size=6)
SWEEP = [replace(VGG16, rois=rois) for rois in (128, 512, 2000, 10000)]
CASES = [
    *SWEEP,
    replace(VGG16, threads=1),
    replace(VGG16, planes=True),
    replace(VGG16, kind="small"),
    replace(VGG16, kind="whole-image", rois=500),  # 2000 would take torchvision a minute
    replace(VGG16, rois=128, training=True),
    replace(VGG16, rois=128, training=True, threads=1),
    replace(VGG16, rois=128, training=True, images=2),
    EFFICIENTNET,
    replace(EFFICIENTNET, rois=128, training=True),
    Case("EfficientNet-Lite0", 320, 30, 40, rois=1800),
    ALEXNET,
    replace(ALEXNET, rois=128, training=True),
]
if torch.cuda.is_available():
    CASES += [replace(c, device="cuda") for c in CASES if c.network == VGG16.network and c.threads == ALL_THREADS]


@dataclass(frozen=True)
class Result:
    """Seconds by what ran, and the bytes that one call of ours has beyond its results, if known."""

    name: str
    case: Case
    median: dict[str, float]
    minimum: dict[str, float]
    extra_bytes: int | None


@click.command()
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True)
@click.option("--only", default="", help="Only cases with this text in their names, such as 'backward' or ' 128 RoIs'.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the figures here.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="Draw time against the number of RoIs.")
@click.option("--memory-of", hidden=True, help="Print the extra bytes of this case, which has the process to itself.")
def main(repeats: int, only: str, json_file: Path | None, plot_file: Path | None, memory_of: str | None) -> None:
    """Compare RoI pooling with torchvision's."""
    if memory_of:
        click.echo(extra_memory(next(case for case in CASES if case.name == memory_of)))
        return
    if plot_file and not all(only in case.name for case in SWEEP):
        raise click.UsageError(f"--plot needs cases that --only {only!r} leaves out")
    results = [measure(case, repeats) for case in CASES if only in case.name]
    sweep = [result for result in results if result.case in SWEEP]
    print_results(results, sweep, repeats)
    if json_file:
        about = {"torch": torch.__version__, "torchvision": torchvision.__version__, "repeats": repeats}
        json_file.write_text(json.dumps({**about, "cases": [asdict(result) for result in results]}, indent=2) + "\n")
    if plot_file:
        draw(sweep, plot_file)


def measure(case: Case, repeats: int) -> Result:
    """Time a case and then, with all that freed, look at memory."""
    seconds = time_in_turn(case, repeats)
    gc.collect()
    median, minimum = ({run: f(values) for run, values in seconds.items()} for f in (statistics.median, min))
    return Result(case.name, case, median, minimum, extra_memory_elsewhere(case))


def time_in_turn(case: Case, repeats: int) -> dict[str, list[float]]:
    """Seconds of torchvision, ours and the limit, round by round, after a look whether the results are equal."""
    torch.set_num_threads(case.threads)
    features, rois, gradient = inputs(case)
    planes = features.detach().contiguous().requires_grad_(case.training)
    gradient_planes = None if gradient is None else gradient.contiguous()
    written = torch.ones(case.rois, case.channels, case.size, case.size, device=case.device)
    runs = {
        TORCHVISION: partial(pooled, torchvision.ops.roi_pool, case, planes, rois, gradient_planes),
        OURS: partial(pooled, roi_pool, case, features, rois, gradient),
        LIMIT: partial(written.fill_, 1.0),
    }
    (output, *gradients), (expected, *expected_gradients) = runs[OURS](), runs[TORCHVISION]()
    assert torch.equal(output, expected)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-5, atol=1e-5)
    del output, gradients, expected, expected_gradients
    rounds = [{name: timed(run, case.device) for name, run in runs.items()} for _ in range(repeats)]
    return {name: [seconds[name] for seconds in rounds] for name in runs}


def inputs(case: Case) -> tuple[Tensor, Tensor, Tensor | None]:
    """The map, the RoIs, and in training the gradient of the output, in the layout of ours."""
    generator = torch.Generator().manual_seed(0)

    def channels_last(images: int, height: int, width: int) -> Tensor:
        return torch.randn(images, height, width, case.channels, generator=generator).permute(0, 3, 1, 2)

    features = channels_last(case.images, case.height, case.width)
    features = (features.contiguous() if case.planes else features).to(case.device).requires_grad_(case.training)
    image = torch.arange(case.rois)[:, None] * case.images // case.rois
    rois = torch.cat((image, boxes(case, generator)), dim=1).to(case.device)
    gradient = channels_last(case.rois, case.size, case.size).to(case.device) if case.training else None
    return features, rois, gradient


def boxes(case: Case, generator: torch.Generator) -> Tensor:
    """RoIs in pixels: two corners anywhere in the image, or sides of 16 to 64, or the whole image."""
    image = torch.tensor((case.width, case.height)) * STRIDE - 1.0
    first, second = torch.rand(2, case.rois, 2, generator=generator)
    if case.kind == "whole-image":
        first, second = torch.zeros_like(first), torch.ones_like(second)
    elif case.kind == "small":
        side = (16 + 48 * second) / image
        first *= 1 - side
        second = first + side
    return torch.cat((torch.minimum(first, second) * image, torch.maximum(first, second) * image), dim=1)


def pooled(
    pool: Callable[..., Tensor], case: Case, features: Tensor, rois: Tensor, gradient: Tensor | None
) -> tuple[Tensor, ...]:
    """The output, and in training the gradient of the map."""
    with torch.set_grad_enabled(case.training):
        output = pool(features, rois, case.size, 1 / STRIDE)
    return (output, *torch.autograd.grad(output, features, gradient)) if case.training else (output,)


def timed(run: Callable[[], object], device: str) -> float:
    """Seconds of a call. What it returns is freed after the clock has stopped."""
    synchronise = torch.cuda.synchronize if device == "cuda" else lambda: None
    synchronise()
    start = time.perf_counter()
    result = run()
    synchronise()
    elapsed = time.perf_counter() - start
    del result
    return elapsed


def extra_memory_elsewhere(case: Case) -> int | None:
    """`extra_memory` in a fresh process, which has kept nothing that it could use again."""
    if case.device != "cpu" or not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, __file__, "--memory-of", case.name]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def extra_memory(case: Case) -> int:
    """The most bytes that one call of ours has at a time, less its results; argmax is one of those in training."""
    torch.set_num_threads(case.threads)
    tiny = replace(case, height=2, width=2, rois=case.images)
    pooled(roi_pool, tiny, *inputs(tiny))  # compiled code is loaded
    arguments = inputs(case)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    results = pooled(roi_pool, case, *arguments)
    argmax = 2 * results[0].numel() if case.training else 0
    return memory("VmHWM") - before - sum(result.nbytes for result in results) - argmax


def memory(field: str) -> int:
    """Bytes by /proc/self/status: VmRSS is what this process has now, VmHWM the most it had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def print_results(results: list[Result], sweep: list[Result], repeats: int) -> None:
    """The table, and how time grows with the number of RoIs."""
    right = partial(Column, justify="right")
    writing, extra = right("writing the output\nonce, times"), right("extra MB")
    table = Table("case", right("RoIs"), right("threads"), "direction", right("torchvision takes"), writing, extra)
    for result in results:
        case, seconds = result.case, result.median
        takes = f"{seconds[TORCHVISION] / seconds[OURS]:.1f} times as long"
        times = f"{seconds[OURS] / seconds[LIMIT]:.1f}"
        megabytes = "-" if result.extra_bytes is None else f"{result.extra_bytes / 1e6:.1f}"
        table.add_row(case.what, str(case.rois), str(case.threads), case.direction, takes, times, megabytes)
    console = Console(highlight=False, soft_wrap=True, width=160)
    console.print(table)
    if not torch.cuda.is_available():
        console.print("no CUDA here")
    console.print(f"medians of {repeats} rounds; torch has {ALL_THREADS} threads by default")
    each = {result.case.rois: result.median[OURS] / result.case.rois for result in sweep}
    steps = [(few, many) for few, many in ((512, 2000), (2000, 10000)) if {few, many} <= each.keys()]
    if steps:
        growth = (f"at {many} RoIs {each[many] / each[few]:.2f} of that at {few}" for few, many in steps)
        console.print(f"our time per RoI, VGG16 forward: {', '.join(growth)}")


def draw(sweep: list[Result], file: Path) -> None:
    """Time against the number of RoIs, both logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6), dpi=100, layout="constrained")
    rois = [result.case.rois for result in sweep]
    above = {"xytext": (-8, 6), "ha": "right"}
    below = {"xytext": (8, -16), "ha": "left"}
    for run, colour, beside in (TORCHVISION, "tab:red", above), (OURS, "tab:blue", above), (LIMIT, "0.45", below):
        milliseconds = [1000 * result.median[run] for result in sweep]
        axes.loglog(rois, milliseconds, "o-", color=colour, linewidth=2)
        axes.annotate(run, (rois[2], milliseconds[2]), textcoords="offset points", color=colour, size=13, **beside)
    axes.minorticks_off()
    axes.set_xticks(rois, [f"{count:,}" for count in rois])
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel("RoIs")
    axes.set_ylabel(f"milliseconds, {ALL_THREADS} threads")
    axes.set_title(f"RoI pooling, forward: {sweep[0].case.what}", loc="left", pad=14)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file)


if __name__ == "__main__":
    main()
