"""What a run's state says, held against types, ranges and the run itself before any of it is taken over."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frcnn_cli.engine.checkpoint_metadata import read_count, read_number


def check_archive(path: str | Path) -> None:
    """Refuse a file of `torch.save` that is larger inside than it is, as PyTorch does not compress.

    Raises:
        ValueError: it is.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > os.stat(path).st_size:
                raise ValueError("it is compressed, which PyTorch's files are not")


def check_state(state: Mapping[str, Any], model: nn.Module, iterations: int) -> None:
    """Check all of a state but what belongs to the optimizer.

    Args:
        state: as `Run.state_dict` makes it.
        model: that it is to be of.
        iterations: that the run is to have.

    Raises:
        KeyError, TypeError, ValueError: something is missing, of another type, or out of range.
    """
    read_count(state["iteration"], least=0, most=iterations)
    read_count(state["measured"], least=0, most=state["iteration"])
    for name in ("best_map", "last_map"):
        if not isinstance(state[name], float) or state[name] > 1 or state[name] < -1:  # nan where there was no object
            raise ValueError(f"{name} is no mAP")
    for name, value in state["window"].items():
        if not isinstance(name, str):
            raise TypeError("window: a name that is none")
        read_number(value)
    for name in ("target_mean", "target_std"):
        _check_tensor(name, state[name], torch.zeros(4))
    if not (state["target_std"] > 0).all():
        raise ValueError("target_std is not positive")
    _check_tensors("model", state["model"], model.state_dict())
    if state.get("average"):
        _check_tensors("average", state["average"], dict(model.named_parameters()))


def check_optimizer(optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]]) -> None:
    """Check what an optimizer has loaded.

    Args:
        optimizer: after it has loaded a state.
        groups: its groups of parameters as they were before.

    Raises:
        TypeError, ValueError: a number or a tensor is not what such an optimizer has.
    """
    for group, before in zip(optimizer.param_groups, groups, strict=True):
        for name, value in before.items():
            if type(value) in (int, float):
                read_number(group[name])
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                _check_tensor(f"optimizer: {name}", value, parameter if value.ndim else torch.zeros(()))
            elif value is not None:
                read_number(value)


def _check_tensors(what: str, tensors: Any, like: Mapping[str, Tensor]) -> None:
    if not isinstance(tensors, Mapping) or tensors.keys() != like.keys():
        raise ValueError(f"{what}: tensors of another model")
    for name, value in tensors.items():
        _check_tensor(f"{what}: {name}", value, like[name])


def _check_tensor(what: str, value: Any, like: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{what} is {type(value).__name__}")
    if value.shape != like.shape or value.dtype != like.dtype or value.layout != torch.strided:
        raise ValueError(f"{what} is {value.dtype} {list(value.shape)}, not {like.dtype} {list(like.shape)}")
    if value.is_floating_point() and not math.isfinite(value.double().abs().sum()):
        raise ValueError(f"{what} is not finite")
