"""A program that proposes boxes, in a process of its own: bench_proposals.py asks, this answers, a line of JSON each.

    python scripts/proposal_worker.py PROGRAM THREADS

The first line out is the version. Then every line in, [image file, mode], is answered with {"seconds", "boxes",
"peak_bytes"}: boxes are xyxy, continuous, in the program's order. Images are decoded off the clock, the same way for
all. The peers run this in an environment of their own, so it imports nothing of this project but where that is asked.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

Propose = Callable[[np.ndarray, str], np.ndarray]


def this_package(threads: int, method: str = "numba") -> tuple[str, Propose]:
    """The version is a digest of the source: boxes that older code made are not taken for ours."""
    import cv2

    import proposals

    cv2.setNumThreads(threads)
    sources = sorted(Path(proposals.__file__).parent.rglob("*.py"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    return digest[:8], lambda rgb, mode: proposals.selective_search(rgb, mode, method=method, threads=threads)


def opencv(threads: int) -> tuple[str, Propose]:
    """Ranks are drawn with C's rand(), unseeded: they depend on the images that the process has seen before."""
    import cv2

    cv2.setNumThreads(threads)
    cv2.setRNGSeed(0)  # does not reach rand()

    def propose(rgb: np.ndarray, mode: str) -> np.ndarray:
        search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
        search.setBaseImage(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        switch = {
            "single": search.switchToSingleStrategy,
            "fast": search.switchToSelectiveSearchFast,
            "quality": search.switchToSelectiveSearchQuality,
        }
        switch[mode]()
        x, y, width, height = np.array(search.process()).reshape(-1, 4).T
        return np.stack((x, y, x + width, y + height), axis=1)

    return version("opencv-contrib-python"), propose


def selectivesearch(_threads: int) -> tuple[str, Propose]:
    """It has one mode and runs on one thread."""
    from selectivesearch import selective_search

    def propose(rgb: np.ndarray, _mode: str) -> np.ndarray:
        _, regions = selective_search(rgb, scale=500, sigma=0.9, min_size=10)  # as in its README
        # There are no ranks: regions come as they are merged, so the last is the largest. Two may have the same box,
        # of which one is kept. Width and height are differences of first and last pixel.
        rects = dict.fromkeys(region["rect"] for region in reversed(regions))
        x, y, width, height = np.array(list(rects)).T
        return np.stack((x, y, x + width + 1, y + height + 1), axis=1)

    return f"{version('selectivesearch')} on scikit-image {version('scikit-image')}", propose


PROGRAMS = {
    "this package": this_package,
    "this package on scikit-image": lambda threads: this_package(threads, method="skimage"),
    "OpenCV": opencv,
    "selectivesearch": selectivesearch,
}


def main(program: str, threads: str) -> None:
    """Answer until there are no more questions."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end without a traceback
    version_of_program, propose = PROGRAMS[program](int(threads))
    print(json.dumps(version_of_program), flush=True)
    for line in sys.stdin:
        path, mode = json.loads(line)
        with Image.open(path) as image:
            rgb = np.array(ImageOps.exif_transpose(image).convert("RGB"))
        forget_peak()
        start = time.perf_counter()
        boxes = propose(rgb, mode)
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "boxes": boxes.tolist(), "peak_bytes": peak_bytes()}), flush=True)


def forget_peak() -> None:
    """Begin anew, so that decoding does not count."""
    control = Path("/proc/self/clear_refs")
    if control.exists():
        control.write_text("5")


def peak_bytes() -> int | None:
    """The most memory that this process has had since; None where Linux does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


if __name__ == "__main__":
    main(*sys.argv[1:])
