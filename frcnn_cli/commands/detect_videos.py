"""Videos and cameras of `frcnn detect`, frame by frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

import numpy as np

from frcnn_cli.commands.console import err, progress_bar
from frcnn_cli.commands.detect_outputs import OutputFault, Outputs
from frcnn_cli.commands.options import SourceOptions
from frcnn_cli.data.detections import Frame
from frcnn_cli.data.items import Video
from frcnn_cli.data.video_writer import AddFrame
from frcnn_cli.data.videos import open_video
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector, detect_image
from frcnn_cli.engine.realtime import Pace, RealtimeDetector
from frcnn_cli.engine.sources import ProposalSource
from frcnn_cli.errors import DataError, UsageError
from frcnn_cli.settings import setting


@dataclass(frozen=True)
class VideoOptions:
    """How videos are gone through.

    Attributes:
        every: each n-th frame.
        realtime: whether how closely frames are looked at follows from the frame rate.
        fps: that rate; None for the video's own.
    """

    every: int = setting(1, "Of videos, look at each N-th frame.", metavar="N", least=1)
    realtime: bool = setting(
        False, "Of videos, look as closely as the frame rate allows: mode, scale and number of proposals."
    )
    fps: float | None = setting(
        None, "The frames a second of --realtime.", metavar="RATE", above=0, most=1000, shown_default="the video's own"
    )


def check_videos(options: VideoOptions, proposals: SourceOptions, config: DetectionConfig) -> None:
    """Refuse options that say what others choose.

    Raises:
        UsageError: there are some.
    """
    if not options.realtime:
        if options.fps:
            raise UsageError("--fps is the rate of --realtime; give that too")
        return
    looks = {"proposals": proposals.proposals, **proposals.making}
    looks |= {"short_side": config.short_side, "scales": config.scales}
    for name, value in looks.items():
        if value:
            raise UsageError(f"--{name.replace('_', '-')}: --realtime chooses that; give one of the two")


class VideoDetector:
    """Detects in the frames of videos.

    Args:
        detector: the model.
        options: which frames, and how closely.
        source: of proposals, without --realtime.
        config: thresholds, and without --realtime how closely to look.
        outputs: takes the results.
        interrupted: set when no more frames are to be looked at.
    """

    def __init__(
        self,
        detector: Detector,
        options: VideoOptions,
        source: ProposalSource,
        config: DetectionConfig,
        outputs: Outputs,
        interrupted: threading.Event,
    ) -> None:
        self._detector = detector
        self._options = options
        self._source = source
        self._config = config
        self._outputs = outputs
        self._interrupted = interrupted

    def run(self, video: Video) -> None:
        """Detect in a video; what was done before a fault is kept.

        Raises:
            OutputFault: the file of all detections cannot be written.
            DataError: the video cannot be opened, has no frames or breaks off, or its pictures cannot be written.
        """
        every = self._options.every
        with open_video(video) as opened:
            rate = opened.fps / every
            pace = Pace(self._options.fps or rate) if self._options.realtime else None
            clock = Clock()
            fault = None
            with self._outputs.film(video, rate) as film, closing(opened.frames(every)) as frames:
                total = opened.count and ceil(opened.count / every)
                try:
                    self._detect(video, progress_bar(video.path.name, "frame")(frames, total), pace, film, clock)
                except OutputFault:
                    raise
                except DataError as error:
                    fault = error
        if clock.frames:
            asked = f" (asked for {1 / pace.budget:.4g}; last with {pace.level})" if pace else ""
            err.print(f"{video.path}: {clock.frames} frames, {clock.rate:.1f} a second{asked}")
        if fault:
            raise fault

    def _detect(
        self,
        video: Video,
        frames: Iterable[tuple[np.ndarray, Frame]],
        pace: Pace | None,
        film: AddFrame | None,
        clock: Clock,
    ) -> None:
        if pace:
            look = RealtimeDetector(self._detector, self._config, pace).detect
        else:
            look = partial(detect_image, self._detector, source=self._source, config=self._config)
        done = time.perf_counter()
        for image, frame in frames:
            # A camera is waited for; a file is read, which takes its time of each frame.
            start = time.perf_counter()
            begun = start if video.live else done
            result = look(image, video.path, video.frame_id(frame.number))
            looked = time.perf_counter()
            result = replace(result, frame=replace(frame, rate=clock.lately) if pace else frame)
            note = f"{clock.lately:.1f} fps" if pace and clock.lately else ""
            self._outputs.draw(image, result, film, note)
            self._outputs.report(result)
            done = time.perf_counter()
            clock.tick(done)
            if pace:
                pace.took(looked - start, done - begun - (looked - start))
            if self._interrupted.is_set():
                return


class Clock:
    """Counts frames a second.

    Attributes:
        frames: that were counted.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._first = self._last = 0.0
        self._interval: float | None = None

    def tick(self, now: float) -> None:
        """A frame was done at a time in seconds. Intervals are between two, so that loading a model is in none."""
        self.frames += 1
        if self.frames == 1:
            self._first = now
        else:
            interval = now - self._last
            self._interval = interval if self._interval is None else 0.8 * self._interval + 0.2 * interval
        self._last = now

    @property
    def rate(self) -> float:
        """Frames a second from the first to the last one; 0 for a single frame."""
        return (self.frames - 1) / (self._last - self._first) if self.frames > 1 else 0.0

    @property
    def lately(self) -> float | None:
        """Frames a second of the last few; None before there are two."""
        return None if self._interval is None else 1 / self._interval
