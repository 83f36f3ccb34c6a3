"""How R-CNN and SPPnet learn: fine-tuning by mini-batches, then stages on features from the disk."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frcnn_cli.engine.learners.fast_rcnn import FastRCNNLearner
from frcnn_cli.engine.staged.options import StagedOptions
from frcnn_cli.errors import DataError, Interrupted, UsageError, signal_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    import torch
    from torch import Tensor, nn

    from frcnn_cli.data.proposals import Proposals
    from frcnn_cli.data.samples import Dataset, ImageRecord
    from frcnn_cli.engine.checkpoint import Checkpoint
    from frcnn_cli.engine.distributed import Processes
    from frcnn_cli.engine.interrupts import Interruption
    from frcnn_cli.engine.run_folder import Observer
    from frcnn_cli.engine.run_state import Run
    from frcnn_cli.engine.trainer import Validation
    from frcnn_cli.engine.training_config import TrainingConfig

BY_RIDGE = "boxes are learnt by ridge regression, after the network"


class StagedLearner(FastRCNNLearner):
    """See `Learner`, and `Extractor` for what a kind adds: `near_iou`, `extract` and `select`."""

    options: type[StagedOptions] = StagedOptions
    unused = {  # noqa: RUF012
        "loss_lambda": BY_RIDGE,
        "normalise_targets": BY_RIDGE,
        "class_agnostic": BY_RIDGE,
        "second_look": BY_RIDGE,
        "eval_every": "a detector in stages is measured at its end",
    }
    losses = ("cls",)
    near_iou = 0.6

    def freeze(self, model: nn.Module) -> None:
        super().freeze(model)
        model.head.bbox_pred.requires_grad_(False)

    def target_statistics(
        self, dataset: Dataset, proposals: Proposals | None, config: TrainingConfig
    ) -> tuple[Tensor, Tensor]:
        import torch

        return torch.zeros(4), torch.ones(4)  # the network learns no boxes

    def extract(self, engine: Any, image: np.ndarray, boxes: Tensor) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        raise NotImplementedError

    def select(self, boxes: np.ndarray, margins: np.ndarray) -> np.ndarray:
        import numpy as np

        return np.arange(len(boxes))

    def train(
        self,
        run: Run,
        dataset: Dataset,
        proposals: Proposals | None,
        output: Path,
        observer: Observer,
        validation: Validation | None,
        workers: int,
        device: torch.device | str,
        processes: Processes,
    ) -> None:
        from frcnn_cli.engine.interrupts import delayed_interrupt
        from frcnn_cli.engine.staged.log import StageLog
        from frcnn_cli.engine.staged.pipeline import Pipeline

        if processes.world_size > 1:
            raise UsageError(f"--detector {run.kind}: is trained by one process, and torchrun has started more")
        if run.options.classifier == "svm":
            _check_examples(dataset)
        # A finished detector has SVMs; what is trained further is the network below them.
        run.model.architecture = replace(run.model.architecture, classifier="softmax")
        run.model.head.classifier = "softmax"
        log = StageLog(output)
        self._finetune(run, dataset, proposals, output, observer, workers, device, processes, log)
        try:
            with delayed_interrupt() as interrupted:
                pipeline = Pipeline(
                    run.checkpoint(), run.options, self, dataset, proposals, output, log, observer.message,
                    interrupted, device, run.config.seed,
                )  # fmt: skip
                finished = pipeline.run()
                if finished is None:
                    observer.message(f"not finished: {' and '.join(_left(run, log))} still to do")
                    return
                self._save(run, finished, validation, output, observer, device, interrupted)
        except KeyboardInterrupt as stop:
            raise Interrupted(f"stopped at once; what was saved before is in {output}", signal_of(stop)) from None

    def _finetune(
        self,
        run: Run,
        dataset: Dataset,
        proposals: Proposals | None,
        output: Path,
        observer: Observer,
        workers: int,
        device: torch.device | str,
        processes: Processes,
        log: Any,
    ) -> None:
        """The first stage, or the network as it is where that is left out."""
        import torch

        from frcnn_cli.engine.run_folder import RunFolder

        if "finetune" not in run.options.plan:
            new = run.new
            run.to(torch.device(device))
            if new:
                folder = RunFolder(output, run, observer)
                folder.save(run)  # to be resumed from
                folder.close()
        elif run.new or run.iteration < run.config.iterations:
            with log.timed("finetune") as record:
                super().train(run, dataset, proposals, output, observer, None, workers, device, processes)
                record["done"] = True
            observer.message(f"finetune: {run.iteration} iterations, {record['seconds']:.1f} s")
        else:
            run.to(torch.device(device))

    def _save(
        self,
        run: Run,
        finished: Checkpoint,
        validation: Validation | None,
        output: Path,
        observer: Observer,
        device: torch.device | str,
        interrupted: Interruption,
    ) -> None:
        """Write the detector, then measure it."""
        from frcnn_cli.engine.checkpoint import save_checkpoint
        from frcnn_cli.engine.detector import Detector
        from frcnn_cli.engine.evaluator import evaluate_dataset
        from frcnn_cli.engine.run_files import MODEL_FILE

        save_checkpoint(output / MODEL_FILE, finished)
        if validation is None:
            return

        def until_interrupted(records: Iterable[ImageRecord]) -> Iterator[ImageRecord]:
            for record in records:
                if interrupted.is_set():
                    raise Interrupted("stopped in validation; all is saved", interrupted.signal)
                yield record

        start = time.perf_counter()
        data = validation.dataset
        detector = Detector.from_checkpoint(finished, device)
        evaluation = evaluate_dataset(detector, data, validation.proposals, track=until_interrupted)
        run.last_map = evaluation.ap.mean_ap
        seconds = time.perf_counter() - start
        observer.message(f"mAP {run.last_map:.4f} on {data.name} ({len(data)} images, {seconds:.0f} s)")
        training = finished.training | {"val_mAP": run.last_map}
        save_checkpoint(output / MODEL_FILE, replace(finished, training=training))


def _left(run: Run, log: Any) -> list[str]:
    """Stages that a finished detector needs, and that have not been done."""
    needed = ("features", "svm")
    return [name for name in needed if not log.stages.get(name, {}).get("done")]


def _check_examples(dataset: Dataset) -> None:
    """Find out before hours of work that an SVM would have nothing to learn from.

    Raises:
        DataError: a class has no object.
    """
    shown = {label for record in dataset.records for label in record.objects.without_crowds().labels.tolist()}
    without = [repr(name) for label, name in enumerate(dataset.classes, start=1) if label not in shown]
    if without:
        raise DataError(
            f"{dataset.name}: no SVM can be trained for {', '.join(without)}: no object of the class to learn from "
            "(--only names the classes wanted, and --classifier softmax needs no SVMs)"
        )
