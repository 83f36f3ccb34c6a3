"""Whether memory stays flat: `frcnn detect` on many photographs, and on as many frames of a video.

    python scripts/bench_memory.py [--count 2000] [--photographs tests/data/JPEGImages] [--side 160]

The photographs are shrunk and linked under as many names, the video is made of them. Each run is a process of its own
that writes a file, pictures and crops; its memory is read (from /proc, so on Linux) whenever another result is printed.
A run is flat where the memory of its last tenth is no more than that after its first tenth, but for a few per cent.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import cv2
import numpy as np

from frcnn_cli.data.images import find_images, load_image, save_image
from frcnn_cli.data.video_writer import write_video

ROOT = Path(__file__).parent.parent


@click.command()
@click.option("--count", type=click.IntRange(10), default=2000, show_default=True)
@click.option("--photographs", type=click.Path(path_type=Path), default=ROOT / "tests/data/JPEGImages")
@click.option("--side", type=click.IntRange(16), default=160, show_default=True, help="Of the shrunk photographs.")
def main(count: int, photographs: Path, side: int) -> None:
    """Detect, and print the memory on the way."""
    small = [shrink(load_image(path), side) for path in find_images([photographs])]
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder, "images"), small, count)
        make_video(Path(folder, "film.mp4"), small, count)
        for name in ("images", "film.mp4"):
            report(name, measure(Path(folder), name, count))


def shrink(image: np.ndarray, side: int) -> np.ndarray:
    """The image in a square, so that all are of one size."""
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def make_images(folder: Path, images: list[np.ndarray], count: int) -> None:
    """As many names as are wanted."""
    for number in range(count):
        first = folder / f"{number % len(images)}.png"
        if number < len(images):
            save_image(first, images[number])
        else:
            # Links would be one image to the command, which does each once.
            (folder / f"{number}.png").write_bytes(first.read_bytes())


def make_video(path: Path, images: list[np.ndarray], count: int) -> None:
    """Each photograph for a second, as it moves."""
    with write_video(path, 25) as add:
        for number in range(count):
            add(np.roll(images[number // 25 % len(images)], number % 25, axis=1), number / 25)


def measure(folder: Path, name: str, count: int) -> list[int]:
    """The resident memory in MB after each result."""
    command = [sys.executable, "-m", "frcnn_cli", "detect", str(folder / name), "--jsonl", "--score", "0.3"]
    command += ["--mode", "single", "--search-size", "100", "--smallest", "4", "--short-side", "96"]
    out = folder / f"out {name}"
    command += ["-o", str(out / "found.json"), "--format", "coco", "--save-dir", str(out), "--crop", str(out / "crops")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    sizes = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for _ in process.stdout:
            sizes.append(resident(process.pid))
    if process.returncode or len(sizes) != count:
        raise click.ClickException(f"{name}: {len(sizes)} results of {count}, exit code {process.returncode}")
    return sizes


def resident(pid: int) -> int:
    """MB."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except FileNotFoundError:  # it has just ended
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def report(name: str, sizes: list[int]) -> None:
    """Print the medians of tenths."""
    sizes = [size for size in sizes if size]
    tenth = max(len(sizes) // 10, 1)
    medians = [round(statistics.median(sizes[start : start + tenth])) for start in range(0, len(sizes), tenth)]
    click.echo(f"{name}: {len(sizes)} results; MB in each tenth: {', '.join(map(str, medians[:10]))}")


if __name__ == "__main__":
    main()
