"""Videos in: files, cameras and streams, frame by frame, by OpenCV. A frame is uint8 RGB [H, W, 3], upright."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np

from frcnn_cli.data.detections import Frame
from frcnn_cli.data.images import IMAGE_SUFFIXES, natural_key
from frcnn_cli.data.items import Video
from frcnn_cli.errors import DataError
from frcnn_cli.files import reading

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m2v", ".ts", ".mts", ".m2ts", ".wmv", ".asf"}
    | {".flv", ".3gp", ".3g2", ".ogv", ".vob", ".mjpeg"}
)
"""In lower case, by which videos are found in folders. A file named by itself may have any other."""

_STILLS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"crx ")
"""Kinds of images that begin as .mp4 does."""

STREAMS = ("rtsp://", "rtsps://", "rtmp://", "http://", "https://", "udp://", "tcp://")
"""What addresses of network cameras and streams begin with."""

USUAL_RATE = 25.0
"""Frames a second of a video that does not say."""

PATIENCE = 10.0
"""Seconds to wait for a camera's next frame."""

_SHORT = 0.02
"""Share of the frames that a header may announce too many: it is often an estimate."""


def is_video(path: str | Path) -> bool:
    """Whether a file is a video, by its suffix, or by its first bytes where the suffix says nothing."""
    suffix = os.path.splitext(path)[1].lower()
    if not os.path.isfile(path) or suffix in IMAGE_SUFFIXES:
        return False
    if suffix in VIDEO_SUFFIXES:
        return True
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return False
    if head[4:8] == b"ftyp":
        return head[8:] not in _STILLS
    return head.startswith(b"\x1aE\xdf\xa3") or (head.startswith(b"RIFF") and head.endswith(b"AVI "))


def find_videos(folder: Path) -> list[Path]:
    """The videos below a folder by their suffixes, in natural order; hidden files are left out."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    return sorted((path for path in paths if path.is_file() and not path.name.startswith(".")), key=natural_key)


class OpenVideo:
    """A video that can be read.

    Attributes:
        video: which.
        fps: frames a second, as it says itself.
        count: of its frames, as it says itself; None where it does not.
    """

    def __init__(self, video: Video, capture: cv2.VideoCapture) -> None:
        self.video = video
        self._capture = capture
        rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.fps = rate if 0 < rate <= 1000 else USUAL_RATE  # also refuses nan
        self.count = int(count) if 0 < count < 1e9 and not video.live else None

    def frames(self, every: int = 1) -> Iterator[tuple[np.ndarray, Frame]]:
        """Every n-th frame, from the first one on; where it is live, the newest that there is, so that none is late.

        Raises:
            DataError: after the last frame that could be read: there was none, the video breaks off, or the camera has
                gone.
        """
        number, name = -1, self.video.path
        with closing(self._newest(every) if self.video.live else self._all(every)) as frames:
            for image, frame in frames:
                number = frame.number
                if image is not None:
                    yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB), frame
        count = number + 1
        if count == 0:
            raise DataError(f"{name}: a video without a frame that can be read")
        if self.video.live:
            raise DataError(f"{name}: gives no more frames after {count}")
        if self.count and count < self.count - max(1, _SHORT * self.count):
            raise DataError(f"{name}: breaks off after {count} of {self.count} frames")

    def _all(self, every: int) -> Iterator[tuple[np.ndarray | None, Frame]]:
        """All frames; those that are not wanted as None."""
        number, seconds = 0, -1.0
        while self._capture.grab():
            stated = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            seconds = stated if stated > seconds else number / self.fps  # some containers have no times
            image = None
            if number % every == 0:
                there, image = self._capture.retrieve()
                if not there:
                    return
            yield image, Frame(number, seconds)
            number += 1

    def _newest(self, every: int) -> Iterator[tuple[np.ndarray, Frame]]:
        """Of every n-th frame what a thread has read last, each at most once."""
        start, arrived, ended = time.monotonic(), threading.Condition(), threading.Event()
        newest: list[tuple[np.ndarray, Frame]] = []

        def read() -> None:
            number = 0
            while not ended.is_set():
                there, image = self._capture.read()
                with arrived:
                    if not there:
                        ended.set()
                    elif number % every == 0:
                        newest[:] = [(image, Frame(number, time.monotonic() - start))]
                    arrived.notify()
                number += 1

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            while True:
                with arrived:
                    arrived.wait_for(lambda: newest or ended.is_set(), PATIENCE)
                    if not newest:
                        return
                    item = newest.pop()
                yield item
        finally:
            ended.set()
            thread.join(PATIENCE)


@contextmanager
def open_video(video: Video) -> Iterator[OpenVideo]:
    """Open a video, and close it after the block.

    Raises:
        DataError: there is no such file, camera or stream, or it is no video.
    """
    quiet()
    if isinstance(video.source, int):
        capture = cv2.VideoCapture(video.source)
        fault = "no such camera, or another program has it"
    elif video.live:
        capture = cv2.VideoCapture(video.source, cv2.CAP_FFMPEG)
        fault = "no such stream, or it does not answer"
    else:
        with reading(video.path):
            empty = os.path.getsize(video.path) == 0
        if not _is_text(video.path):
            raise DataError(f"{video.path}: a video whose name is not UTF-8 cannot be opened; rename it")
        # OpenCV's other readers take names with numbers for sequences of images.
        capture = cv2.VideoCapture(os.fspath(video.path), cv2.CAP_FFMPEG)
        fault = "empty file" if empty else "not a video that can be read"
    try:
        if not capture.isOpened():
            raise DataError(f"{video.path}: {fault}")
        yield OpenVideo(video, capture)
    finally:
        capture.release()


def quiet() -> None:
    """Keep OpenCV from saying on stderr what is wrong with a file; we do, once. To be called before it opens any."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def parse_source(text: str) -> Video | None:
    """The camera or stream that a text means, such as ``camera:0`` or ``rtsp://door.local/1``; None if it is neither.

    A stream goes by its host and path, as its address may hold a password.
    """
    camera = re.fullmatch(r"(?:camera:|/dev/video)(\d{1,4})", text)
    if camera:
        return Video(Path(text), f"camera{int(camera[1])}", int(camera[1]), live=True)
    if _is_stream(text):
        address = urlsplit(text)
        name = (address.hostname or "stream") + address.path
        return Video(Path(name), re.sub(r"[^\w-]+", "_", name).strip("_"), text, live=True)
    return None


def _is_stream(source: str | int) -> bool:
    return isinstance(source, str) and source.lower().startswith(STREAMS)


def _is_text(path: Path) -> bool:
    """Whether a name can be given to OpenCV, which crashes at bytes that are no text."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True
