"""Where the time of a detection goes, part by part."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from frcnn_cli.engine.detector import Detector


@contextmanager
def part_times(detector: Detector) -> Iterator[dict[str, float]]:
    """Add up the seconds that each part of a network takes in the block, by the parts' names.

    Parts are the modules that the model's own attributes name, such as ``backbone``, ``roi_pool`` and ``head``. Of a
    runtime that is not torch's there are none.
    """
    seconds: dict[str, float] = {}
    model = getattr(detector.engine, "model", None)
    if model is None or not hasattr(model, "named_children"):
        yield seconds
        return
    device = detector.engine.device

    def now() -> float:
        if device.type == "cuda":
            import torch

            torch.cuda.synchronize(device)
        return time.perf_counter()

    hooks, started = [], {}
    for name, part in model.named_children():

        def start(*_, name: str = name) -> None:
            started[name] = now()

        def stop(*_, name: str = name) -> None:
            seconds[name] = seconds.get(name, 0.0) + now() - started[name]

        hooks += [part.register_forward_pre_hook(start), part.register_forward_hook(stop)]
    try:
        yield seconds
    finally:
        for hook in hooks:
            hook.remove()
