"""What there is on this machine to work with: versions, the device, compiled kernels, the bundled model, and a test."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from frcnn_cli import __version__
from frcnn_cli.engine.detector import BUNDLED_MODEL, Detector
from frcnn_cli.files import reason
from proposals.cores import cores

PACKAGES = (
    "torch",
    "torchvision",
    "onnxruntime",
    "numpy",
    "numba",
    "opencv-python",
    "pillow",
    "scikit-image",
    "timm",
    "safetensors",
)
"""What the program stands on, by the names of their distributions."""

OPTIONAL = {
    "pillow_heif": ("pillow-heif", "reads HEIC, the photographs of iPhones"),
    "pycocotools": ("pycocotools", "COCO's own metric, which the tests compare with"),
    "triton": ("triton", "RoI pooling's kernels on a GPU"),
}
"""Module -> its distribution, and what it is good for."""

FLAGS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimd")
"""Instruction sets that make a difference, by their names in /proc/cpuinfo."""


def describe_installation() -> dict[str, Any]:
    """Look around; what is in the answer is fit for JSON.

    ``faults`` lists what does not work; where it is empty, the program does.
    """
    facts: dict[str, Any] = {
        "frcnn": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "processor": _processor(),
        "kernels": _kernels(),
        "model": _model(),
        "missing": _missing(),
    }
    facts["faults"] = [f"{name} is not installed: pip install {name}" for name, v in facts["packages"].items() if not v]
    if not facts["faults"]:
        facts["device"] = _device()
        facts["test"] = _test()
        facts["faults"] += [facts["test"]["fault"]] if facts["test"]["fault"] else []
    if facts["model"]["fault"]:
        facts["faults"].append(facts["model"]["fault"])
    return facts


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # built by another name, or not there
        module = {"opencv-python": "cv2", "pillow": "PIL", "scikit-image": "skimage"}.get(name, name)
        return "there" if importlib.util.find_spec(module) else None


def _processor() -> dict[str, Any]:
    name, flags = platform.processor() or platform.machine(), set()
    memory = None
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        known = {key.strip(): value.strip() for key, _, value in lines}
        name = known.get("model name", name)
        flags = set(known.get("flags", known.get("Features", "")).split())
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):  # no Linux
        pass
    return {
        "name": name,
        "cores": cores(),
        "memory_bytes": memory,
        "instruction_sets": [flag for flag in FLAGS if flag in flags],
    }


def _device() -> dict[str, Any]:
    import torch

    from frcnn_cli.engine.devices import pick_device

    name = pick_device("auto")
    cuda = torch.version.cuda
    return {
        "name": torch.cuda.get_device_name() if name.startswith("cuda") else name,
        "threads": torch.get_num_threads(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "cuda": None if name.startswith("cpu") else cuda,
    }


def _kernels() -> dict[str, Any]:
    """Where numba keeps what it compiled, and how much that is; a program whose folders cannot be written compiles
    anew each time."""
    import proposals
    from frcnn_cli.core import roi_pool

    own = os.environ.get("NUMBA_CACHE_DIR")
    packages = [Path(module.__file__).parent for module in (proposals, roi_pool)]
    folders = [Path(own)] if own else [package / "__pycache__" for package in packages]
    files = [file for folder in folders if folder.is_dir() for file in folder.rglob("*.nb[ci]")]
    return {
        "folders": [str(folder) for folder in folders],
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        "kept": all(os.access(folder if folder.exists() else folder.parent, os.W_OK) for folder in folders),
    }


def _model() -> dict[str, Any]:
    facts: dict[str, Any] = {"path": str(BUNDLED_MODEL), "bytes": None, "fault": None}
    try:
        facts["bytes"] = BUNDLED_MODEL.stat().st_size
    except OSError as error:
        facts["fault"] = f"{BUNDLED_MODEL}: cannot be read ({reason(error)}); install the package anew"
    return facts


def _missing() -> list[dict[str, str]]:
    """What would be of use and is not there, and how to get it."""
    return [
        {"name": name, "use": use, "get": f"pip install {name}"}
        for module, (name, use) in OPTIONAL.items()
        if not importlib.util.find_spec(module) and not (module == "triton" and not shutil.which("nvidia-smi"))
    ]


def _test() -> dict[str, Any]:
    """Find the cat in scikit-image's photograph of one, from the search to the boxes."""
    facts: dict[str, Any] = {"found": None, "score": None, "seconds": None, "first_seconds": None, "fault": None}
    try:
        photograph = Path(importlib.util.find_spec("skimage").origin).parent / "data" / "chelsea.png"
        detector = Detector.load()
        seconds = []
        for _ in range(2):  # the first may compile
            start = time.perf_counter()
            found = detector.detect(photograph)
            seconds.append(time.perf_counter() - start)
        facts |= {"first_seconds": round(seconds[0], 2), "seconds": round(seconds[1], 2)}
        if len(found):
            facts |= {"found": found.names[0], "score": round(float(found.scores[0]), 3)}
        if facts["found"] != "cat":
            facts["fault"] = f"the self-test found {facts['found']} in a photograph of a cat"
        with tempfile.NamedTemporaryFile(prefix="frcnn-"):  # as atomic writes do
            pass
    except Exception as error:
        facts["fault"] = f"the self-test failed ({type(error).__name__}: {reason(error)})"
    return facts
