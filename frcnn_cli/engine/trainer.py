"""Training (paper, section 2.3): one stage, one loss, every layer from the frozen first stages up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from frcnn_cli.core.losses import multi_task_loss
from frcnn_cli.core.model import FastRCNN
from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.samples import Dataset, ImageRecord
from frcnn_cli.engine.averaging import WeightAverage
from frcnn_cli.engine.batches import Batch, TrainingBatches, derived_seed
from frcnn_cli.engine.checkpoint import save_checkpoint
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.distributed import ALONE, Processes
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.engine.interrupts import delayed_interrupt
from frcnn_cli.engine.loading import prepared_batches
from frcnn_cli.engine.run_state import MODEL_FILE, STATE_FILE, Run, save_run
from frcnn_cli.engine.training_config import PRECISIONS, build_optimizer, build_scaler, set_learning_rate
from frcnn_cli.engine.training_log import LOG_FILE, PLOT_FILE, TrainingLog, Window, draw_curves
from frcnn_cli.errors import DataError, Interrupted
from frcnn_cli.files import remove_leftovers

BEST_FILE = "best.safetensors"
COLUMNS = (
    "loss",
    "loss_cls",
    "loss_bbox",
    "lr",
    "foreground",
    "iterations_per_second",
    "images_per_second",
    "val_mAP",
)


@dataclass(frozen=True)
class Progress:
    """The mean of the last logged iterations.

    Attributes:
        iteration: done so far.
        values: the numbers of the log by name (`COLUMNS`).
        seconds_left: of training, without validation.
    """

    iteration: int
    values: dict[str, float]
    seconds_left: float


class Observer(Protocol):
    """Hears of a run as it goes."""

    def progress(self, progress: Progress) -> None:
        """Some iterations are done."""

    def message(self, text: str) -> None:
        """Something a person wants to know, in one line."""


@dataclass(frozen=True)
class Validation:
    """What to measure a run on."""

    dataset: Dataset
    proposals: Proposals


def train(
    run: Run,
    dataset: Dataset,
    proposals: Proposals,
    output: Path,
    observer: Observer,
    validation: Validation | None = None,
    workers: int = 1,
    device: torch.device | str = "cpu",
    processes: Processes = ALONE,
) -> None:
    """Train until the last iteration of the recipe, from wherever the run is.

    `output` gets ``model.safetensors`` (the latest), ``best.safetensors`` (by validation mAP), ``training_state.pt``
    (to go on from), ``log.csv``, TensorBoard events, and at each measurement and the end ``curves.png``. Each is
    replaced in one piece. The state is written last and counts alone: whatever a killed run wrote after it
    is written again.

    Args:
        run: changed as it goes.
        dataset: to learn from.
        proposals: of its images.
        output: the run's folder.
        observer: hears of losses and events.
        validation: measured every `eval_every` iterations and at the end; None for never.
        workers: processes that prepare batches; 0 for none beside this one.
        device: to compute on.
        processes: those that divide the images of each batch among themselves; process 0 writes and is heard. They
            learn what one process would, but for dropout, which draws anew for each of them.

    Raises:
        Interrupted: on Ctrl-C, after everything is saved.
        DataError: a file is missing or damaged or a worker was killed, after everything is saved; the disk is full, or
            the loss is not finite, and what was saved before stays.
    """
    config = run.config
    device = torch.device(device)
    writes = processes.rank == 0
    for name in (MODEL_FILE, STATE_FILE, BEST_FILE, LOG_FILE, PLOT_FILE) if writes else ():
        remove_leftovers(output / name)
    model = run.model.to(device=device, memory_format=torch.channels_last)
    model.backbone.freeze()
    processes.copy_from_first(model.state_dict().values())  # another kind of CPU may have drawn other last bits
    optimizer = build_optimizer(model, config)
    run.scaler = build_scaler(config, device)
    new = run.optimizer_state is None
    if new:
        torch.manual_seed(config.seed)
    else:
        optimizer.load_state_dict(run.optimizer_state)
        if run.scaler_state:
            run.scaler.load_state_dict(run.scaler_state)
        torch.set_rng_state(run.rng_state)
        if run.cuda_rng_state is not None and device.type == "cuda":
            torch.cuda.set_rng_state(run.cuda_rng_state, device)
    if run.average is not None:
        run.average.to(device)
    elif config.ema:
        run.average = WeightAverage(model, config.ema)
    batches = TrainingBatches(
        dataset.records,
        proposals,
        run.normalisation,
        config.sampling,
        config.scales,
        config.flip_probability,
        config.seed,
        config.colour_jitter,
        config.balance,
        processes,
    )
    log = TrainingLog(output, COLUMNS, run.iteration, run.measured, observer.message) if writes else None
    window = Window(run.window)

    def measure() -> None:
        mean_ap = _validate(run, validation, device, observer, processes, interrupted)
        run.measured = run.iteration
        if not writes:
            return
        run.last_map = mean_ap
        log.write(run.iteration, {"val_mAP": run.last_map})
        if run.last_map > run.best_map:
            run.best_map = run.last_map
            save_checkpoint(output / BEST_FILE, run.checkpoint())
        save_run(run, optimizer, output)
        window.skip()

    try:
        with delayed_interrupt() as interrupted:
            if new and writes:
                save_run(run, optimizer, output)  # finds out now whether that works, and can be resumed from now on
            if not new and validation is not None and _to_be_measured(run):  # killed while it was
                measure()
            model.train()
            for batch in prepared_batches(batches, run.iteration, config.iterations, workers):
                if isinstance(batch, DataError):
                    if not writes:
                        raise batch
                    save_run(run, optimizer, output)
                    raise DataError(f"{batch}; stopped after iteration {run.iteration}, all is saved in {output}")
                if not writes:  # dropout; process 0 draws on, as a single process does
                    torch.manual_seed(derived_seed(config.seed, 2, processes.rank, run.iteration))
                lr = config.lr * config.schedule.factor(run.iteration, config.iterations)
                set_learning_rate(optimizer, lr)
                values = training_step(model, batch, optimizer, run, device, processes)
                run.iteration += 1
                if run.average is not None:
                    run.average.update(model, run.iteration)
                last = run.iteration == config.iterations
                window.add(values, config.sampling.images_per_batch)
                if writes and (run.iteration % config.log_every == 0 or last):
                    values = window.close() | {"lr": lr}
                    left = (config.iterations - run.iteration) / values["iterations_per_second"]
                    observer.progress(Progress(run.iteration, values, left))
                    log.write(run.iteration, values)
                to_be_measured = validation is not None and _to_be_measured(run)
                stopped = processes.any(interrupted.is_set())
                if writes and (last or stopped or to_be_measured or run.iteration % config.checkpoint_every == 0):
                    save_run(run, optimizer, output)
                if stopped:
                    processes.wait()  # process 0 saves
                    raise Interrupted(
                        f"stopped after iteration {run.iteration} of {config.iterations}; all is saved in {output}"
                    )
                if to_be_measured:
                    measure()
                    if writes and not last:
                        draw_curves(output)
            if writes:
                draw_curves(output)
    except KeyboardInterrupt:
        where = f"stopped at once in iteration {run.iteration + 1} of {config.iterations}"
        raise Interrupted(f"{where}; what was saved before is in {output}") from None
    finally:
        if log:
            log.close()


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
    device = torch.device(device)
    precision = PRECISIONS[run.config.precision]
    rois, foreground = processes.sum(len(batch.labels), int((batch.labels > 0).sum()))
    sums = torch.zeros(3, dtype=torch.float64)
    optimizer.zero_grad(set_to_none=True)
    for part in batch.parts(run.config.images_per_pass):
        targets = ((part.deltas - run.target_mean) / run.target_std).to(device)
        images = part.images.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            logits, deltas = model(images, part.rois.to(device))
        labels = part.labels.to(device)
        losses = multi_task_loss(logits.float(), deltas.float(), labels, targets, run.config.box_weight, rois)
        loss = losses["cls"] + losses["bbox"]
        values = torch.stack((loss, losses["cls"], losses["bbox"])).detach().to("cpu", torch.float64)
        if not values.isfinite().all():
            names = ", ".join(part.image_ids)
            raise DataError(f"the loss is not finite in iteration {run.iteration + 1}, with the images {names}")
        run.scaler.scale(loss).backward()
        sums += values
    processes.sum_tensor(sums)
    processes.sum_gradients(model)  # an overflow too, so that all processes leave the same updates out
    run.scaler.step(optimizer)
    run.scaler.update()
    values = dict(zip(("loss", "loss_cls", "loss_bbox"), sums.tolist(), strict=True))
    return values | {"foreground": foreground / max(rois, 1)}


def _to_be_measured(run: Run) -> bool:
    """Whether validation is due after the latest iteration, and was not done yet."""
    every = run.config.eval_every
    due = run.iteration == run.config.iterations or (every and run.iteration % every == 0)
    return bool(due) and run.measured < run.iteration


def _validate(
    run: Run,
    validation: Validation,
    device: torch.device,
    observer: Observer,
    processes: Processes,
    interrupted: threading.Event,
) -> float | None:
    """The mean average precision, on process 0; None on the others."""

    def until_interrupted(records: Iterable[ImageRecord]) -> Iterator[ImageRecord]:
        for record in records:
            if interrupted.is_set() and processes.world_size == 1:  # the others would wait for this one's share
                raise Interrupted(f"stopped in validation, after iteration {run.iteration}; all is saved")
            yield record

    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):  # building some backbones draws from the numbers of dropout
        detector = Detector.from_checkpoint(run.checkpoint(), device)
    evaluation = evaluate_dataset(
        detector, validation.dataset, validation.proposals, track=until_interrupted, processes=processes
    )
    if evaluation is None:
        return None
    mean_ap = evaluation.ap.mean_ap
    seconds = time.perf_counter() - start
    observer.message(
        f"iteration {run.iteration}: mAP {mean_ap:.4f} on {validation.dataset.name} "
        f"({len(validation.dataset)} images, {seconds:.0f} s)"
    )
    return mean_ap
