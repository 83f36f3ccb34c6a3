"""The measurements of scripts/on_a_gpu.sh, which says what they are; without a GPU, small ones on the CPU."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_svd
import torch
import torchvision
from torch import Tensor

from frcnn_cli.core.losses import multi_task_loss
from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.core.roi_pool import roi_pool
from frcnn_cli.engine.optimizer import build_optimizer
from frcnn_cli.engine.training_config import TrainingConfig

SMALL = Architecture("alexnet", 20, roi_size=3, fc_width=64)


def seconds_of(call: Callable[[], object], device: str, repeats: int = 10) -> float:
    """The median, without the first time."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def random_rois(count: int, images: int, width: int, height: int) -> Tensor:
    """Tensor[count, 5] inside images of this size."""
    corners = torch.rand(count, 2, 2).sort(dim=1).values * torch.tensor((width, height))
    return torch.cat((torch.randint(images, (count, 1)), corners.flatten(1)), dim=1)


def compare_pooling(device: str, small: bool) -> dict[str, Any]:
    """RoI pooling beside torchvision's on the same map and RoIs: whether it is the same, and how long it takes."""
    channels, height, width, count = (16, 12, 16, 50) if small else (512, 38, 50, 2000)
    torch.manual_seed(0)
    rois = random_rois(count, 1, 16 * width, 16 * height).to(device)
    features = torch.randn(1, channels, height, width, device=device)
    upstream = torch.randn(count, channels, 7, 7, device=device)
    ways = {"ours": roi_pool, "torchvision": torchvision.ops.roi_pool}
    results, gradients, facts = {}, {}, {}
    for name, pool in ways.items():

        def both(pool: Callable[..., Tensor] = pool) -> tuple[Tensor, Tensor]:
            leaf = features.clone().requires_grad_()
            output = pool(leaf, rois, (7, 7), 1 / 16)
            output.backward(upstream)
            return output.detach(), leaf.grad

        results[name], gradients[name] = both()
        facts[f"{name}: the same bits twice"] = torch.equal(both()[1], gradients[name])
        with torch.inference_mode():
            facts[f"{name}: forward"] = seconds_of(lambda pool=pool: pool(features, rois, (7, 7), 1 / 16), device)
        facts[f"{name}: forward and backward"] = seconds_of(both, device)
    facts["forward equal"] = torch.equal(*results.values())
    facts["backward differs by at most"] = float((gradients["ours"] - gradients["torchvision"]).abs().max())
    return facts


def time_training_step(device: str, small: bool, precision: str) -> dict[str, Any]:
    """A step of the paper's size: two images, 128 RoIs, SGD."""
    architecture, (width, height) = (SMALL, (160, 120)) if small else (bench_svd.VGG16, (800, 600))
    kind = getattr(torch, precision)
    torch.manual_seed(0)
    model = FastRCNN(architecture).to(device, memory_format=torch.channels_last).train()
    optimizer = build_optimizer(model, TrainingConfig())
    images = torch.rand(2, 3, height, width, device=device).to(memory_format=torch.channels_last)
    rois, labels = random_rois(128, 2, width, height).to(device), torch.randint(21, (128,), device=device)
    targets = torch.randn(128, 4, device=device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, kind, enabled=kind != torch.float32):
            logits, deltas = model(images, rois)
        losses = multi_task_loss(logits.float(), deltas.float(), labels, targets, 1.0, 128)
        (losses["cls"] + losses["bbox"]).backward()
        optimizer.step()

    facts = {"seconds": seconds_of(step, device, 3 if small else 10)}
    if device == "cuda":
        facts["peak_bytes"] = torch.cuda.max_memory_allocated()
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="the file of results")
    path = parser.parse_args().json
    small = not torch.cuda.is_available()
    device = "cpu" if small else "cuda"
    if small:
        times = bench_svd.measure(1, 50, SMALL, (160, 120), ranks={"fc6": 8, "fc7": 4})
    else:
        times = bench_svd.measure(10, 2000, device=device)
    connected, whole = bench_svd.ratios(times)
    results = {
        "machine": {
            "device": torch.cuda.get_device_name() if not small else "no GPU: small networks on the CPU",
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "python": platform.python_version(),
        },
        "roi_pool": compare_pooling(device, small),
        "training_step": {name: time_training_step(device, small, name) for name in ("float32", "bfloat16")},
        "detection": {"seconds": times, "fc6 and fc7 left": connected, "whole left": whole},
    }
    path.write_text(json.dumps(results, indent=2) + "\n")
    bench_svd.print_table(times)
    print(f"{path}: written on {results['machine']['device']}")


if __name__ == "__main__":
    main()
