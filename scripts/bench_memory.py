"""Whether memory stays flat: `frcnn detect` on many photographs, and on as many frames of a video.

    python scripts/bench_memory.py [--count 2000] [--photographs tests/data/JPEGImages] [--side 160]

The photographs are shrunk and linked under as many names, the video is made of them. Each run is a process of its own
that writes a file, pictures and crops; its memory is read (from /proc, so on Linux) whenever another result is printed.
A run is flat where its last tenth has no more than its second, but for a few per cent.
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
@click.option("--only", type=click.Choice(["images", "film.mp4"]), help="One of the two runs.  [default: both]")
def main(count: int, photographs: Path, side: int, only: str | None) -> None:
    """Detect, and print the memory on the way."""
    small = [shrink(load_image(path), side) for path in find_images([photographs])]
    with tempfile.TemporaryDirectory() as folder:
        for name, make in (("images", make_images), ("film.mp4", make_video)):
            if only in (None, name):
                make(Path(folder, name), small, count)
                measure(Path(folder), name, count)


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


def measure(folder: Path, name: str, count: int) -> None:
    """Print the median resident memory of each tenth of the results."""
    command = [sys.executable, "-m", "frcnn_cli", "detect", str(folder / name), "--jsonl", "--score", "0.3"]
    command += ["--mode", "single", "--search-size", "100", "--smallest", "4", "--short-side", "96"]
    out = folder / f"out {name}"
    command += ["-o", str(out / "found.json"), "--format", "coco", "--save-dir", str(out), "--crop", str(out / "crops")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    tenth, done = max(count // 10, 1), 0
    sizes: list[int] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for _ in process.stdout:
            done += 1
            sizes.append(resident(process.pid))
            if done % tenth == 0:
                click.echo(f"{name}: {done} results, {statistics.median(sizes):.0f} MB")
                sizes.clear()
    if process.returncode or done != count:
        raise click.ClickException(f"{name}: {done} results of {count}, exit code {process.returncode}")


def resident(pid: int) -> int:
    """MB."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except FileNotFoundError:  # it has just ended
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


if __name__ == "__main__":
    main()
