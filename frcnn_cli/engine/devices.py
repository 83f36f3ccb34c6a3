"""What to compute on."""

from __future__ import annotations

import os
import re

from frcnn_cli.engine.distributed import current
from frcnn_cli.errors import UsageError


def pick_device(name: str) -> str:
    """The device to compute on; auto is CUDA where there is one. Under torchrun each process has its own GPU.

    Raises:
        UsageError: no such device here.
    """
    if not re.fullmatch("auto|(cpu|cuda|mps|xpu)(:[0-9]+)?", name):  # which torch is not needed to say
        raise UsageError(f"--device {name}: not a device of this machine, such as auto, cpu, cuda or cuda:N")
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and current().world_size > 1:
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    try:
        torch.empty(0, device=name)
        if name.startswith("cuda:"):
            torch.cuda.set_device(name)  # NCCL's own memory goes there too
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: not a device of this machine") from error
    return name
