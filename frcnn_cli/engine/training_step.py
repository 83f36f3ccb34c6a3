"""One update of the weights (paper, section 2.3)."""

from __future__ import annotations

import torch

from frcnn_cli.core.model import FastRCNN
from frcnn_cli.engine.batches import Batch
from frcnn_cli.engine.distributed import ALONE, Processes
from frcnn_cli.engine.run_state import Run
from frcnn_cli.errors import DataError


def training_step(
    model: FastRCNN,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    run: Run,
    device: torch.device | str,
    processes: Processes = ALONE,
) -> dict[str, float]:
    """One update: forward, the multi-task loss on normalised targets, backward, step.

    A batch of more images than fit goes through in parts. Each RoI's loss is divided by the number of RoIs of the whole
    batch, so the gradients of parts, and of processes, add up to those of the whole.

    Returns:
        The losses by name, and the foreground's share of the RoIs.

    Raises:
        DataError: the loss is not finite; no update is made.
    """
    device, learner = torch.device(device), run.learner
    rois, foreground = processes.sum(*batch.counts())
    drawn = {"rois": 0, "foreground": 0}  # by the learner, where the batch does not have them
    sums = torch.zeros(1 + len(learner.losses), dtype=torch.float64)
    optimizer.zero_grad(set_to_none=True)
    for part in batch.parts(run.config.images_per_pass):
        losses = learner.step_losses(run, part, device, rois)
        terms = [losses[name] for name in learner.losses]
        loss = sum(terms[1:], start=terms[0])
        values = torch.stack((loss, *terms)).detach().to("cpu", torch.float64)
        if not values.isfinite().all():
            names = ", ".join(part.image_ids)
            raise DataError(
                f"the loss is not finite in iteration {run.iteration + 1}, with the images {names}; try {_advice(run)}"
            )
        run.scaler.scale(loss).backward()
        sums += values
        drawn = {name: count + losses.get(name, 0) for name, count in drawn.items()}
    drawn_rois, drawn_foreground = processes.sum(*drawn.values())
    processes.sum_tensor(sums)
    processes.sum_gradients(model)  # an overflow too, so that all processes leave the same updates out
    run.scaler.step(optimizer)
    run.scaler.update()
    names = ("loss", *(f"loss_{name}" for name in learner.losses))
    values = dict(zip(names, sums.tolist(), strict=True))
    return values | {"foreground": (foreground + drawn_foreground) / max(rois + drawn_rois, 1)}


def _advice(run: Run) -> str:
    """What helps against a loss that is not finite, the likeliest first; a run goes on from what it has saved."""
    config = run.config
    advice = [f"a smaller --lr, such as {config.lr / 10:g}"]
    if not config.schedule.warmup:
        advice.append("--warmup 500")
    if config.precision == "float16":
        advice.append("--precision bfloat16")
    return ", ".join(advice) + ", or a look at the boxes of these images"
