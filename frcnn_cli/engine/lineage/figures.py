"""What was measured of each detector, kept in the folder of the comparison."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from frcnn_cli.engine.run_files import MODEL_FILE
from frcnn_cli.engine.staged.log import check_amounts
from frcnn_cli.errors import DataError, UsageError
from frcnn_cli.files import atomic_write, read_text, reason

FIGURES_FILE = "figures.json"
SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class Trial:
    """A detector on the images to measure on.

    Attributes:
        mean_ap: VOC2010's, from 0 to 1.
        seconds: an image by the clock, proposals apart.
        cpu: an image, of the process on all its threads.
    """

    mean_ap: float
    seconds: float
    cpu: float


@dataclass(frozen=True)
class Figures:
    """What a detector cost, and what it does.

    Attributes:
        detector: its name.
        stages: {stage of training: {"seconds": by the clock, "cpu": of the process}}.
        bytes: of features on the disk.
        test: of the model.
        svd: of the same with fc6 and fc7 compressed as in the paper; None of a detector that it is not measured of.
        responses: of the same with layers as small, cut by their responses; None in files of before there was that.
    """

    detector: str
    stages: dict[str, dict[str, float]]
    bytes: int
    test: Trial
    svd: Trial | None = None
    responses: Trial | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be measured."""
        return self.svd is None or self.responses is not None

    @property
    def training_cpu(self) -> float:
        """Seconds of all stages."""
        return sum(stage["cpu"] for stage in self.stages.values())

    @property
    def training_seconds(self) -> float:
        """Likewise, by the clock."""
        return sum(stage["seconds"] for stage in self.stages.values())


@dataclass
class FigureFile:
    """The figures of a comparison, and the settings that they are for.

    Args:
        folder: of the comparison.
        settings: of JSON's types; a folder of others is refused.

    Attributes:
        figures: by the detector's name.
        begun: whether the folder is that of a comparison already.

    Raises:
        UsageError: the folder is of other settings.
        DataError: a file is damaged.
    """

    folder: Path
    settings: dict[str, Any]
    figures: dict[str, Figures] = field(default_factory=dict)
    begun: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        before = _read(self.folder / SETTINGS_FILE)
        if before is not None and not (isinstance(before, dict) and "images" in before):
            raise DataError(f"{self.folder / SETTINGS_FILE}: not the settings of a comparison; choose another folder")
        self.begun = before is not None
        # A setting that an earlier version did not have is as it is by default: None.
        for name in sorted(before.keys() | self.settings.keys()) if self.begun else ():
            if before.get(name) != self.settings.get(name):
                raise UsageError(
                    f"{self.folder}: holds a comparison with {name} {before.get(name)}, not {self.settings.get(name)}; "
                    "choose another folder"
                )
        try:
            for entry in _read(self.folder / FIGURES_FILE) or ():
                test, svd, responses = entry.pop("test"), entry.pop("svd"), entry.pop("responses", None)
                smaller = [None if trial is None else Trial(**trial) for trial in (svd, responses)]
                found = Figures(**entry, test=Trial(**test), svd=smaller[0], responses=smaller[1])
                _check(found)
                self.figures[found.detector] = found
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{self.folder / FIGURES_FILE}: not the figures of a comparison ({reason(error)})"
            ) from error

    def is_complete(self, detector: str) -> bool:
        """Whether all of a detector is measured, or what is left cannot be, as its model is not there any more."""
        if detector not in self.figures:
            return False
        return self.figures[detector].complete or not (self.folder / detector / MODEL_FILE).is_file()

    def begin(self) -> None:
        """Write down the settings."""
        _write(self.folder / SETTINGS_FILE, self.settings)

    def add(self, figures: Figures) -> None:
        """Write down what was measured of a detector."""
        self.figures[figures.detector] = figures
        _write(self.folder / FIGURES_FILE, [asdict(found) for found in self.figures.values()])


def _check(figures: Figures) -> None:
    """Refuse what no measurement gives.

    Raises:
        ValueError, TypeError: it is none.
    """
    if not isinstance(figures.detector, str):
        raise ValueError(f"a detector that is a {type(figures.detector).__name__}")
    check_amounts(bytes=figures.bytes)
    for stage in figures.stages.values():
        check_amounts(seconds=stage["seconds"], cpu=stage["cpu"])
    for trial in filter(None, (figures.test, figures.svd, figures.responses)):
        check_amounts(seconds=trial.seconds, cpu=trial.cpu)
        if not math.isnan(trial.mean_ap):  # of images without an object
            check_amounts(mean_ap=trial.mean_ap)


def _read(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({reason(error)})") from error


def _write(path: Path, content: Any) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
