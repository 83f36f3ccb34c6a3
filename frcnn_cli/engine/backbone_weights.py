"""The weights a model starts from: those of the installation, or a file; a download only where it is allowed."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from frcnn_cli.core.backbones import find_backbone
from frcnn_cli.core.backbones.network import Backbone
from frcnn_cli.core.model import Head
from frcnn_cli.engine.foreign_weights import READABLE, foreign_weights
from frcnn_cli.engine.state_checks import check_archive
from frcnn_cli.errors import DataError, FrcnnError, UsageError
from frcnn_cli.files import reading, reason

PREFIXES = ("", "features.", "body.", "backbone.body.")
"""What may stand before the names of a body's tensors: torchvision keeps its convolutions under ``features.``, and
``body.`` is our own attribute."""


def load_backbone_weights(
    backbone: Backbone, name: str, weights: str, allow_download: bool = False, head: Head | None = None
) -> str:
    """Fill a backbone with weights, in place, and fc6 and fc7 where the weights have a classifier like them.

    Args:
        backbone: as `build_backbone` makes it.
        name: of the backbone.
        weights: ``imagenet``, ``none`` or a path: a state dict of torchvision's, timm's or our own naming
            (.pth, .pt, .safetensors); other layers behind the feature map are not read.
        allow_download: whether `imagenet` may come from the network.
        head: of the model; None for the backbone alone.

    Returns:
        What fc6 and fc7 start from, in a line for the user; nothing where no weights of a classifier were to be had.

    Raises:
        UsageError: `imagenet` would need a download that is not allowed.
        DataError: the file is missing, unreadable, or lacks a layer of this network; the download failed.
    """
    if weights == "none":
        return ""
    if weights == "imagenet":
        state = _imagenet_state(backbone, name, allow_download)
        origin = f"ImageNet weights of {name}"
    else:
        state = _read_state(Path(weights))
        origin = weights
    _fill_body(backbone, state, name, origin)
    classifier = find_backbone(name).config.classifier
    if head is None or classifier is None:
        return ""
    return f"{origin}: {_fill_head(head, state, *classifier)}"


def _imagenet_state(backbone: Backbone, name: str, allow_download: bool) -> dict[str, Tensor]:
    kind = find_backbone(name)
    if not (kind.config.bundled or allow_download):
        raise UsageError(kind.config.needs_download(name))
    try:
        return kind.imagenet_state(backbone)
    except FrcnnError:
        raise
    except Exception as error:  # of a network, a file system, torch or a hub
        raise DataError(f"ImageNet weights of {name}: {kind.config.source}: {reason(error)}") from error


def _fill_body(backbone: Backbone, state: dict[str, Tensor], name: str, origin: str) -> None:
    own = backbone.body.state_dict()
    for prefix in PREFIXES:
        if all(prefix + key in state for key in own):
            wrong = [key for key, value in own.items() if state[prefix + key].shape != value.shape]
            if wrong:
                raise DataError(f"{origin}: {prefix + wrong[0]} does not have the shape that {name} needs")
            backbone.body.load_state_dict({key: state[prefix + key] for key in own})
            return
    missing = [key for key in own if not any(prefix + key in state for prefix in PREFIXES)]
    raise DataError(f"{origin}: not weights of {name}; it lacks {len(missing)} tensors, such as {missing[0]}")


def _fill_head(head: Head, state: dict[str, Tensor], fc6: str, fc7: str) -> str:
    """Start fc6 and fc7 from two layers of a classifier, if they can be, and return what they start from."""
    names = [f"{layer}.{kind}" for layer in (fc6, fc7) for kind in ("weight", "bias")]
    # torchvision's VGG16_Weights.IMAGENET1K_FEATURES has them, but nothing in them.
    if not all(name in state and state[name].isfinite().all() for name in names):
        return f"no {fc6} and {fc7}, so fc6 and fc7 start at random"
    weight6, bias6, weight7, bias7 = (state[name] for name in names)
    try:
        head.start_from((weight6, bias6), (weight7, bias7))
    except ValueError:
        return f"{fc6} and {fc7} are of another shape, so fc6 and fc7 start at random"
    width, units = head.fc6.out_features, len(bias6)
    part = "" if width == units else f"the first {width} of the {units} units of "
    return f"fc6 and fc7 start from {part}{fc6} and {fc7}"


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.exists() or path.is_dir():
        raise DataError(f"{path}: no such file")
    with reading(path):
        foreign = foreign_weights(path) if path.suffix.lower() not in READABLE else None
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        fault = f"it is {foreign}" if foreign else type(error).__name__
        if isinstance(error, pickle.UnpicklingError) and not foreign:
            fault = "it holds more than tensors, as a whole model; save its state_dict()"
        raise DataError(f"{path}: not a file of weights that can be read ({fault})") from error
    if not isinstance(state, dict):
        raise DataError(f"{path}: not a state dict")
    nested = state.get("state_dict", state)
    if not isinstance(nested, dict):
        raise DataError(f"{path}: not a state dict")
    return {key: value for key, value in nested.items() if isinstance(value, Tensor)}
