"""What to type when a run has ended."""

from __future__ import annotations

import shlex

from frcnn_cli.commands.train_call import TrainCall
from frcnn_cli.data.formats import FORMATS
from frcnn_cli.engine.run_files import BEST_FILE, MODEL_FILE


def next_lines(call: TrainCall) -> list[str]:
    """Commands that use what the run made: the best model, where one was measured, or the latest."""
    output = call.task.output
    best = output / BEST_FILE
    weights = ["--weights", str(best if best.exists() else output / MODEL_FILE)]
    lines = [["frcnn", "detect", "photo.jpg", *weights, "--save-dir", "found"]]
    measured = _measured_on(call)
    if measured:
        lines.append(["frcnn", "eval", *measured, *weights, "--report", str(output / "report")])
    return [f"{'next:' if number == 0 else '     '} {shlex.join(line)}" for number, line in enumerate(lines)]


def _measured_on(call: TrainCall) -> list[str]:
    """The options that name what was measured on; none where nothing was, or a part drawn at random."""
    data, form = call.data, call.data.format
    if form is None:
        return []
    images = ["--images", str(data.images)] if data.images else []
    if FORMATS[form].lists:
        return [f"--{form}", str(data.place), "--split", call.lists.val_split, *images] if call.lists.val_split else []
    return [f"--{form}", str(data.validation_place), *images] if data.validation_place else []
