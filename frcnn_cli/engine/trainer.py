"""Training by mini-batches (paper, section 2.3), of any kind of detector: what differs is in `engine.learners`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.samples import Dataset, ImageRecord
from frcnn_cli.engine.batches import Batch, derived_seed
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.distributed import ALONE, Processes
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.engine.interrupts import Interruption, delayed_interrupt
from frcnn_cli.engine.loading import prepared_batches
from frcnn_cli.engine.optimizer import set_learning_rate
from frcnn_cli.engine.run_folder import Observer, Progress, Recorder, RunFolder, Silent
from frcnn_cli.engine.run_state import Run
from frcnn_cli.engine.training_config import save_interval
from frcnn_cli.engine.training_log import Window
from frcnn_cli.engine.training_step import training_step
from frcnn_cli.errors import DataError, Interrupted, signal_of


@dataclass(frozen=True)
class Validation:
    """What to measure a run on."""

    dataset: Dataset
    proposals: Proposals | None


def train(
    run: Run,
    dataset: Dataset,
    proposals: Proposals | None,
    output: Path,
    observer: Observer,
    validation: Validation | None = None,
    workers: int = 1,
    device: torch.device | str = "cpu",
    processes: Processes = ALONE,
) -> None:
    """Train until the last iteration of the recipe, from wherever the run is.

    `output` gets ``model.safetensors`` (the latest), ``best.safetensors`` (by validation mAP), ``training_state.pt``
    (to go on from), ``log.csv``, TensorBoard events, and at each measurement and the end ``curves.png``.

    Args:
        run: changed as it goes.
        dataset: to learn from.
        proposals: of its images; None where the kind of detector needs none.
        output: the run's folder.
        observer: hears of losses and events.
        validation: measured every `eval_every` iterations and at the end; None for never.
        workers: processes that prepare batches; 0 for none beside this one.
        device: to compute on.
        processes: those that divide the images of each batch among themselves; process 0 writes and is heard. They
            learn what one process would, but for dropout, which draws anew for each of them.

    Raises:
        Interrupted: on Ctrl-C, SIGTERM or SIGHUP, after everything is saved.
        DataError: a file is missing or damaged or a worker was killed, after everything is saved; the disk is full, or
            the loss is not finite, and what was saved before stays.
    """
    folder = RunFolder(output, run, observer) if processes.rank == 0 else Silent()
    try:
        trainer = Trainer(run, dataset, proposals, folder, validation, torch.device(device), processes)
        with delayed_interrupt() as interrupted:
            trainer.train(interrupted, workers)
    except KeyboardInterrupt as stop:
        where = f"stopped at once in iteration {run.iteration + 1} of {run.config.iterations}"
        lines = [*filter(None, [getattr(stop, "why", "")]), where, f"what was saved before is in {output}"]
        raise Interrupted("; ".join(lines), signal_of(stop)) from None
    except Stopped:
        where = f"stopped after iteration {run.iteration} of {run.config.iterations}"
        raise Interrupted(f"{where}; all is saved in {output}", interrupted.signal) from None
    finally:
        folder.close()


class Stopped(Exception):
    """A signal was noticed between two updates, and the run is saved."""


class Trainer:
    """A run in progress; the arguments are those of `train`, and `folder` is what writes and tells."""

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        proposals: Proposals | None,
        folder: Recorder,
        validation: Validation | None,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.run = run
        self.folder = folder
        self.validation = validation
        self.device = device
        self.processes = processes
        self.new = run.new
        run.to(device, processes)
        self.batches = run.learner.batches(run, dataset, proposals, processes)
        self.window = Window(run.window)
        self.saved = time.monotonic()

    def train(self, interrupted: Interruption, workers: int) -> None:
        """Go on to the last iteration, or until `interrupted` is set."""
        run = self.run
        if self.new:
            self.folder.save(run)  # finds out now whether that works, and can be resumed from now on
        elif self._to_be_measured():  # killed while it was
            self._measure(interrupted)
        run.model.train()
        for batch in prepared_batches(self.batches, run.iteration, run.config.iterations, workers):
            if isinstance(batch, DataError):
                if interrupted.is_set():  # a signal to the whole group has ended the worker too
                    self.folder.save(run)
                    raise Stopped
                raise self.folder.stopped_by(batch, run)
            self._update(batch)
            self._report()
            self._save_and_measure(interrupted)
        self.folder.draw_curves()

    @property
    def _last(self) -> bool:
        return self.run.iteration == self.run.config.iterations

    def _every(self, iterations: int) -> bool:
        """Whether something that is done every so many iterations, and at the end, is due after the latest."""
        return self._last or (bool(iterations) and self.run.iteration % iterations == 0)

    def _update(self, batch: Batch) -> None:
        """One iteration."""
        run, config = self.run, self.run.config
        if self.processes.rank:  # dropout; process 0 draws on, as a single process does
            torch.manual_seed(derived_seed(config.seed, 2, self.processes.rank, run.iteration))
        set_learning_rate(run.optimizer, self._learning_rate(run.iteration))
        values = training_step(run.model, batch, run.optimizer, run, self.device, self.processes)
        run.iteration += 1
        if run.average is not None:
            run.average.update(run.model, run.iteration)
        self.window.add(values, config.sampling.images_per_batch)

    def _learning_rate(self, iteration: int) -> float:
        config = self.run.config
        return config.lr * config.schedule.factor(iteration, config.iterations)

    def _report(self) -> None:
        """Log and show the means of the last iterations, if that is due."""
        run, config = self.run, self.run.config
        if self._every(config.log_every):
            values = self.window.close() | {"lr": self._learning_rate(run.iteration - 1)}
            left = (config.iterations - run.iteration) / values["iterations_per_second"]
            self.folder.progress(Progress(run.iteration, values, left))

    def _save_and_measure(self, interrupted: Interruption) -> None:
        """Do what is due after an iteration.

        Raises:
            Stopped: a signal came, to this process or another one.
        """
        to_be_measured = self._to_be_measured()
        stopped = self.processes.any(interrupted.is_set())
        if stopped or to_be_measured or self._to_be_saved():
            self.folder.save(self.run)
            self.saved = time.monotonic()
        if stopped:
            self.processes.wait()  # process 0 saves
            raise Stopped
        if to_be_measured:
            self._measure(interrupted)
            if not self._last:
                self.folder.draw_curves()

    def _to_be_saved(self) -> bool:
        """Whether so many iterations are done, or minutes over; each process asks its own clock, and one saves."""
        iterations, seconds = save_interval(self.run.config.checkpoint_every)
        return self._every(iterations) or bool(seconds and time.monotonic() - self.saved >= seconds)

    def _to_be_measured(self) -> bool:
        """Whether validation is due after the latest iteration, and was not done yet."""
        due = self.validation is not None and self._every(self.run.config.eval_every)
        return due and self.run.measured < self.run.iteration

    def _measure(self, interrupted: Interruption) -> None:
        """Measure the model, keep it if it is the best so far, and save that it was measured."""
        run = self.run
        start = time.perf_counter()
        mean_ap = self._validate(interrupted)
        run.measured = run.iteration
        if mean_ap is None:  # process 0 has it
            return
        run.last_map = mean_ap
        dataset, seconds = self.validation.dataset, time.perf_counter() - start
        self.folder.measured(
            run,
            f"iteration {run.iteration}: mAP {mean_ap:.4f} on {dataset.name} ({len(dataset)} images, {seconds:.0f} s)",
        )
        if run.last_map > run.best_map:
            run.best_map = run.last_map
            self.folder.save_best(run)
        self.folder.save(run)
        self.window.skip()

    def _validate(self, interrupted: Interruption) -> float | None:
        """The mean average precision, on process 0; None on the others."""

        def until_interrupted(records: Iterable[ImageRecord]) -> Iterator[ImageRecord]:
            for record in records:
                if (
                    interrupted.is_set() and self.processes.world_size == 1
                ):  # the others would wait for this one's share
                    where = f"stopped in validation, after iteration {self.run.iteration}"
                    raise Interrupted(f"{where}; all is saved", interrupted.signal)
                yield record

        with torch.random.fork_rng(devices=[]):  # building some backbones draws from the numbers of dropout
            detector = Detector.from_checkpoint(self.run.checkpoint(), self.device)
        evaluation = evaluate_dataset(
            detector,
            self.validation.dataset,
            self.validation.proposals,
            track=until_interrupted,
            processes=self.processes,
        )
        return None if evaluation is None else evaluation.ap.mean_ap
