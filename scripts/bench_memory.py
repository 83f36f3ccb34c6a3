"""Whether memory stays flat: `frcnn detect` on many photographs, and on as many frames of a video.

    python scripts/bench_memory.py [--photographs VOC2007/JPEGImages] [--count 2000] [--plot scripts/figures/memory.png]

The photographs are read as they are; where there are fewer than are wanted, they are there under several names. The
video is made of the first ones, shrunk. Each run is a process of its own that writes a file, pictures and crops; its
memory is read (from /proc, so on Linux) whenever another result is printed.
A run is flat where its last tenth has no more than its second, but for a few per cent.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
import cv2
import numpy as np
from matplotlib.figure import Figure

from frcnn_cli.data.images import find_images, load_image
from frcnn_cli.data.video_writer import write_video
from frcnn_cli.files import atomic_write

ROOT = Path(__file__).parent.parent

SIDE = 160
"""Pixels of a frame of the video."""

RUNS = {"images": "photographs", "film.mp4": "frames of a video"}
"""What is made and detected in -> what it is called in the plot."""

COLOURS = ("#0072B2", "#D55E00")


@click.command()
@click.option("--count", type=click.IntRange(10), default=2000, show_default=True)
@click.option("--photographs", type=click.Path(path_type=Path), default=ROOT / "tests/data/JPEGImages")
@click.option("--only", type=click.Choice(list(RUNS)), help="One of the two runs.  [default: both]")
@click.option("--runtime", default="auto", show_default=True, help="As of frcnn detect.")
@click.option("--plot", type=click.Path(path_type=Path), help="A PNG file of memory against results.")
def main(count: int, photographs: Path, only: str | None, runtime: str, plot: Path | None) -> None:
    """Detect, and print the memory on the way."""
    paths = find_images([photographs])[:count]
    found: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in (("images", make_images), ("film.mp4", make_video)):
            if only in (None, name):
                make(Path(folder, name), paths, count)
                found[name] = measure(Path(folder), name, count, runtime)
    if plot:
        draw(found, plot)


def make_images(folder: Path, paths: list[Path], count: int) -> None:
    """As many names as are wanted."""
    folder.mkdir()
    for number in range(count):
        # Links would be one image to the command, which does each once.
        path = paths[number % len(paths)]
        (folder / f"{number}{path.suffix}").write_bytes(path.read_bytes())


def make_video(path: Path, paths: list[Path], count: int) -> None:
    """Each photograph for a second, as it moves."""
    images = [
        cv2.resize(load_image(path), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for path in paths[: count // 25 + 1]
    ]
    with write_video(path, 25) as add:
        for number in range(count):
            add(np.roll(images[number // 25 % len(images)], number % 25, axis=1), number / 25)


def measure(folder: Path, name: str, count: int, runtime: str) -> list[int]:
    """Print the median resident memory of each tenth of the results.

    Returns:
        MB at each result.
    """
    command = [sys.executable, "-m", "frcnn_cli", "detect", str(folder / name), "--jsonl", "--score", "0.3"]
    command += [
        "--mode",
        "single",
        "--search-size",
        "100",
        "--smallest",
        "4",
        "--short-side",
        "96",
    ]  # so that it is quick
    command += ["--runtime", runtime]
    out = folder / f"out {name}"
    command += ["-o", str(out / "found.json"), "--format", "coco", "--save-dir", str(out), "--crop", str(out / "crops")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    tenth = max(count // 10, 1)
    sizes: list[int] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for _ in process.stdout:
            sizes.append(resident(process.pid) or sizes[-1])  # of one that has just ended there is no size
            if len(sizes) % tenth == 0:
                click.echo(f"{name}: {len(sizes)} results, {statistics.median(sizes[-tenth:]):.0f} MB")
    if process.returncode or len(sizes) != count:
        raise click.ClickException(f"{name}: {len(sizes)} results of {count}, exit code {process.returncode}")
    return sizes


def resident(pid: int) -> int:
    """MB; 0 for a process that is there no more."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except FileNotFoundError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def draw(found: Mapping[str, list[int]], path: Path) -> None:
    """Memory against the number of results, a line a run."""
    figure = Figure(figsize=(8, 3.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    for (name, sizes), color in zip(found.items(), COLOURS, strict=False):
        axes.plot(range(1, len(sizes) + 1), sizes, color=color, linewidth=1, label=RUNS[name])
    axes.set_xlabel("images done")
    axes.set_ylabel("resident memory, MB")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)  # or noise would look like growth
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": "frcnn"})


if __name__ == "__main__":
    main()
