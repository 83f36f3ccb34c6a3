"""Training: a small set is learnt by heart, a stopped run goes on as if nothing had happened, a fault stops it."""

from __future__ import annotations

import csv
import math
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from frcnn_cli.core.backbones import NORMALISATIONS
from frcnn_cli.core.losses import multi_task_loss
from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.core.refinement import moved_rois
from frcnn_cli.core.sampling import SamplingConfig
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.proposals.stored import StoredProposals
from frcnn_cli.engine.backbone_weights import load_backbone_weights
from frcnn_cli.engine.batches import Scales, TrainingBatches
from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.engine.optimizer import build_optimizer, build_scaler
from frcnn_cli.engine.run_folder import COLUMNS, restore_run
from frcnn_cli.engine.run_state import Run, start_run
from frcnn_cli.engine.trainer import Validation, train
from frcnn_cli.engine.training_config import Schedule, TrainingConfig
from frcnn_cli.engine.training_step import training_step
from frcnn_cli.errors import DataError, Interrupted

SHORT = TrainingConfig(
    iterations=6,
    lr=0.002,
    schedule=Schedule(steps=(4,), warmup=2),
    sampling=SamplingConfig(2, 32),
    scales=Scales((64, 96), 160),
    log_every=2,
)


class Listener:
    """Keeps what a run says; may stop it after an iteration."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.losses: list[float] = []
        self.messages: list[str] = []
        self.stop_after = stop_after

    def progress(self, progress) -> None:
        self.losses.append(progress.values["loss"])
        if self.stop_after is not None and progress.iteration >= self.stop_after:
            raise StopTraining

    def message(self, text: str) -> None:
        self.messages.append(text)


class StopTraining(Exception):
    """As sudden as a power cut."""


@pytest.fixture
def train_set(tiny_dataset):
    return replace(tiny_dataset, records=tiny_dataset.records[:8])


@pytest.fixture
def new_run(train_set, tiny_proposals):
    """Make a run of a small AlexNet."""

    def make(config: TrainingConfig = SHORT, backbone: str = "alexnet", seed: int = 0) -> Run:
        torch.manual_seed(seed)
        model = FastRCNN(Architecture(backbone, len(train_set.classes), 2, 16), config.dropout)
        return start_run(model, NORMALISATIONS["imagenet"], train_set, tiny_proposals, config)

    return make


@pytest.fixture
def go(train_set, tiny_proposals):
    """Train a run into a folder."""

    def train_into(
        run: Run, folder: Path, listener: Listener | None = None, validation=None, workers: int = 0
    ) -> Listener:
        listener = listener or Listener()
        folder.mkdir(exist_ok=True)
        train(run, train_set, tiny_proposals, folder, listener, validation, workers)
        return listener

    return train_into


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_tensors(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def test_eight_images_are_learnt_by_heart(tiny_dataset, tiny_proposals, tmp_path):
    """The last stage and the head learn 200 times from the same 8 images, and then find their objects again."""
    torch.manual_seed(0)
    by_heart = replace(tiny_dataset, records=tuple(r for r in tiny_dataset.records if r.id not in ("horses", "wine")))
    assert len(by_heart) == 8
    config = TrainingConfig(
        iterations=200,
        optimizer="adamw",
        lr=0.002,
        weight_decay=0.0,
        backbone_lr_factor=0.1,
        schedule=Schedule("cosine"),
        sampling=SamplingConfig(2, 128, background_iou=(0.0, 0.5)),  # what is never seen is not learnt by heart
        scales=Scales((128,), 400),
        flip_probability=0.0,
        dropout=0.0,
        log_every=1,
    )
    model = FastRCNN(Architecture("efficientnet_lite0", len(by_heart.classes), 4, 64), config.dropout)
    load_backbone_weights(model.backbone, "efficientnet_lite0", "imagenet")
    for name, parameter in model.backbone.named_parameters():
        parameter.requires_grad_("blocks.6." in name)
    run = start_run(model, NORMALISATIONS["half"], by_heart, tiny_proposals, config)
    listener = Listener()
    train(run, by_heart, tiny_proposals, tmp_path, listener, workers=0)
    assert len(listener.losses) == 200
    first, last = sum(listener.losses[:20]) / 20, sum(listener.losses[-20:]) / 20
    detector = Detector.load(tmp_path / "model.safetensors")
    found = evaluate_dataset(detector, by_heart, tiny_proposals).ap
    assert last < 0.3 * first
    assert found.mean_ap > 0.85


def test_a_second_look_adds_the_loss_of_the_moved_rois(new_run, train_set, tiny_proposals):
    """The loss grows with its weight along a line, whose slope is the moved RoIs' own loss."""
    config = replace(SHORT, dropout=0.0, box_weight=2.0)
    batches = TrainingBatches(
        train_set.records, tiny_proposals, NORMALISATIONS["imagenet"], config.sampling, config.scales, 0.5, 0
    )
    batch, count = batches[0], 50
    losses = {}
    for weight in (0.0, 1.0, 3.0):
        run = new_run(replace(config, second_look=weight))
        losses[weight] = run.learner.step_losses(run, batch, torch.device("cpu"), count)
    with torch.no_grad():
        features = run.model.backbone(batch.images)
        logits, deltas = run.model.head(run.model.roi_pool(features, batch.rois))
        moved, images = moved_rois(batch.rois, logits, deltas * run.target_std + run.target_mean, batch.scenes, 0.5)
        again = torch.cat((images[:, None].float(), moved.rois), dim=1)
        targets = (moved.deltas - run.target_mean) / run.target_std
        own = multi_task_loss(*run.model.head(run.model.roi_pool(features, again)), moved.labels, targets, 2.0, count)
    assert len(moved) > 0
    for name, value in own.items():
        for weight in (1.0, 3.0):
            more = (losses[weight][name] - losses[0.0][name]).item()
            assert more == pytest.approx(weight * value.item(), rel=1e-4)


def first_update(run: Run, train_set, proposals) -> None:
    """One step of a run, as `train` would make it."""
    config = run.config
    batch = TrainingBatches(
        train_set.records, proposals, NORMALISATIONS["imagenet"], config.sampling, config.scales, 0.5, 0
    )[0]
    run.model.train().backbone.freeze()
    training_step(run.model, batch, build_optimizer(run.model, config), run, "cpu")


def test_scaling_the_loss_keeps_small_gradients_in_float16(new_run, train_set, tiny_proposals):
    """Gradients of fc6 around 1e-8, of which float16 knows nothing: with scaling they are those of float32."""
    config = replace(SHORT, dropout=0.0, lr=1e5, momentum=0.0, weight_decay=0.0, box_weight=0.0)

    def moved(precision: str, scaled: bool) -> torch.Tensor:
        run = new_run(replace(config, precision=precision, schedule=Schedule()))
        with torch.no_grad():
            run.model.head.cls_score.weight.mul_(3e-3)
        if scaled:
            run.scaler = build_scaler(run.config, torch.device("cpu"))
        before = run.model.head.fc6.weight.detach().clone()
        first_update(run, train_set, tiny_proposals)
        return run.model.head.fc6.weight.detach() - before

    wanted = moved("float32", scaled=False)
    assert 0 < wanted.abs().max() / config.lr < 6e-8
    assert not moved("float16", scaled=False).any()
    torch.testing.assert_close(moved("float16", scaled=True), wanted, rtol=0.02, atol=0.02 * float(wanted.abs().max()))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_update_that_overflows_in_float16_is_left_out(new_run, train_set, tiny_proposals, optimizer):
    run = new_run(replace(SHORT, precision="float16", optimizer=optimizer))
    run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    first_update(run, train_set, tiny_proposals)
    assert_same_tensors(run.model.state_dict(), before)
    assert run.scaler.get_scale() == 2.0**39


@pytest.mark.parametrize(("optimizer", "precision"), [("sgd", "float32"), ("adamw", "float32"), ("sgd", "float16")])
def test_a_run_that_is_cut_off_goes_on_as_if_nothing_had_happened(new_run, go, tmp_path, optimizer, precision):
    """12 iterations at once; and 6, a power cut two iterations later, and the rest: equal bit for bit."""
    config = replace(SHORT, iterations=12, optimizer=optimizer, precision=precision, checkpoint_every=6, dropout=0.5)
    whole = new_run(config)
    go(whole, tmp_path / "whole")

    cut = new_run(config)
    with pytest.raises(StopTraining):
        go(cut, tmp_path / "cut", Listener(stop_after=8))
    assert cut.iteration == 8
    resumed = new_run(config, seed=1)
    restore_run(resumed, tmp_path / "cut")
    assert resumed.iteration == 6
    go(resumed, tmp_path / "cut")
    assert resumed.iteration == 12
    assert_same_tensors(resumed.model.state_dict(), whole.model.state_dict())
    if precision == "float16":
        assert resumed.scaler.state_dict() == whole.scaler.state_dict()
    a, b = (load_checkpoint(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert_same_tensors(a.state, b.state)
    assert [row["loss"] for row in rows_of(tmp_path / "cut")] == [row["loss"] for row in rows_of(tmp_path / "whole")]
    assert [row["iteration"] for row in rows_of(tmp_path / "cut")] == ["2", "4", "6", "8", "10", "12"]


def test_saving_does_not_change_the_run(new_run, go, tmp_path):
    often, seldom = new_run(replace(SHORT, checkpoint_every=1)), new_run(SHORT)
    go(often, tmp_path / "often")
    go(seldom, tmp_path / "seldom")
    assert_same_tensors(often.model.state_dict(), seldom.model.state_dict())


def test_measuring_does_not_change_the_run(new_run, go, tmp_path, tiny_dataset, tiny_proposals):
    validation = Validation(replace(tiny_dataset, records=tiny_dataset.records[8:]), tiny_proposals)
    measured, plain = new_run(replace(SHORT, eval_every=2)), new_run(SHORT)
    listener = go(measured, tmp_path / "measured", validation=validation)
    go(plain, tmp_path / "plain")
    assert_same_tensors(measured.model.state_dict(), plain.model.state_dict())
    assert [text.split(":")[0] for text in listener.messages] == ["iteration 2", "iteration 4", "iteration 6"]
    values = [row["val_mAP"] for row in rows_of(tmp_path / "measured") if row["val_mAP"]]
    assert len(values) == 3
    assert float(values[-1]) == pytest.approx(measured.last_map, abs=1e-6)
    assert measured.best_map == pytest.approx(max(map(float, values)), abs=1e-6)
    best = load_checkpoint(tmp_path / "measured" / "best.safetensors")
    assert best.training["val_mAP"] == measured.best_map


class KilledInValidation(Listener):
    """Ends the run between a measurement and its row in the log."""

    def message(self, text: str) -> None:
        raise StopTraining


def test_a_run_cut_off_in_validation_measures_first_when_it_goes_on(
    new_run, go, tmp_path, tiny_dataset, tiny_proposals
):
    """Measured after 3 and 6 iterations and the last; the log has rows of 2, 4, 6 and the last."""
    validation = Validation(replace(tiny_dataset, records=tiny_dataset.records[8:]), tiny_proposals)
    config = replace(SHORT, iterations=7, eval_every=3, ema=0.5)
    whole = new_run(config)
    go(whole, tmp_path / "whole", validation=validation)
    done = []
    for seed in range(4):
        cut = new_run(config, seed=seed)
        if seed:
            restore_run(cut, tmp_path / "cut")
        if seed in (0, 2):
            with pytest.raises(StopTraining):
                go(cut, tmp_path / "cut", KilledInValidation(), validation)
        elif seed == 1:
            with pytest.raises(StopTraining):
                go(cut, tmp_path / "cut", Listener(stop_after=4), validation)
        else:
            go(cut, tmp_path / "cut", validation=validation)
        done.append(cut.iteration)
    assert done == [3, 4, 6, 7]
    without_times = [
        [
            {name: text for name, text in row.items() if not name.endswith("_per_second")}
            for row in rows_of(tmp_path / run)
        ]
        for run in ("cut", "whole")
    ]
    assert without_times[0] == without_times[1]
    assert (cut.best_map, cut.last_map, cut.measured) == (whole.best_map, whole.last_map, 7)
    assert_same_tensors(cut.model.state_dict(), whole.model.state_dict())
    assert_same_tensors(cut.average.weights, whole.average.weights)


class CtrlC(StoredProposals):
    """Proposals that press Ctrl-C when they have been asked for so often."""

    def __init__(self, proposals, at: tuple[int, ...]) -> None:
        self.proposals = proposals
        self.at = at
        self.asked = 0

    def get(self, *image):
        self.asked += 1
        if self.asked in self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return self.proposals.get(*image)


@pytest.fixture
def keyboard():
    """Ctrl-C raises KeyboardInterrupt, also where tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_in_validation_does_not_wait_for_its_end(
    new_run, go, tmp_path, train_set, tiny_dataset, tiny_proposals, keyboard
):
    pressed = CtrlC(tiny_proposals, at=(3,))
    run = new_run(replace(SHORT, iterations=2))
    with pytest.raises(Interrupted, match="stopped in validation, after iteration 2; all is saved"):
        go(run, tmp_path, validation=Validation(tiny_dataset, pressed))
    assert pressed.asked == 3
    again = new_run(replace(SHORT, iterations=2))
    restore_run(again, tmp_path)
    listener = go(again, tmp_path, validation=Validation(tiny_dataset, tiny_proposals))
    assert [text.split(":")[0] for text in listener.messages] == ["iteration 2"]
    assert again.measured == 2


def test_a_second_ctrl_c_stops_at_once(new_run, tmp_path, train_set, tiny_proposals, keyboard):
    """In the preparation of the third batch, with the state of two iterations before."""
    run = new_run(replace(SHORT, checkpoint_every=1))
    with pytest.raises(Interrupted, match=r"stopped at once in iteration 3 of 6; what was saved before is in"):
        train(run, train_set, CtrlC(tiny_proposals, at=(5, 6)), tmp_path, Listener(), workers=0)
    again = new_run()
    restore_run(again, tmp_path)
    assert again.iteration == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_fault_of_an_image_stops_the_run_but_loses_nothing(new_run, voc_copy, tiny_proposals, tmp_path):
    """It was there when the run began."""
    data = load_voc(voc_copy, "train")

    class Remover(Listener):
        def progress(self, progress) -> None:
            for record in data.records:
                record.path.unlink(missing_ok=True)

    run = new_run(replace(SHORT, log_every=3))
    with pytest.raises(DataError) as caught:
        train(run, data, tiny_proposals, tmp_path, Remover(), workers=0)
    assert re.fullmatch(
        rf"{voc_copy}/JPEGImages/\w+\.jpg: no such file; stopped after iteration 3, all is saved in {tmp_path}",
        str(caught.value),
    )
    again = new_run()
    restore_run(again, tmp_path)
    assert again.iteration == 3


def test_log_and_what_lies_in_the_folder(new_run, go, tmp_path):
    listener = go(new_run(), tmp_path)
    rows = rows_of(tmp_path)
    assert tuple(rows[0]) == ("iteration", *COLUMNS)
    assert [row["iteration"] for row in rows] == ["2", "4", "6"]
    for row, loss in zip(rows, listener.losses, strict=True):
        assert float(row["loss"]) == pytest.approx(loss, rel=1e-5)
        assert float(row["loss"]) == pytest.approx(float(row["loss_cls"]) + float(row["loss_bbox"]), rel=1e-4)
        assert 0 < float(row["foreground"]) <= 0.25
        assert float(row["images_per_second"]) == pytest.approx(2 * float(row["iterations_per_second"]), rel=1e-4)
    # warm-up over 2 iterations, a tenth from iteration 4 on
    assert [float(row["lr"]) for row in rows] == pytest.approx([0.002, 0.002, 0.0002])
    names = {path.name.split(".")[0] for path in tmp_path.iterdir()}
    assert names == {"log", "curves", "events", "model", "training_state"}

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    shown = events.Scalars("loss")
    assert [event.step for event in shown] == [2, 4, 6]
    assert [event.value for event in shown] == pytest.approx(listener.losses, rel=1e-5)


def test_normalisation_of_the_targets_is_folded_into_what_is_saved(new_run, go, tmp_path, train_set, tiny_proposals):
    run = new_run()
    run.target_mean, run.target_std = torch.tensor([0.3, -0.2, 0.1, 0.4]), torch.tensor([0.5, 2.0, 3.0, 0.7])
    go(run, tmp_path)
    saved = load_checkpoint(tmp_path / "model.safetensors").build()
    own = run.model.eval()
    record = train_set.records[0]
    image = torch.rand(3, record.height, record.width)
    boxes = torch.from_numpy(tiny_proposals.get(record.id, record.width, record.height))
    scores, deltas = own.score(image, boxes)
    saved_scores, saved_deltas = saved.score(image, boxes)
    torch.testing.assert_close(saved_scores, scores)
    torch.testing.assert_close(saved_deltas, deltas * run.target_std + run.target_mean, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(saved_deltas, deltas, atol=0.05)


def test_raw_targets_are_learnt_and_saved_as_they_are(new_run, go, tmp_path):
    """Targets are a tenth as large then, and so the loss of a layer that begins near 0 is far smaller."""
    config = replace(SHORT, lr=1e-9, log_every=1)
    raw = new_run(replace(config, normalise_targets=False))
    assert (raw.target_mean.tolist(), raw.target_std.tolist()) == ([0] * 4, [1] * 4)
    losses = [
        [float(row["loss_bbox"]) for row in rows_of(tmp_path / name) if row["loss_bbox"]]
        for name, run in (("raw", raw), ("normalised", new_run(config)))
        if go(run, tmp_path / name)
    ]
    assert all(0 < small < large / 5 for small, large in zip(*losses, strict=True))
    saved = load_checkpoint(tmp_path / "raw" / "model.safetensors").state
    assert torch.equal(saved["head.bbox_pred.weight"], raw.model.head.bbox_pred.weight)


@pytest.mark.parametrize(
    ("backbone", "frozen", "learning"),
    [
        ("alexnet", ["body.0.weight", "body.0.bias"], ["body.3.weight", "body.10.bias"]),
        ("efficientnet_lite0", ["body.conv_stem.weight"], ["body.blocks.6.0.conv_pwl.weight"]),
    ],
)
def test_first_stages_and_batch_norm_stay_as_they_are(new_run, go, tmp_path, backbone, frozen, learning):
    run = new_run(replace(SHORT, iterations=3, lr=0.01), backbone)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    go(run, tmp_path)
    after = run.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not {f"backbone.{name}" for name in frozen} & changed
    assert {f"backbone.{name}" for name in learning} <= changed
    assert {"head.fc6.weight", "head.fc7.bias", "head.cls_score.weight", "head.bbox_pred.bias"} <= changed
    norms = {
        name for name, module in run.model.named_modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
    }
    assert bool(norms) == (backbone != "alexnet")
    assert not {name for name in changed if name.rpartition(".")[0] in norms}


def test_groups_of_the_optimizer(new_run):
    run = new_run()
    run.model.backbone.freeze()
    groups = build_optimizer(run.model, replace(SHORT, backbone_lr_factor=0.5)).param_groups
    assert [(group["base"], group["weight_decay"]) for group in groups] == [
        (0.5, 0.0005), (1.0, 0.0), (1.0, 0.0005), (2.0, 0.0),
    ]  # fmt: skip
    learning = sum(p.numel() for p in run.model.parameters() if p.requires_grad)
    assert sum(p.numel() for group in groups for p in group["params"]) == learning
    assert all(p.dim() == 1 for group in groups if not group["weight_decay"] for p in group["params"])
    frozen = build_optimizer(run.model, replace(SHORT, optimizer="adamw")).param_groups
    assert [group["base"] for group in frozen] == [1.0] * 4


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("images_per_pass", [1, 3])
def test_a_batch_in_parts_is_the_same_update(new_run, train_set, tiny_proposals, images_per_pass, dtype, tolerance):
    """Eight images with one RoI each, at once and in parts of 3, 3 and 2: the same losses and the same weights."""
    config = replace(SHORT, sampling=SamplingConfig(8, 8), dropout=0.0, lr=0.1, momentum=0.0)
    batch = TrainingBatches(
        train_set.records, tiny_proposals, NORMALISATIONS["imagenet"], config.sampling, config.scales, 0.5, 0
    )[0]
    batch = replace(batch, images=batch.images.to(dtype), rois=batch.rois.to(dtype))
    after = []
    for images in (8, images_per_pass):
        run = new_run(replace(config, images_per_pass=images))
        run.model.to(dtype).train().backbone.freeze()
        before = {name: value.clone() for name, value in run.model.state_dict().items()}
        losses = training_step(run.model, batch, build_optimizer(run.model, run.config), run, "cpu")
        after.append((losses, run.model.state_dict()))
    (losses, state), (losses_in_parts, state_in_parts) = after
    assert losses_in_parts == pytest.approx(losses, rel=1e-6)
    moved = max(float((state[name] - before[name]).abs().max()) for name in state)
    assert moved > 1e-3
    for name, value in state.items():
        torch.testing.assert_close(state_in_parts[name], value, atol=tolerance, rtol=0, msg=name)


def test_the_neck_learns_as_fast_as_the_head():
    """It is new; what ImageNet taught learns by the factor."""
    model = FastRCNN(Architecture("efficientnet_lite0", 3, 2, 16, neck=8))
    model.backbone.freeze()
    config = replace(SHORT, optimizer="adamw", backbone_lr_factor=0.25)
    groups = build_optimizer(model, config).param_groups
    for parts, base in (((model.backbone.body,), 0.25), ((model.backbone.neck, model.head), 1.0)):
        expected = {id(p) for part in parts for p in part.parameters() if p.requires_grad}
        found = [id(p) for group in groups if group["base"] == base for p in group["params"]]
        assert expected
        assert set(found) == expected
        assert len(found) == len(expected)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_images(new_run, go, tmp_path, train_set):
    run = new_run(replace(SHORT, lr=1e30))
    with pytest.raises(DataError, match="the loss is not finite in iteration") as caught:
        go(run, tmp_path / "lr")
    named = str(caught.value).split("with the images ")[1].split(";")[0].split(", ")
    assert len(named) == 2
    assert set(named) <= {record.id for record in train_set.records}

    assert not (tmp_path / "lr" / "best.safetensors").exists()

    run = new_run()
    run.target_std = torch.zeros(4)
    before = run.model.head.fc7.weight.clone()
    with pytest.raises(DataError, match="not finite in iteration 1,"):
        go(run, tmp_path / "nan")
    assert torch.equal(run.model.head.fc7.weight, before)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_weights_that_are_not_finite_are_never_saved(new_run, go, tmp_path, ema):
    """The loss is, but not what the update made of the weights: what was saved before stays."""
    run = new_run(replace(SHORT, iterations=2, schedule=Schedule(steps=()), lr=0.01, ema=ema))
    go(run, tmp_path)
    kept = [(tmp_path / name).read_bytes() for name in ("training_state.pt", "model.safetensors")]
    run = new_run(replace(SHORT, iterations=3, schedule=Schedule(steps=()), lr=math.inf, ema=ema))
    restore_run(run, tmp_path)
    with pytest.raises(DataError) as caught:
        go(run, tmp_path)
    assert str(caught.value) == f"the weights are not finite after iteration 3; saved before stays in {tmp_path}"
    assert kept == [(tmp_path / name).read_bytes() for name in ("training_state.pt", "model.safetensors")]


def test_schedules():
    paper = Schedule(steps=(3, 6))
    assert [paper.factor(i, 9) for i in range(9)] == pytest.approx([1] * 3 + [0.1] * 3 + [0.01] * 3)
    warm = Schedule(steps=(), warmup=4)
    assert [warm.factor(i, 9) for i in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    cosine = [Schedule("cosine").factor(i, 100) for i in range(101)]
    assert cosine[0] == 1
    assert cosine[50] == pytest.approx(0.5)
    assert cosine[100] == pytest.approx(0)
    assert cosine == sorted(cosine, reverse=True)


@pytest.mark.parametrize("full", ["model", "state"])
def test_a_full_disk_stops_the_run_in_one_line(full, new_run, go, tmp_path, full_disk):
    folder = tmp_path / "run"
    go(new_run(replace(SHORT, iterations=2)), folder)
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    run = new_run(replace(SHORT, iterations=4))
    restore_run(run, folder)
    limit = 200_000 if full == "model" else len(kept["model.safetensors"]) + 1000
    with full_disk(limit), pytest.raises(DataError) as caught:
        # No worker: it would pass batches on through a file in shared memory, which the limit here forbids it too.
        go(run, folder, workers=0)
    name = "model.safetensors" if full == "model" else "training_state.pt"
    assert str(caught.value).startswith(f"{folder / name}: cannot be written (")
    assert "\n" not in str(caught.value)
    for name, content in kept.items():
        if name == "log.csv":
            assert (folder / name).read_bytes().startswith(content)
        elif name != "model.safetensors" or full == "model":
            assert (folder / name).read_bytes() == content
    assert not list(folder.glob(".*"))

    again = new_run(replace(SHORT, iterations=4))
    restore_run(again, folder)
    assert again.iteration == 2
    go(again, folder)
    whole = new_run(replace(SHORT, iterations=4))
    go(whole, tmp_path / "whole")
    assert_same_tensors(again.model.state_dict(), whole.model.state_dict())
    assert [row["loss"] for row in rows_of(folder)] == [row["loss"] for row in rows_of(tmp_path / "whole")]
    assert_same_tensors(load_checkpoint(folder / "model.safetensors").build().state_dict(), again.checkpoint().state)


def test_a_new_run_on_a_full_disk_does_not_begin(new_run, go, tmp_path, full_disk):
    listener = Listener()
    with full_disk(200_000), pytest.raises(DataError, match=r"model\.safetensors: cannot be written"):
        go(new_run(), tmp_path, listener)
    assert not listener.losses


def test_what_a_kill_left_of_a_file_is_removed(new_run, go, tmp_path):
    left = [tmp_path / f".{name}.0123abcd.tmp" for name in ("training_state.pt", "model.safetensors", "log.csv")]
    other = [tmp_path / name for name in (".mine.tmp", ".model.safetensors.tmp", ".other.pt.0123abcd.tmp")]
    for path in left + other:
        path.write_text("half")
    go(new_run(replace(SHORT, iterations=1)), tmp_path)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in other)


def test_what_cannot_be_resumed(new_run, go, tmp_path):
    run = new_run()
    with pytest.raises(DataError, match=r"training_state.pt: no such file; there is no run to resume in"):
        restore_run(run, tmp_path)
    state = tmp_path / "training_state.pt"
    go(run, tmp_path)
    whole = state.read_bytes()
    other = new_run(backbone="efficientnet_lite0")
    torch.save({"a": 1}, tmp_path / "foreign.pt")
    for content, resumed in ((whole[: len(whole) // 2], run), (b"", run), (whole, other),
                             ((tmp_path / "foreign.pt").read_bytes(), run)):  # fmt: skip
        state.write_bytes(content)
        with pytest.raises(DataError, match="not the state of this run") as caught:
            restore_run(resumed, tmp_path)
        assert str(caught.value).startswith(f"{state}: ")
        assert "\n" not in str(caught.value)


def test_found_again_means_at_the_right_place(tiny_checkpoint, tiny_dataset, tiny_proposals):
    """The measure of the test above: a model that has learnt nothing gets next to nothing."""
    detector = Detector.load(tiny_checkpoint)
    untrained = evaluate_dataset(detector, tiny_dataset, tiny_proposals, config=DetectionConfig(0.01, 0.3, 100))
    assert untrained.ap.mean_ap < 0.2
