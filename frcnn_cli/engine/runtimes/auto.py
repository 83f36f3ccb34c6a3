"""ONNX Runtime for a model that was exported to it, torch for every other, and wherever there is a GPU."""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec
from pathlib import Path

from frcnn_cli.engine.runtimes import RUNTIMES, Engine
from frcnn_cli.errors import DataError


def open_checkpoint(path: Path, device: str) -> Engine:
    """The model of a checkpoint, run by what suits it; see `Runtime`."""
    if path.suffix == ".onnx":
        return RUNTIMES["onnx"](path, device)
    on_cpu = device == "cpu" or (device == "auto" and not has_gpu())
    if on_cpu and path.with_suffix(".onnx").is_file() and find_spec("onnxruntime") and find_spec("onnx"):
        try:
            return RUNTIMES["onnx"](path, device)
        except DataError:  # the file beside it is another model's, or an older one's
            pass
    return RUNTIMES["torch"](path, device)


def has_gpu() -> bool:
    """Whether CUDA's driver is here and counts a device, which torch is not needed to ask."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int()
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False
