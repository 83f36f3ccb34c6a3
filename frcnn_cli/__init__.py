"""Fast R-CNN (Girshick, ICCV 2015) as a toolkit: `frcnn` on the command line, `Detector` and `train` in Python."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frcnn_cli.commands.train_api import train
    from frcnn_cli.engine.detector import Detector

__version__ = "0.1.0"
__all__ = ["Detector", "train"]

_PLACES = {"Detector": "frcnn_cli.engine.detector", "train": "frcnn_cli.commands.train_api"}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: `import frcnn_cli` itself waits for nothing."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
