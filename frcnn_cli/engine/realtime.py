"""Videos at a frame rate: how closely each frame is looked at follows from how long the frames before it took.

Selective search, the network's backbone and its head each have a size that time can be saved at: the search's mode and
the size that it works at, the image's scale, and the number of proposals. `LEVELS` are the combinations that keep
most precision for their time, best first, as ``scripts/bench_realtime.py`` measures them. A video hardly changes from
frame to frame, so the boxes that were found in the last one come before the proposals of the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from frcnn_cli.data.detections import Detections, ImageResult
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector, detect_image
from frcnn_cli.engine.sources.search import ProposalConfig, SearchSource, smallest_at

CARRIED_SCORE = 0.1
"""The least score of a box that joins the next frame's proposals: less than what is reported, as it may rise."""


@dataclass(frozen=True)
class Level:
    """How closely a frame is looked at.

    Attributes:
        mode: of the search, a name of `SEARCHES`.
        search_size: see `ProposalConfig`; the shortest side of a proposal is in proportion.
        short_side: that it is brought to for the network.
        proposals: the most of a frame.
        refine: see `DetectionConfig`.
        cost: time beside that of the other levels.
        refine_flip: see `DetectionConfig`.
    """

    mode: str
    search_size: int
    short_side: int
    proposals: int
    refine: int
    cost: float
    refine_flip: bool = False

    def of(self, config: DetectionConfig) -> DetectionConfig:
        """The config that looks as closely as this."""
        return replace(config, short_side=self.short_side, refine=self.refine, refine_flip=self.refine_flip)

    def __str__(self) -> str:
        mirrored = ", mirrored" if self.refine_flip else ""
        return f"mode {self.mode}, short side {self.short_side}, {self.proposals} proposals{mirrored}"


LEVELS = (
    Level("fast", 320, 480, 1000, 300, 1.0, refine_flip=True),
    Level("fast", 320, 480, 1000, 300, 0.76),
    Level("single", 320, 384, 1000, 100, 0.32),
    Level("single", 320, 320, 500, 100, 0.31),
    Level("single", 200, 320, 300, 60, 0.24),
    Level("single", 200, 256, 300, 60, 0.18),
    Level("single", 150, 224, 200, 30, 0.14),
)


class Pace:
    """Chooses a level for a frame rate.

    The first frame at a level is not counted, as it may compile something or fill caches. After the next ones, the best
    level is taken whose frames are expected to take no longer than there is time: as long as now, times the ratio of
    the costs. A level that was moved up to and turned out too slow is not tried again for a while.

    Args:
        fps: frames a second that are wanted.
        levels: best first.

    Attributes:
        number: of the level, from 0 on.
    """

    COUNTED = 4
    """Frames at a level before the next choice."""
    FIRST_WAIT = 25
    """Frames before a level that was too slow is tried again; twice as many each time, up to `LONGEST_WAIT`."""
    LONGEST_WAIT = 800
    SPARE = 0.9
    """Share of the time that a better level may be expected to take: it should not be left again at once."""

    def __init__(self, fps: float, levels: tuple[Level, ...] = LEVELS) -> None:
        self.budget = 1 / fps
        self.levels = levels
        self.number = min((len(levels) + 1) // 2, len(levels) - 1)  # a film is not to begin by lagging
        self._frames = -1
        self._detection = self._rest = 0.0
        self._came_up = False
        self._waits = [0] * len(levels)
        self._next_wait = [self.FIRST_WAIT] * len(levels)

    @property
    def level(self) -> Level:
        return self.levels[self.number]

    def took(self, detection: float, rest: float) -> None:
        """Say how long a frame took, and choose the next one's level.

        Args:
            detection: seconds of proposals and network, which depend on the level.
            rest: seconds of all else: reading, drawing, writing.
        """
        self._waits = [max(wait - 1, 0) for wait in self._waits]
        self._frames += 1
        if self._frames == 0:
            return
        share = max(1 / self._frames, 0.2)  # a mean at first, then one that forgets
        self._detection += share * (detection - self._detection)
        self._rest += share * (rest - self._rest)
        if self._frames < self.COUNTED:
            return
        if self._detection + self._rest > self.budget:
            if self._came_up:
                self._waits[self.number] = self._next_wait[self.number]
                self._next_wait[self.number] = min(2 * self._next_wait[self.number], self.LONGEST_WAIT)
            slower = range(self.number + 1, len(self.levels))
            self._move(next((number for number in slower if self._fits(number, 1.0)), len(self.levels) - 1))
        else:
            better = (number for number in range(self.number) if not self._waits[number])
            self._move(next((number for number in better if self._fits(number, self.SPARE)), self.number))

    def _fits(self, number: int, share: float) -> bool:
        expected = self._detection * self.levels[number].cost / self.level.cost + self._rest
        return expected <= share * self.budget

    def _move(self, number: int) -> None:
        if number != self.number:
            self._came_up = number < self.number
            self.number = number
            self._frames = -1
            self._detection = self._rest = 0.0


class CarryingSource:
    """Searches a frame as closely as a level says, and puts the last frame's boxes first; a `ProposalSource`."""

    made = True

    def __init__(self, level: Level, last: np.ndarray) -> None:
        size = level.search_size
        self._search = SearchSource(
            ProposalConfig(level.mode, level.proposals, search_size=size, smallest=smallest_at(size))
        )
        self._last = last

    def boxes(self, image: np.ndarray, image_id: str = "") -> np.ndarray:
        """See `ProposalSource.boxes`; the last boxes are in pixels of a frame of the same size."""
        return np.concatenate((self._last, self._search.boxes(image, image_id)))


class RealtimeDetector:
    """Detects in one frame of a video after the other, at a frame rate.

    Args:
        detector: the model.
        config: thresholds; its scale and its second look are the level's.
        pace: what chooses the level.
    """

    def __init__(self, detector: Detector, config: DetectionConfig, pace: Pace) -> None:
        self.pace = pace
        self._detector = detector
        self._config = config
        self._last = np.zeros((0, 4), np.float32)

    def detect(self, image: np.ndarray, path: Path, image_id: str) -> ImageResult:
        """See `detect_image`."""
        level = self.pace.level
        carried = min(CARRIED_SCORE, self._config.score_threshold)
        config = level.of(replace(self._config, score_threshold=carried, scales=None))
        source = CarryingSource(level, self._last)
        result = detect_image(self._detector, image, path, image_id, source, config)
        self._last = result.detections.boxes
        return replace(result, detections=_at_least(result.detections, self._config.score_threshold))


def _at_least(found: Detections, score: float) -> Detections:
    keep = found.scores >= score
    names = tuple(name for name, kept in zip(found.names, keep, strict=True) if kept)
    return Detections(found.boxes[keep], found.scores[keep], found.labels[keep], names)
