"""Faster R-CNN: both networks learn in one pass, a run that is cut off goes on, and images are looked at by its own
proposals."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from frcnn_cli.core.backbones import NORMALISATIONS
from frcnn_cli.core.boxes import iou
from frcnn_cli.core.faster_rcnn import TARGET_STD, FasterArchitecture, FasterRCNN
from frcnn_cli.core.joint_losses import LOSSES, JointLosses, JointSampling, joint_losses
from frcnn_cli.core.losses import multi_task_loss
from frcnn_cli.core.rpn.anchors import RATIOS, SIZES
from frcnn_cli.core.rpn.config import DETECTION, TRAINING, AnchorSampling
from frcnn_cli.core.sampling_config import SamplingConfig
from frcnn_cli.core.scenes import Scene
from frcnn_cli.data.images import load_image
from frcnn_cli.engine.backbone_weights import load_backbone_weights
from frcnn_cli.engine.batches import TrainingBatches
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.detectors.faster_rcnn import propose
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.engine.learners.faster_rcnn import FasterOptions
from frcnn_cli.engine.run_folder import restore_run
from frcnn_cli.engine.run_state import Run, start_run
from frcnn_cli.engine.runtimes.torch_engine import TorchEngine
from frcnn_cli.engine.scene_batches import SceneBatches
from frcnn_cli.engine.trainer import train
from frcnn_cli.engine.training_config import Scales, Schedule, TrainingConfig

KIND = "faster-rcnn"
SMALL = FasterArchitecture("alexnet", 3, 2, 16, anchor_sizes=(16, 32, 64))
MEAN, STD = torch.zeros(4), torch.tensor(TARGET_STD)
SAMPLING = JointSampling(
    SamplingConfig(2, 16, background_iou=(0.0, 0.5)), AnchorSampling(32, across_border=True), TRAINING.of(50)
)


class Listener:
    """Keeps what a run says; may stop it after an iteration, as suddenly as a power cut."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.values: list[dict[str, float]] = []
        self.stop_after = stop_after

    def progress(self, progress) -> None:
        self.values.append(progress.values)
        if progress.iteration == self.stop_after:
            raise StopTraining

    def message(self, text: str) -> None: ...


class StopTraining(Exception): ...


@pytest.fixture
def model() -> FasterRCNN:
    """Of random weights that tell anchors and RoIs apart."""
    torch.manual_seed(0)
    model = FasterRCNN(SMALL, dropout=0.0).train()
    for layer in (*model.backbone.body, model.rpn.conv, model.rpn.objectness, model.head.fc6, model.head.fc7):
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return model


@pytest.fixture
def scenes() -> tuple[Scene, Scene]:
    """Of 128 x 96 pixels: one with two objects, one with none."""
    objects = torch.tensor([[8.0, 8, 70, 90], [60, 20, 100, 60]])
    full = Scene(0, (128, 96), objects, torch.tensor([2, 3]), torch.zeros(0, 4))
    return full, Scene(1, (128, 96), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4))


def losses_of(model: FasterRCNN, images: torch.Tensor, scenes: tuple[Scene, ...]) -> JointLosses:
    generators = [torch.Generator().manual_seed(scene.place) for scene in scenes]
    return joint_losses(model, images, scenes, generators, SAMPLING, MEAN, STD)


def test_eight_images_are_learnt_by_heart(tiny_dataset, tmp_path):
    """Both networks, and the last stage of the backbone, learn 160 times from the same 8 images. No search takes part,
    and the objects are found again: by the proposals, and by the detector."""
    torch.manual_seed(0)
    by_heart = replace(tiny_dataset, records=tuple(r for r in tiny_dataset.records if r.id not in ("horses", "wine")))
    config = TrainingConfig(
        iterations=160,
        optimizer="adamw",
        lr=0.002,
        weight_decay=0.0,
        backbone_lr_factor=0.1,
        schedule=Schedule("cosine", warmup=10),
        sampling=SamplingConfig(2, 128, background_iou=(0.0, 0.5)),
        scales=Scales((96,), 400),
        flip_probability=0.0,
        dropout=0.0,
        log_every=1,
    )
    architecture = FasterArchitecture(
        "efficientnet_lite0", len(by_heart.classes), 4, 64, neck=32, anchor_sizes=(24, 48, 96), class_agnostic=True
    )
    model = FasterRCNN(architecture, config.dropout)
    load_backbone_weights(model.backbone, "efficientnet_lite0", "imagenet")
    for name, parameter in model.backbone.body.named_parameters():
        parameter.requires_grad_("blocks.6." in name)
    run = start_run(
        model, NORMALISATIONS["half"], by_heart, None, config, kind=KIND, options=FasterOptions(training_proposals=100)
    )
    listener = Listener()
    train(run, by_heart, None, tmp_path, listener, workers=0)
    losses = [values["loss"] for values in listener.values]
    detector = Detector.load(tmp_path / "model.safetensors")
    found = evaluate_dataset(detector, by_heart).ap
    assert sum(losses[-20:]) < 0.3 * sum(losses[:20])
    assert found.mean_ap > 0.6  # of 14 objects in pictures of 96 pixels; an untrained one finds none


def test_the_head_s_loss_is_fast_rcnn_s_of_the_rois_drawn(model, scenes):
    """Each image gives its 8 RoIs, so that the mean over images of means over RoIs is the mean over all 16."""
    images = torch.randn(2, 3, 96, 128)
    losses, drawn = losses_of(model, images, scenes)
    assert [len(rois) for rois in drawn] == [8, 8]
    assert [int((rois.labels > 0).sum()) for rois in drawn] == [2, 0]
    rois = torch.cat([torch.nn.functional.pad(each.rois, (1, 0), value=i) for i, each in enumerate(drawn)])
    labels, deltas = (torch.cat([getattr(each, name) for each in drawn]) for name in ("labels", "deltas"))
    expected = multi_task_loss(*model(images, rois), labels, deltas / STD)
    for name in ("cls", "bbox"):
        torch.testing.assert_close(losses[name], expected[name])
    assert all(losses[name].detach() > 0 for name in LOSSES)


def test_parts_of_a_batch_add_up_to_the_whole(model, scenes):
    images = torch.randn(2, 3, 96, 128)
    whole = losses_of(model, images, scenes).losses
    parts = [losses_of(model, images[i : i + 1], scenes[i : i + 1]).losses for i in range(2)]
    for name in LOSSES:
        torch.testing.assert_close(whole[name], parts[0][name] + parts[1][name])
    parameters = list(model.parameters())
    expected = torch.autograd.grad(sum(whole.values()), parameters)
    gradients = torch.autograd.grad(sum(sum(part.values()) for part in parts), parameters)
    torch.testing.assert_close(gradients, expected, atol=1e-5, rtol=1e-4)


def test_proposals_are_constants_to_the_head(model, scenes):
    losses = losses_of(model, torch.randn(2, 3, 96, 128), scenes).losses
    gradients = torch.autograd.grad(losses["cls"] + losses["bbox"], list(model.rpn.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in gradients)


def test_nothing_is_learnt_from_an_image_s_padding(model):
    """The anchors and the RoIs of an image of 64 x 48 pixels lie in it, in whatever batch it is."""
    scene = Scene(0, (64, 48), torch.tensor([[4.0, 4, 40, 40]]), torch.tensor([1]), torch.zeros(0, 4))
    (rois,) = losses_of(model, torch.randn(1, 3, 256, 320), (scene,)).rois
    assert len(rois) == 8
    assert (rois.rois >= 0).all()
    assert (rois.rois <= torch.tensor([64, 48, 64, 48])).all()


def test_an_architecture_is_what_json_made_of_it():
    assert FasterArchitecture(**json.loads(json.dumps(asdict(SMALL)))) == SMALL
    assert FasterArchitecture("alexnet", 3, 2, 16).anchor_sizes == SIZES
    assert SMALL.anchor_ratios == RATIOS
    for wrong in ((), (16, 0), (16, -1)):
        with pytest.raises(ValueError, match="anchor_sizes"):
            FasterArchitecture("alexnet", 3, 2, 16, anchor_sizes=wrong)


@pytest.mark.parametrize("backbone", ["vgg16", "alexnet", "efficientnet_lite0"])
def test_every_backbone_has_one(backbone, tmp_path, photographs):
    """Saved, read, and asked: its boxes are in the image, at most 300, from as many proposals."""
    torch.manual_seed(0)
    neck = 16 if backbone == "efficientnet_lite0" else 0
    model = FasterRCNN(FasterArchitecture(backbone, 2, 2, 8, neck=neck, anchor_sizes=(16, 48)))
    assert model.rpn.conv.out_channels == {"vgg16": 512, "alexnet": 256, "efficientnet_lite0": 16}[backbone]
    path = tmp_path / "model.safetensors"
    about = (NORMALISATIONS["imagenet"], 64, 128, {})
    save_checkpoint(path, Checkpoint(model.architecture, ("cat", "dog"), *about, model.state_dict(), KIND))
    detector = Detector.load(path)
    image = load_image(photographs / "JPEGImages" / "kitten.jpg")
    height, width = image.shape[:2]
    found = detector.detect(image, score=0.0, nms=1.0, max_detections=1000)
    assert 0 < len(found) <= 1000
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [width, height, width, height]).all()
    boxes = propose(detector.engine, image, 20)
    assert boxes.shape == (20, 4)
    assert boxes.dtype == np.float32
    assert boxes.tolist() == propose(detector.engine, image, DETECTION.count)[:20].tolist()


def test_several_sizes_are_looked_at_with_the_proposals_of_all(model, photographs):
    """An image of two sizes: the proposals of both together, no two of which overlap by more than 0.7."""
    engine = TorchEngine(model.eval(), ("a", "b", "c"), NORMALISATIONS["imagenet"], 96, 160, kind=KIND)
    image = load_image(photographs / "JPEGImages" / "kitten.jpg")
    config = DetectionConfig(scales=(64, 96), refine=0, flip=True)
    scores = engine.kind.score(engine, image, None, config)
    each = [len(engine.kind.score(engine, image, None, replace(config, scales=(side,))).boxes) for side in (64, 96)]
    assert max(each) < len(scores.boxes) <= min(sum(each), DETECTION.count)
    torch.testing.assert_close(scores.probabilities.sum(dim=1), torch.ones(len(scores.boxes)))


def test_a_network_that_has_learned_nonsense_finds_nothing(model, photographs):
    with torch.no_grad():
        model.rpn.bbox_pred.bias.fill_(torch.nan)
    engine = TorchEngine(model, ("a", "b", "c"), NORMALISATIONS["imagenet"], 96, 160, kind=KIND)
    image = load_image(photographs / "JPEGImages" / "kitten.jpg")
    assert len(engine.detect(image, None, DetectionConfig())) == 0


@pytest.fixture
def batches(tiny_dataset) -> SceneBatches:
    return SceneBatches(
        tiny_dataset.records, None, NORMALISATIONS["imagenet"], SAMPLING.rois, Scales((64, 96), 160), 0.5, 3
    )


def test_batches_are_of_the_images_that_fast_rcnn_would_see(batches, tiny_dataset, tiny_proposals):
    others = TrainingBatches(
        tiny_dataset.records, tiny_proposals, NORMALISATIONS["imagenet"], SAMPLING.rois, Scales((64, 96), 160), 0.5, 3
    )
    records = {record.id: record for record in tiny_dataset.records}
    for number in range(4):
        batch, other = batches[number], others[number]
        assert batch.image_ids == other.image_ids
        assert torch.equal(batch.images, other.images)
        for i, scene in enumerate(batch.scenes):
            objects = records[batch.image_ids[i]].objects
            assert scene.place == i
            assert scene.labels.tolist() == objects.labels.tolist()
            # The objects themselves are among the RoIs that could be drawn; foreground is drawn from them.
            mine = other.rois[(other.rois[:, 0] == i) & (other.labels > 0)][:, 1:]
            assert len(mine)
            width, height = scene.size
            assert (scene.boxes <= torch.tensor([width, height, width, height])).all()
            assert (iou(mine, scene.boxes).amax(dim=1) >= 0.5 - 1e-3).all()


def test_batches_are_drawn_anew_and_again(batches):
    assert batches[1].seeds == pickle.loads(pickle.dumps(batches))[1].seeds
    assert len({*batches[0].seeds, *batches[1].seeds}) == 4
    parts = list(batches[0].parts(1))
    assert [part.image_ids[0] for part in parts] == list(batches[0].image_ids)
    assert [part.scenes[0].place for part in parts] == [0, 1]


@pytest.fixture
def new_run(tiny_dataset):
    config = TrainingConfig(
        iterations=6,
        lr=0.002,
        sampling=SAMPLING.rois,
        scales=Scales((64, 96), 160),
        log_every=1,
        checkpoint_every=3,
        ema=0.5,
    )

    def make(seed: int = 0, **changes) -> Run:
        torch.manual_seed(seed)
        model = FasterRCNN(replace(SMALL, num_classes=len(tiny_dataset.classes)), dropout=0.5)
        options = FasterOptions(anchor_sampling=SAMPLING.anchors, training_proposals=50)
        return start_run(
            model,
            NORMALISATIONS["imagenet"],
            tiny_dataset,
            None,
            replace(config, **changes),
            kind=KIND,
            options=options,
        )

    return make


def test_a_run_that_is_cut_off_goes_on_as_if_nothing_had_happened(new_run, tiny_dataset, tmp_path):
    """6 iterations at once; and 3, a power cut one iteration later, and the rest: equal bit for bit."""
    whole, cut, resumed = new_run(), new_run(), new_run(seed=1)
    listener = Listener()
    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
    train(whole, tiny_dataset, None, tmp_path / "whole", listener, workers=0)
    with pytest.raises(StopTraining):
        train(cut, tiny_dataset, None, tmp_path / "cut", Listener(stop_after=4), workers=0)
    restore_run(resumed, tmp_path / "cut")
    assert resumed.iteration == 3
    train(resumed, tiny_dataset, None, tmp_path / "cut", Listener(), workers=0)
    states = [load_checkpoint(tmp_path / folder / "model.safetensors").state for folder in ("whole", "cut")]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    header = (tmp_path / "whole" / "log.csv").read_text().splitlines()[0]
    assert all(f"loss_{name}" in header for name in LOSSES)
    assert all(0 < values["foreground"] < 1 for values in listener.values)


def test_a_run_in_parts_is_logged_as_one_that_fits(new_run, tiny_dataset, tmp_path):
    """One image at a time, or both: the same loss and the same share of foreground in the first iteration."""
    said = []
    for images in (1, 2):
        folder = tmp_path / str(images)
        folder.mkdir()
        listener = Listener()
        run = new_run(iterations=1, images_per_pass=images, dropout=0.0)
        for module in run.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        train(run, tiny_dataset, None, folder, listener, workers=0)
        said.append(listener.values[0])
    names = ("loss", *(f"loss_{name}" for name in LOSSES), "foreground")
    assert [said[0][name] for name in names] == pytest.approx([said[1][name] for name in names], rel=1e-4)
