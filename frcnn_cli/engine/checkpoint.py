"""Checkpoints: one safetensors file with the tensors and, as JSON beside them, all that is needed to use them.

The JSON names the kind of detector, which knows what its architecture is; everything else is the same for all kinds.

Opening a checkpoint never runs code. float16 storage halves the file; a loaded model always computes in float32.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from frcnn_cli.core.normalisation import Normalisation
from frcnn_cli.engine.checkpoint_metadata import (
    LONGEST,
    read_architecture,
    read_classes,
    read_normalisation,
    read_sides,
    read_training,
)
from frcnn_cli.engine.detectors import DETECTORS, FAST_RCNN, Architecture
from frcnn_cli.engine.foreign_weights import foreign_weights
from frcnn_cli.errors import DataError, MissingFile, UsageError
from frcnn_cli.files import atomic_write, reading, reason

FORMAT = "frcnn-checkpoint"
VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained detector.

    Attributes:
        architecture: what to build.
        classes: names of the labels 1, 2, ...; 0 is the background.
        normalisation: of the input.
        short_side: test scale in pixels: images are brought to this shorter side ...
        long_side: ... unless the longer would pass this.
        training: how it was made; not needed to use it.
        state: the model's tensors; bbox_pred answers in plain (not normalised) deltas.
        kind: of detector, a name of `DETECTORS`.
    """

    architecture: Architecture
    classes: tuple[str, ...]
    normalisation: Normalisation
    short_side: int
    long_side: int
    training: dict[str, Any]
    state: dict[str, Tensor] = field(repr=False)
    kind: str = FAST_RCNN

    def build(self) -> nn.Module:
        """The model, ready to detect, on the CPU in float32."""
        model = deepcopy(_empty_model(self.kind, self.architecture))
        state = {name: value.float() if value.is_floating_point() else value for name, value in self.state.items()}
        model.load_state_dict(state, assign=True)
        if any(buffer.is_meta for buffer in model.buffers()):
            # A backbone with buffers that a state dict leaves out; they are computed when it is built for real.
            model = DETECTORS[self.kind].build(self.architecture)
            model.load_state_dict(state)
        return model.eval().to(memory_format=torch.channels_last)


def save_checkpoint(path: str | Path, checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> None:
    """Write a checkpoint in one piece.

    Args:
        path: the file.
        checkpoint: what to write.
        dtype: float32 or float16, of the floating-point tensors in the file.

    Raises:
        DataError: the file cannot be written.
    """
    about = {
        "format": FORMAT,
        "version": VERSION,
        "kind": checkpoint.kind,
        "architecture": asdict(checkpoint.architecture),
        "classes": list(checkpoint.classes),
        "normalisation": asdict(checkpoint.normalisation),
        "short_side": checkpoint.short_side,
        "long_side": checkpoint.long_side,
        "training": checkpoint.training,
    }
    state = {
        name: (value.to(dtype) if value.is_floating_point() else value).cpu().contiguous().clone()
        for name, value in checkpoint.state.items()
    }
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(state, metadata={"frcnn": json.dumps(about)}))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint. What it says of itself is checked first, and the tensors are read if they fit that.

    Raises:
        DataError: the file is missing, damaged, not a checkpoint of this program, or has weights that are not finite.
    """
    path = Path(path)
    if not path.exists() or path.is_dir():
        raise MissingFile(f"{path}: no such file")
    with reading(path):
        foreign = foreign_weights(path)
    try:
        with safe_open(path, framework="pt") as file:
            checkpoint = _described(path, file.metadata() or {})
            names = file.keys()
            _check_shapes(checkpoint, path, {name: tuple(file.get_slice(name).get_shape()) for name in names})
            checkpoint.state.update((name, file.get_tensor(name)) for name in names)
    except (SafetensorError, OSError, RuntimeError, MemoryError) as error:  # larger than memory, perhaps by a hole
        fault = f"it is {foreign}" if foreign else reason(error)
        raise DataError(f"{path}: not a checkpoint, or a damaged one ({fault})") from error
    _check_values(checkpoint, path)
    return checkpoint


def _described(path: Path, metadata: dict[str, str]) -> Checkpoint:
    """A checkpoint without its tensors, as the metadata describe it."""
    try:
        if len(metadata["frcnn"]) > LONGEST:
            raise ValueError("metadata of more than 4 MB")
        about = json.loads(metadata["frcnn"])
        if about["format"] != FORMAT:
            raise KeyError("format")
        if about["version"] != VERSION:
            raise DataError(f"{path}: version {about['version']!s:.20} of the format; this program reads {VERSION}")
        kind = about.get("kind", FAST_RCNN)
        if not isinstance(kind, str) or kind not in DETECTORS:
            raise DataError(f"{path}: a detector of the kind {kind!r:.50}; this program knows {', '.join(DETECTORS)}")
        short_side, long_side = read_sides(about["short_side"], about["long_side"])
        return Checkpoint(
            architecture=read_architecture(about["architecture"], DETECTORS[kind]),
            classes=read_classes(about["classes"]),
            normalisation=read_normalisation(about["normalisation"]),
            short_side=short_side,
            long_side=long_side,
            training=read_training(about["training"]),
            state={},
            kind=kind,
        )
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"{path}: weights, but not a checkpoint of this program (no usable metadata)") from error


def _check_shapes(checkpoint: Checkpoint, path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    kind, architecture = checkpoint.kind, checkpoint.architecture
    try:
        expected = {name: tuple(value.shape) for name, value in _empty_model(kind, architecture).state_dict().items()}
    except UsageError as error:  # a backbone of another version of timm
        raise DataError(f"{path}: {error}") from error
    except (TypeError, ValueError, RuntimeError, AttributeError, MemoryError, OverflowError) as error:
        raise DataError(f"{path}: no {DETECTORS[kind].title} can be built as it describes ({reason(error)})") from error
    if shapes != expected:
        raise DataError(f"{path}: the tensors are not those of the {DETECTORS[kind].title} that it describes")
    if len(checkpoint.classes) != architecture.num_classes:
        raise DataError(f"{path}: {len(checkpoint.classes)} class names, but {architecture.num_classes} classes")


def _check_values(checkpoint: Checkpoint, path: Path) -> None:
    """Refuse tensors of another type than the model's, and numbers that would make every score nan."""
    for name, expected in _empty_model(checkpoint.kind, checkpoint.architecture).state_dict().items():
        value = checkpoint.state[name]
        if (value.is_floating_point(), value.is_complex()) != (expected.is_floating_point(), expected.is_complex()):
            raise DataError(f"{path}: {name} is of {value.dtype}, not {expected.dtype}")
        if value.is_floating_point() and not value.float().isfinite().all():
            raise DataError(f"{path}: {name} is not finite: a training that diverged, or a damaged file")


@lru_cache(maxsize=1)
def _empty_model(kind: str, architecture: Architecture) -> nn.Module:
    """A model without values, to look at and to copy; kept, as a file is first checked against it and then built.

    On the meta device nothing is allocated, and nothing is drawn at random, since everything is about to be replaced.
    """
    with torch.device("meta"), _Unfilled():
        return DETECTORS[kind].build(architecture)


class _Unfilled(TorchFunctionMode):
    """New tensors are not filled; on the meta device that is half the time of building a model, and for nothing."""

    FILLS = frozenset((Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_))

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return args[0] if function in self.FILLS else function(*args, **(kwargs or {}))
