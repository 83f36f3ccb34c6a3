"""`frcnn train`: a data set in, a folder with a trained detector out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from frcnn_cli.commands.console import err, out
from frcnn_cli.commands.train_call import TrainCall, TrainCommand
from frcnn_cli.commands.train_config import CONFIG_FILE, write_config
from frcnn_cli.commands.train_data import Part, load_data
from frcnn_cli.commands.train_next import next_lines
from frcnn_cli.engine.devices import pick_device
from frcnn_cli.engine.distributed import current
from frcnn_cli.engine.run_files import BEST_FILE, LOG_FILE, MODEL_FILE, PLOT_FILE, STATE_FILE
from frcnn_cli.engine.staged.options import StagedOptions
from frcnn_cli.errors import DataError, Interrupted, LostProcess, UsageError
from frcnn_cli.files import reason, remove_leftovers, writing_alone
from frcnn_cli.replacing import is_ours

if TYPE_CHECKING:  # the engine brings torch, which --help and a wrong call do not wait for
    from frcnn_cli.data.samples import Dataset
    from frcnn_cli.engine.checkpoint import Checkpoint
    from frcnn_cli.engine.run_state import Run


@click.command(cls=TrainCommand)
def train(call: TrainCall) -> None:
    """Train a detector: one stage, one loss, from the images to the boxes.

    Options that nobody names take the values of a recipe: for vgg16 and alexnet the paper's, which are the defaults
    below, and for other networks those that were found best for them (--recipe auto), with as many iterations as the
    images need. DIR gets model.safetensors (the latest), best.safetensors (by validation mAP), log.csv and curves.png,
    TensorBoard events, config.toml with every option's value, and what --resume needs.

    torchrun starts a process a GPU (or several on CPUs), on one machine or on several that see the same files. They
    divide the N images of a batch among themselves, and no number changes. They learn what one process would, but for
    dropout, which each of them draws for itself.

    \b
    frcnn train --voc birds --val-split val --output run
    frcnn train --voc VOCdevkit/VOC2007 --split trainval --val-split test --output run --backbone vgg16 --allow-download
    frcnn train --coco train.json --images photos --output run --short-side 400 --epochs 8
    frcnn train --resume run
    frcnn train --config run/config.toml --lr 0.0005 --output run2
    frcnn train --voc VOCdevkit/VOC2007 --split trainval --proposals voc07.npz --check
    torchrun --nproc-per-node 4 -m frcnn_cli train --voc VOCdevkit/VOC2007 --split trainval --output run \\
      --backbone vgg16 --allow-download --images-per-batch 8 --rois-per-batch 512 --lr 0.004 \\
      --iterations 10000 --steps 7500
    """
    if call.task.plot:
        _draw(call.task.plot)
        return
    _check_processes(call)
    if call.machine.device not in ("auto", "cpu"):  # which are there, and torch takes its time to say so
        pick_device(call.machine.device)
    latest = _latest_model(call)
    start = latest or _initial_detector(call)
    parts = load_data(
        call.data,
        call.lists,
        call.task.output,
        latest.classes if latest else None,
        call.training.seed,
        call.learner.needs_proposals,
    )
    _report_warnings(parts)
    if call.task.check:
        _report_sound(parts)
        return
    call = call.for_data(parts[0].dataset)
    _check_length(call, latest)
    device = pick_device(call.machine.device)
    with writing_alone(call.task.output / STATE_FILE) if current().rank == 0 else nullcontext():
        run = _build_or_restore(call, parts, start or _initial_detector(call), resume=latest is not None)
        _report_start(call, run, parts[0].dataset, device)
        _train(call, run, parts, device)
    _report_end(call, run)


def _draw(folder: Path) -> None:
    from frcnn_cli.engine.training_log import draw_curves

    err.print(f"curves in {draw_curves(folder)}")


def _check_processes(call: TrainCall) -> None:
    images, processes = call.training.sampling.images_per_batch, current().world_size
    if images % processes:
        raise UsageError(
            f"--images-per-batch {images}: not a multiple of the number of processes, which is {processes}"
        )


def _latest_model(call: TrainCall) -> Checkpoint | None:
    """The latest model of the run to go on with, if it has saved one."""
    output = call.task.output
    if call.task.resume:
        from frcnn_cli.engine.beginning import latest_model

        latest = latest_model(output)
        if latest is not None:
            call.check_lasting(latest)
        return latest
    if output is not None and (output / STATE_FILE).exists():
        raise UsageError(f"--output {output}: holds a run already; --resume it, or choose another folder")
    if output is not None:
        check_folder(output)
    return None


def check_folder(output: Path) -> None:
    """Refuse a folder with files of somebody else that a run would replace.

    Raises:
        UsageError: it has some.
    """
    for name in (CONFIG_FILE, MODEL_FILE, BEST_FILE, LOG_FILE, PLOT_FILE):
        if (output / name).is_file() and not is_ours(output / name):
            raise UsageError(f"--output {output}: {name} is there, and of no run; choose another folder")


def _check_length(call: TrainCall, latest: Checkpoint | None) -> None:
    """Refuse to end a run before where it is, and say it where there is nothing left to do."""
    done, wanted = latest.training["iteration"] if latest else 0, call.training.iterations
    if done > wanted:
        raise UsageError(f"--iterations {wanted}: the run in {call.task.output} has done {done} already")
    if done == wanted:
        staged = isinstance(call.own, StagedOptions)  # whose further stages are of the network as it is
        more = "the stages that come after them follow" if staged else "a larger number of --iterations goes on"
        err.print(f"{call.task.output}: all {done} iterations are done; {more}")


def _initial_detector(call: TrainCall) -> Checkpoint | None:
    """The detector to start from, if there is one."""
    if call.model.init is None:
        return None
    from frcnn_cli.engine.beginning import initial_detector

    start = initial_detector(call.model.init)
    call.check_kind(start)
    return start


def _build_or_restore(call: TrainCall, parts: Sequence[Part], start: Checkpoint | None, resume: bool) -> Run:
    """Build or restore the run. What can fail at once comes before the proposals, which may take hours."""
    from frcnn_cli.engine.beginning import begin_run, first_model, resume_run

    dataset, output = parts[0].dataset, call.task.output
    first = first_model(call.model, call.training, dataset.classes, start, call.own)
    for line in first.remarks:
        err.print(line)
    _open_folder(call)
    for part in parts:
        part.make_proposals(call.lists)
    notes = {"dataset": dataset.name, "images": len(dataset), "weights": call.model.weights}
    if call.recipe_name:
        notes["recipe"] = Path(call.recipe_name).name  # folders are nobody's business
    if resume:
        return resume_run(first, dataset, call.training, notes, output)
    return begin_run(first, dataset, parts[0].proposals, call.training, notes)


def _open_folder(call: TrainCall) -> None:
    """Make the run's folder, and write what a further --resume goes by."""
    output = call.task.output
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{output}: cannot be made a folder ({reason(error)})") from error
    if current().rank == 0:
        remove_leftovers(output / CONFIG_FILE)
        write_config(output / CONFIG_FILE, click.get_current_context().command.params, call.values())


def _train(call: TrainCall, run: Run, parts: Sequence[Part], device: str) -> None:
    from frcnn_cli.commands.train_display import TrainingDisplay
    from frcnn_cli.engine.allocator import keep_freed_memory
    from frcnn_cli.engine.trainer import Validation

    if device.startswith("cpu"):
        keep_freed_memory()
    learning, *others = parts
    validation = Validation(others[0].dataset, others[0].proposals) if others else None
    try:
        with TrainingDisplay(run.config.iterations) as display:
            call.learner.train(
                run,
                learning.dataset,
                learning.proposals,
                call.task.output,
                display,
                validation,
                call.machine.loaders,
                device,
                current(),
            )
    except Interrupted as stop:
        line = f"{stop}; go on with: frcnn train --resume {call.task.output}"
        raise Interrupted(line, stop.signal) from None
    except LostProcess as fault:
        raise DataError(f"{fault}; go on with: frcnn train --resume {call.task.output}") from None


def _report_warnings(parts: Sequence[Part]) -> None:
    for line in (line for part in parts for line in part.warnings()):
        err.print(line)


def _report_sound(parts: Sequence[Part]) -> None:
    for part in parts:
        if part.path and part.proposals is None:
            line = f"{part.path}: not there yet; training makes the proposals of {part.dataset.name} first"
            err.print(line)
    names = ", ".join(part.dataset.name for part in parts)
    images = sum(len(part.dataset) for part in parts)
    objects = sum(len(record.objects) for part in parts for record in part.dataset.records)
    out.print(f"{names}: {images} images, {objects} objects, no fault")


def _report_start(call: TrainCall, run: Run, dataset: Dataset, device: str) -> None:
    if call.recipe.name:
        err.print(f"{call.recipe}; {run.config.iterations} iterations from {call.model.weights}")
    first, last = run.iteration + 1, run.config.iterations
    err.print(
        f"{run.model.architecture.backbone}, {len(dataset.classes)} classes, {len(dataset)} images of {dataset.name}, "
        f"on {device}{f': iterations {first} to {last}' if first <= last else ''}",
    )


def _report_end(call: TrainCall, run: Run) -> None:
    score = f", mAP {run.last_map:.4f}" if run.last_map >= 0 else ""
    err.print(f"{call.task.output / MODEL_FILE}: trained for {run.iteration} iterations{score}")
    for line in next_lines(call):
        err.print(line)
