"""The whole network: its shapes, the head's order, scoring, folding, and one update against torchvision's parts."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from frcnn_cli.core.backbones import NORMALISATIONS
from frcnn_cli.core.losses import multi_task_loss
from frcnn_cli.core.model import (
    Architecture,
    FastRCNN,
    Head,
    fold_target_normalisation,
    unfold_target_normalisation,
)
from frcnn_cli.core.svd import LowRankLinear, compress
from frcnn_cli.engine.batches import Batch
from frcnn_cli.engine.optimizer import build_optimizer
from frcnn_cli.engine.run_state import Run
from frcnn_cli.engine.training_config import TrainingConfig
from frcnn_cli.engine.training_step import training_step

CLASSES = 3
ARCHITECTURE = Architecture("alexnet", CLASSES, roi_size=6, fc_width=32)


@pytest.fixture(scope="module")
def template() -> FastRCNN:
    """Built once; the weights are made large enough for every layer to have a gradient worth comparing."""
    torch.manual_seed(4)
    model = FastRCNN(ARCHITECTURE, dropout=0)
    for module in model.backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    nn.init.normal_(model.head.cls_score.weight, std=0.1)
    nn.init.normal_(model.head.bbox_pred.weight, std=0.1)
    nn.init.normal_(model.head.bbox_pred.bias, std=0.1)
    return model


@pytest.fixture
def model(template) -> FastRCNN:
    return copy.deepcopy(template).eval()


def random_boxes(count: int, width: float, height: float, seed: int = 0) -> Tensor:
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)) * torch.tensor((width, height))
    return torch.cat((corners.amin(dim=1), corners.amax(dim=1) + 1), dim=1)


def random_images(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def with_index(boxes: Tensor, index: Tensor | float = 0.0) -> Tensor:
    return torch.cat((torch.as_tensor(index).expand(len(boxes))[:, None], boxes), dim=1)


# --- shapes


def test_shapes(model):
    index = torch.arange(9) % 2
    logits, deltas = model(random_images(2, 120, 150), with_index(random_boxes(9, 149, 119), index.float()))
    assert logits.shape == (9, 1 + CLASSES)
    assert deltas.shape == (9, CLASSES, 4)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18"])
def test_other_backbones_and_sizes(name):
    model = FastRCNN(Architecture(name, 2, roi_size=3, fc_width=8)).eval()
    logits, deltas = model(random_images(1, 64, 96), with_index(random_boxes(4, 95, 63)))
    assert logits.shape == (4, 3)
    assert deltas.shape == (4, 2, 4)
    assert model.head.fc6.in_features == model.backbone.channels * 9


def test_a_neck_halves_the_cells():
    """RoIs are pooled, and found to be alike, on cells of 8 pixels."""
    torch.manual_seed(0)
    model = FastRCNN(Architecture("efficientnet_lite0", 2, roi_size=3, fc_width=8, neck=16)).eval()
    assert model.roi_pool.spatial_scale == 1 / 8
    assert model.head.fc6.in_features == 16 * 9
    image, boxes = random_images(1, 90, 131)[0], random_boxes(40, 130, 89)
    with torch.no_grad():
        logits, expected = model(image[None], with_index(boxes))
    probabilities, deltas = model.score(image, boxes)
    torch.testing.assert_close(probabilities, logits.softmax(1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(deltas, expected, rtol=1e-4, atol=1e-6)
    apart = model.score(image, torch.tensor([[16.0, 16, 64, 64], [24, 16, 64, 64]]))[0]  # on 16 pixels they would agree
    assert not torch.equal(apart[0], apart[1])


def test_without_rois(model):
    """A mini-batch of images whose RoIs were all filtered out, and an image without proposals."""
    logits, deltas = model(random_images(1, 96, 96), torch.zeros(0, 5))
    assert logits.shape == (0, 1 + CLASSES)
    assert deltas.shape == (0, CLASSES, 4)
    probabilities, deltas = model.score(random_images(1, 96, 96)[0], torch.zeros(0, 4))
    assert probabilities.shape == (0, 1 + CLASSES)
    assert deltas.shape == (0, CLASSES, 4)


def test_rois_do_not_see_one_another(model):
    """A RoI's answer is its own, whatever else is in the batch, and belongs to its own image."""
    images, boxes = random_images(2, 120, 150), random_boxes(6, 149, 119)
    rois = with_index(boxes, (torch.arange(6) % 2).float())
    together = model(images, rois)
    for i in range(6):
        alone = model(images[i % 2 : i % 2 + 1], with_index(boxes[i : i + 1]))
        for one, all_of_them in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], all_of_them[i], rtol=1e-4, atol=1e-5)


def test_new_layers_start_as_in_the_paper():
    """Gaussian with std 0.01 (classes) and 0.001 (boxes), biases 0."""
    head = Head(Architecture("alexnet", 20, roi_size=1, fc_width=512), channels=8)
    assert head.cls_score.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert head.bbox_pred.weight.std().item() == pytest.approx(0.001, rel=0.05)
    for layer in (head.fc6, head.fc7, head.cls_score, head.bbox_pred):
        assert torch.equal(layer.bias, torch.zeros_like(layer.bias))


def test_dropout_only_in_training():
    head = Head(Architecture("alexnet", 2, roi_size=2, fc_width=64), channels=4, dropout=0.5)
    pooled = torch.rand(3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(head.eval()(pooled)[0], head(pooled)[0])
    assert not torch.equal(head.train()(pooled)[0], head(pooled)[0])


# --- the head reads (row, column, channel)


def torchvision_order(weight: Tensor, channels: int, size: int) -> Tensor:
    """Columns (row, column, channel) -> (channel, row, column)."""
    return weight.view(-1, size, size, channels).permute(0, 3, 1, 2).flatten(1)


def test_fc6_is_a_linear_layer_with_permuted_columns():
    head = Head(Architecture("alexnet", 2, roi_size=3, fc_width=16), channels=5).eval()
    pooled = torch.randn(4, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    x = F.relu(F.linear(pooled.flatten(1), torchvision_order(head.fc6.weight, 5, 3), head.fc6.bias))
    x = F.relu(head.fc7(x))
    logits, deltas = head(pooled)
    torch.testing.assert_close(logits, head.cls_score(x))
    torch.testing.assert_close(deltas, head.bbox_pred(x).view(4, 2, 4))
    again = head(pooled.to(memory_format=torch.channels_last))
    torch.testing.assert_close(again[0], logits)


def test_one_weight_of_fc6_reads_one_cell():
    """Column (row * P + column) * channels + channel is that cell of that channel."""
    head = Head(Architecture("alexnet", 1, roi_size=3, fc_width=4), channels=5).eval()
    nn.init.zeros_(head.fc6.weight)
    nn.init.eye_(head.fc7.weight)
    with torch.no_grad():
        head.fc6.weight[0, (2 * 3 + 1) * 5 + 4] = 1
    pooled = torch.zeros(1, 5, 3, 3)
    silent = head(pooled)[0]
    pooled[0, 4, 2, 1] = 100
    assert not torch.equal(head(pooled)[0], silent)
    others = torch.full((1, 5, 3, 3), 100.0)
    others[0, 4, 2, 1] = 0
    assert torch.equal(head(others)[0], silent)


# --- scoring


def test_score_is_forward_and_softmax(model):
    """On the boxes themselves: rounding to cells first changes nothing, RoI pooling rounds alike."""
    image, boxes = random_images(1, 200, 260)[0], random_boxes(300, 259, 199)
    with torch.no_grad():
        logits, expected = model(image[None], with_index(boxes))
    probabilities, deltas = model.score(image, boxes)
    torch.testing.assert_close(probabilities, logits.softmax(1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(deltas, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(300))


def test_score_rounds_exact_halves_as_roi_pooling_does(model):
    """Corners at 16 n + 8 pixels; rounding to even would move every second one by a cell."""
    image = random_images(1, 200, 260)[0]
    starts = torch.tensor([(x, y) for x in range(8, 120, 16) for y in range(8, 90, 16)], dtype=torch.float32)
    boxes = torch.cat((starts, starts + torch.tensor((96.0, 80.0))), dim=1)
    with torch.no_grad():
        logits, _ = model(image[None], with_index(boxes))
    torch.testing.assert_close(model.score(image, boxes)[0], logits.softmax(1), rtol=1e-4, atol=1e-6)


def test_rois_of_equal_cells_get_equal_answers(model):
    image = random_images(1, 200, 260)[0]
    boxes = torch.tensor([[30.0, 30, 130, 140], [100, 20, 200, 180], [34, 26, 126, 146], [30, 30, 130, 140]])
    probabilities, deltas = model.score(image, boxes)
    for same in (2, 3):
        assert torch.equal(probabilities[same], probabilities[0])
        assert torch.equal(deltas[same], deltas[0])
    assert not torch.equal(probabilities[1], probabilities[0])


def test_equal_cells_pass_the_head_once(model):
    rows = []
    model.head.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    boxes = torch.tensor([[32.0, 32, 128, 144]]) + torch.linspace(-7, 7, 50)[:, None]
    model.score(random_images(1, 200, 260)[0], torch.cat((boxes, torch.tensor([[100.0, 20, 200, 180]]))))
    assert rows == [2]


# --- target normalisation

MEAN, STD = torch.tensor((0.1, -0.2, 0.05, 0.3)), torch.tensor((0.1, 0.2, 0.3, 0.4))


def test_folded_layer_predicts_in_true_units(model):
    layer, x = model.head.bbox_pred, torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    normalised = layer(x).view(5, CLASSES, 4)
    fold_target_normalisation(layer, MEAN, STD)
    torch.testing.assert_close(layer(x).view(5, CLASSES, 4), normalised * STD + MEAN)


def test_fold_and_unfold_are_inverse(model):
    layer = model.head.bbox_pred
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    fold_target_normalisation(layer, MEAN, STD)
    assert not torch.allclose(layer.weight, before["weight"])
    unfold_target_normalisation(layer, MEAN, STD)
    torch.testing.assert_close(layer.weight.detach(), before["weight"])
    torch.testing.assert_close(layer.bias.detach(), before["bias"])


# --- one box for all classes


@pytest.fixture
def agnostic() -> Head:
    torch.manual_seed(0)
    head = Head(Architecture("alexnet", CLASSES, roi_size=2, fc_width=16, class_agnostic=True), channels=4, dropout=0)
    nn.init.normal_(head.bbox_pred.weight, std=0.3)
    nn.init.normal_(head.bbox_pred.bias)
    return head


@pytest.fixture
def tied(agnostic) -> Head:
    """A head of a box a class, in which the classes' boxes have the same weights."""
    head = Head(Architecture("alexnet", CLASSES, roi_size=2, fc_width=16), channels=4, dropout=0)
    state = {name: value.clone() for name, value in agnostic.state_dict().items()}
    for name in ("bbox_pred.weight", "bbox_pred.bias"):
        state[name] = torch.cat([state[name]] * CLASSES)
    head.load_state_dict(state)
    return head


def test_class_agnostic_boxes_are_those_of_every_class(agnostic, tied):
    pooled = torch.randn(5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    logits, deltas = agnostic(pooled)
    assert agnostic.bbox_pred.weight.shape == (4, 16)
    assert deltas.shape == (5, CLASSES, 4)
    for label in range(1, CLASSES):
        assert torch.equal(deltas[:, label], deltas[:, 0])
    for found, expected in zip((logits, deltas), tied(pooled), strict=True):
        torch.testing.assert_close(found, expected)


def test_class_agnostic_boxes_learn_from_every_class(agnostic, tied):
    """The gradient is the sum of what the classes' own boxes would have."""
    generator = torch.Generator().manual_seed(0)
    pooled, targets = torch.randn(8, 4, 2, 2, generator=generator), torch.randn(8, 4, generator=generator)
    labels = torch.tensor([1, 2, 3, 0, 0, 2, 1, 0])
    losses = []
    for head in (agnostic, tied):
        found = multi_task_loss(*head(pooled), labels, targets)
        (found["cls"] + found["bbox"]).backward()
        losses.append({name: value.item() for name, value in found.items()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0]["bbox"] > 0
    for name, parameter in agnostic.named_parameters():
        expected = tied.get_parameter(name).grad
        if name.startswith("bbox_pred"):
            assert expected.view(CLASSES, -1).abs().amax(dim=1).min() > 0
            expected = expected.unflatten(0, (CLASSES, 4)).sum(dim=0)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-6)


def test_class_agnostic_boxes_fold_and_unfold(agnostic):
    pooled = torch.randn(5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    normalised = agnostic(pooled)[1]
    fold_target_normalisation(agnostic.bbox_pred, MEAN, STD)
    torch.testing.assert_close(agnostic(pooled)[1], normalised * STD + MEAN)
    unfold_target_normalisation(agnostic.bbox_pred, MEAN, STD)
    torch.testing.assert_close(agnostic(pooled)[1], normalised)


# --- compressed heads


def test_low_rank_architecture():
    torch.manual_seed(0)
    full = Head(Architecture("alexnet", 2, roi_size=3, fc_width=16), channels=5).eval()
    low = Head(Architecture("alexnet", 2, roi_size=3, fc_width=16, fc6_rank=4, fc7_rank=16), channels=5).eval()
    assert isinstance(low.fc6, LowRankLinear)
    assert low.fc6.first.weight.shape == (4, 45)
    assert low.fc7.first.weight.shape == (16, 16)
    compressed = copy.deepcopy(full)
    compressed.fc6, compressed.fc7 = compress(full.fc6, 4), compress(full.fc7, 16)
    low.load_state_dict(compressed.state_dict())  # same names, same shapes
    pooled = torch.rand(4, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(low(pooled)[0], compressed(pooled)[0])
    # At full rank (fc6 is 16 x 45) nothing is lost.
    compressed.fc6 = compress(full.fc6, 16)
    torch.testing.assert_close(compressed(pooled)[0], full(pooled)[0], rtol=1e-4, atol=1e-6)


def test_low_rank_model_builds_and_runs():
    architecture = Architecture("efficientnet_lite0", 2, roi_size=2, fc_width=16, fc6_rank=3)
    logits, _ = FastRCNN(architecture).eval()(random_images(1, 64, 64), with_index(random_boxes(2, 63, 63)))
    assert logits.shape == (2, 3)


# --- a whole update, against torchvision's parts


class ByHand(nn.Module):
    """Fast R-CNN put together from torchvision's and torch's own parts, in torchvision's order of features."""

    def __init__(self, model: FastRCNN) -> None:
        super().__init__()
        self.features = copy.deepcopy(model.backbone.body)
        self.fc6, self.fc7 = copy.deepcopy(model.head.fc6), copy.deepcopy(model.head.fc7)
        self.fc6.weight = nn.Parameter(torchvision_order(model.head.fc6.weight.detach(), 256, 6).clone())
        self.cls_score = copy.deepcopy(model.head.cls_score)
        self.bbox_pred = copy.deepcopy(model.head.bbox_pred)

    def forward(self, images: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
        pooled = torchvision.ops.roi_pool(self.features(images), rois, 6, 1 / 16)
        x = F.relu(self.fc7(F.relu(self.fc6(pooled.flatten(1)))))
        return self.cls_score(x), self.bbox_pred(x)


def update_by_hand(reference: ByHand, optimizer: torch.optim.Optimizer, batch: Batch) -> dict[str, float]:
    logits, deltas = reference(batch.images, batch.rois)
    loss_cls = F.cross_entropy(logits, batch.labels)
    # One box a class, from the columns of the true class; F.smooth_l1_loss has equation 3's beta of 1.
    foreground = [r for r, label in enumerate(batch.labels.tolist()) if label > 0]
    columns = torch.stack([deltas[r, 4 * (batch.labels[r] - 1) : 4 * batch.labels[r]] for r in foreground])
    targets = (batch.deltas[foreground] - MEAN) / STD
    loss_bbox = F.smooth_l1_loss(columns, targets, reduction="sum") / len(batch.labels)
    optimizer.zero_grad()
    (loss_cls + loss_bbox).backward()
    optimizer.step()
    return {"loss": (loss_cls + loss_bbox).item(), "loss_cls": loss_cls.item(), "loss_bbox": loss_bbox.item()}


def random_batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([1, 2, 3, 1] + [0] * 12).repeat(2)
    rois = with_index(random_boxes(32, 159, 127, seed), torch.arange(2.0).repeat_interleave(16))
    deltas = torch.randn(32, 4, generator=generator) * 0.3 * (labels > 0)[:, None]
    return Batch(random_images(2, 128, 160, seed), rois, labels, deltas, ("a", "b"))


def test_training_step_equals_torchvision(template):
    """Three steps (momentum counts from the second on): all parameters agree, conv1 stays, everything else moves."""
    config = TrainingConfig(lr=0.02)
    model = copy.deepcopy(template).train()
    model.backbone.freeze()
    reference = ByHand(model)
    start = copy.deepcopy(reference.state_dict())
    run = Run(model, ("x", "y", "z"), NORMALISATIONS["imagenet"], config, MEAN, STD)
    optimizer = build_optimizer(model, config)
    for group in optimizer.param_groups:
        group["lr"] = config.lr * group["base"]
    # The paper's recipe: decay on weights only, biases at twice the rate; the first convolution does not learn.
    learning = [(name, p) for name, p in reference.named_parameters() if not name.startswith("features.0.")]
    by_hand = torch.optim.SGD(
        [
            {"params": [p for name, p in learning if name.endswith("weight")], "weight_decay": 0.0005},
            {"params": [p for name, p in learning if name.endswith("bias")], "lr": 0.04},
        ],
        lr=0.02,
        momentum=0.9,
    )
    for step in range(3):
        losses = training_step(model, random_batch(step), optimizer, run, "cpu")
        expected = update_by_hand(reference, by_hand, random_batch(step)) | {"foreground": 0.25}
        assert losses == pytest.approx(expected, rel=1e-4)
    for name, expected in reference.state_dict().items():
        part, rest = name.split(".", 1)
        own = model.backbone.body.get_parameter(rest) if part == "features" else model.head.get_parameter(name)
        if name == "fc6.weight":
            own = torchvision_order(own, 256, 6)
        torch.testing.assert_close(own.detach(), expected, rtol=0, atol=1e-5, msg=name)
        if name.startswith("features.0."):
            assert torch.equal(own, start[name])
        else:
            # They agree on where to move, too. (A near-tie that rounding flips costs some of the digits.)
            moved = (own - start[name]).abs().max()
            assert moved > 1e-5, name
            assert (own - expected).abs().max() < 0.1 * moved, name
