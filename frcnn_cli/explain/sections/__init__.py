"""The sections of the page, in the order they are read; each is a module of its own.

A section's module has `applies`, which says whether a model has what it is about, and `write`, which says it.
"""

from __future__ import annotations

from types import ModuleType

from frcnn_cli.explain.sections import (
    backward,
    boxes,
    compression,
    lineage,
    loss,
    pooling,
    proposing,
    sampling,
    time,
)

SECTIONS: dict[str, ModuleType] = {
    "lineage": lineage,
    "proposing": proposing,
    "pooling": pooling,
    "backward": backward,
    "loss": loss,
    "sampling": sampling,
    "boxes": boxes,
    "compression": compression,
    "time": time,
}
"""By the name of the section's table in the files of words."""
