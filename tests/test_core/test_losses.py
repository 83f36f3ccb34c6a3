"""The multi-task loss against the paper's equations 1 to 3, written out in plain Python."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frcnn_cli.core.losses import multi_task_loss, smooth_l1


def plain_smooth_l1(x: float) -> float:
    return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5


def plain_loss(logits, deltas, labels, targets, box_weight):
    """Sums over RoIs of -log p_u and of lambda [u >= 1] smooth L1, each divided by R."""
    classification = localisation = 0.0
    for row, boxes, u, v in zip(logits, deltas, labels, targets, strict=True):
        classification -= math.log(math.exp(row[u]) / sum(math.exp(value) for value in row))
        if u >= 1:
            localisation += sum(plain_smooth_l1(t - g) for t, g in zip(boxes[u - 1], v, strict=True))
    return classification / len(labels), box_weight * localisation / len(labels)


def example(count: int = 12, classes: int = 3, seed: int = 0):
    """float64 logits, deltas, labels (background among them), targets."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, 1 + classes, generator=generator, dtype=torch.float64, requires_grad=True),
        torch.randn(count, classes, 4, generator=generator, dtype=torch.float64).mul(2).requires_grad_(),
        torch.arange(count) % (1 + classes),
        torch.randn(count, 4, generator=generator, dtype=torch.float64),
    )


@pytest.mark.parametrize("box_weight", [1.0, 0.0, 2.5])
@pytest.mark.parametrize("seed", range(3))
def test_equals_plain_python(box_weight, seed):
    logits, deltas, labels, targets = example(seed=seed)
    losses = multi_task_loss(logits, deltas, labels, targets, box_weight)
    expected = plain_loss(logits.tolist(), deltas.tolist(), labels.tolist(), targets.tolist(), box_weight)
    assert (losses["cls"].item(), losses["bbox"].item()) == pytest.approx(expected, rel=1e-12)
    assert set(losses) == {"cls", "bbox"}


def test_lambda_is_1_by_default():
    arguments = example()
    assert multi_task_loss(*arguments)["bbox"] == multi_task_loss(*arguments, 1.0)["bbox"] > 0


def test_parts_of_a_batch_add_up():
    """Divided by the RoIs of the whole, the losses of two parts of 5 and 7 RoIs are those of all 12."""
    arguments = example()
    whole = multi_task_loss(*arguments)
    parts = [multi_task_loss(*(a[part] for a in arguments), count=12) for part in (slice(0, 5), slice(5, 12))]
    for name in whole:
        assert sum(part[name] for part in parts).item() == pytest.approx(whole[name].item(), rel=1e-12)


def test_by_hand():
    """One foreground RoI of class 2 in four: errors 0.5, 2, 0, -1 cost 0.125, 1.5, 0 and 0.5."""
    labels = torch.tensor([0, 2, 0, 0])
    deltas = torch.zeros(4, 2, 4)
    deltas[1, 1] = torch.tensor([0.5, 2, 0, -1])
    losses = multi_task_loss(torch.zeros(4, 3), deltas, labels, torch.zeros(4, 4))
    assert losses["bbox"].item() == pytest.approx((0.125 + 1.5 + 0.5) / 4)
    assert losses["cls"].item() == pytest.approx(math.log(3))


def test_background_has_no_box_loss():
    """Its targets are not even read: they may be NaN."""
    logits, deltas, labels, _ = example()
    losses = multi_task_loss(logits, deltas, torch.zeros_like(labels), torch.full((12, 4), math.nan))
    assert losses["bbox"].item() == 0
    losses["bbox"].backward()
    assert torch.equal(deltas.grad, torch.zeros_like(deltas))


def test_only_the_true_class_gets_a_box_gradient():
    logits, deltas, labels, targets = example()
    losses = multi_task_loss(logits, deltas, labels, targets)
    (losses["cls"] + losses["bbox"]).backward()
    for r, label in enumerate(labels.tolist()):
        for c in range(3):
            gradient = deltas.grad[r, c]
            if c + 1 == label:
                slope = (deltas[r, c] - targets[r]).clamp(-1, 1) / len(labels)  # the derivative of smooth L1
                torch.testing.assert_close(gradient, slope.detach())
            else:
                assert torch.equal(gradient, torch.zeros(4, dtype=torch.float64))


def test_classification_gradient_is_softmax_minus_one_hot():
    logits, deltas, labels, targets = example()
    multi_task_loss(logits, deltas, labels, targets)["cls"].backward()
    one_hot = torch.nn.functional.one_hot(labels, 4)
    torch.testing.assert_close(logits.grad, (logits.detach().softmax(1) - one_hot) / 12)


def test_both_terms_are_divided_by_all_rois():
    """As many background RoIs again halve the box loss."""
    logits, deltas, labels, targets = (t.detach() for t in example())
    once = multi_task_loss(logits, deltas, labels, targets)
    doubled = multi_task_loss(
        torch.cat((logits, torch.zeros_like(logits))),
        torch.cat((deltas, deltas)),
        torch.cat((labels, torch.zeros_like(labels))),
        torch.cat((targets, targets)),
    )
    assert doubled["bbox"].item() == pytest.approx(once["bbox"].item() / 2)
    assert doubled["cls"].item() == pytest.approx((once["cls"].item() + math.log(4)) / 2)


def test_without_rois_both_are_0_and_can_be_learned_from():
    logits, deltas = torch.zeros(0, 4, requires_grad=True), torch.zeros(0, 3, 4, requires_grad=True)
    losses = multi_task_loss(logits, deltas, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4))
    assert (losses["cls"].item(), losses["bbox"].item()) == (0, 0)
    (losses["cls"] + losses["bbox"]).backward()
    assert logits.grad.shape == (0, 4)
    assert deltas.grad.shape == (0, 3, 4)


def test_confident_and_wrong_is_finite():
    """-log of a probability that underflows to 0 would be infinite."""
    losses = multi_task_loss(torch.tensor([[1000.0, 0]]), torch.zeros(1, 1, 4), torch.tensor([1]), torch.zeros(1, 4))
    assert losses["cls"].item() == 1000


@given(st.floats(-50, 50))
def test_smooth_l1_is_equation_3(x):
    assert smooth_l1(torch.tensor([x], dtype=torch.float64)).item() == pytest.approx(plain_smooth_l1(x), rel=1e-12)


def test_smooth_l1_at_its_joint():
    assert smooth_l1(torch.tensor([-1.0, 0, 1, 2])).tolist() == [0.5, 0, 0.5, 1.5]
