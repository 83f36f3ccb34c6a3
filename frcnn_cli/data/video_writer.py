"""Videos out: .mp4 in H.264, which browsers play, where PyAV is installed; otherwise in MPEG-4 Part 2, by OpenCV."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from frcnn_cli.data.videos import quiet
from frcnn_cli.files import atomic_write, check_writable

TICKS = 90_000
"""Units of time in a second, the usual ones of videos."""

NO_H264 = "videos are written in MPEG-4 Part 2, which browsers do not play; for H.264: pip install av"

AddFrame = Callable[[np.ndarray, float], None]


def has_h264() -> bool:
    """Whether H.264 can be written."""
    return importlib.util.find_spec("av") is not None


@contextmanager
def write_video(path: Path, fps: float) -> Iterator[AddFrame]:
    """Give a function that adds a frame: uint8 RGB [H, W, 3], all of one size, and its time in seconds.

    The file is there when the block has ended, whole; without frames there is none. Where a side is odd, which neither
    way to write allows, the last row or column is there twice. OpenCV writes all frames at one rate.

    Args:
        path: an .mp4 file.
        fps: frames a second, as the file says.

    Raises:
        DataError: the file cannot be written.
    """
    check_writable(path)
    add_to_file: AddFrame | None = None
    with ExitStack() as stack:

        def add(image: np.ndarray, seconds: float) -> None:
            nonlocal add_to_file
            even = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), "edge")
            if add_to_file is None:
                temporary = stack.enter_context(atomic_write(path))
                stack.callback(_sign, temporary)
                opened = (_h264 if has_h264() else _mpeg4)(temporary, fps, even.shape[1], even.shape[0])
                add_to_file = stack.enter_context(opened)
            add_to_file(even, seconds)

        yield add


def _sign(path: Path) -> None:
    """Add a box that players pass over, by which a video is known as ours (`frcnn_cli.replacing`)."""
    with path.open("ab") as file:
        file.write(b"\x00\x00\x00\x0dfreefrcnn")


@contextmanager
def _h264(path: Path, fps: float, width: int, height: int) -> Iterator[AddFrame]:
    import av

    with av.open(os.fspath(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.options = {"preset": "veryfast", "crf": "21"}
        last = -1

        def add(image: np.ndarray, seconds: float) -> None:
            nonlocal last
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            last = frame.pts = max(round(seconds * TICKS), last + 1)
            frame.time_base = Fraction(1, TICKS)
            container.mux(stream.encode(frame))

        yield add
        container.mux(stream.encode())


@contextmanager
def _mpeg4(path: Path, fps: float, width: int, height: int) -> Iterator[AddFrame]:
    quiet()
    with TemporaryDirectory() as folder:
        film = Path(folder) / "video.mp4"  # OpenCV knows by the suffix what to write, and takes no name but text
        writer = cv2.VideoWriter(os.fspath(film), cv2.VideoWriter_fourcc(*"mp4v"), fps, (width, height))
        count = 0

        def add(image: np.ndarray, seconds: float) -> None:
            nonlocal count
            writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            count += 1

        try:
            yield add
        finally:
            writer.release()
        # OpenCV says nothing of a full disk.
        if cv2.VideoCapture(os.fspath(film), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT) != count:
            raise OSError(errno.ENOSPC, f"the disk of {folder} may be full")
        shutil.copyfile(film, path)
