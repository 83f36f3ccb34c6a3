"""Levels of a pyramid counted by hand; the mirror's symmetries."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn_cli.core.boxes import flip, flip_deltas
from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.core.pyramid import View, assign_levels


def levels_of(boxes, factors) -> list[int]:
    return assign_levels(torch.tensor(boxes).view(-1, 4), torch.tensor(factors)).tolist()


def square(side: float) -> tuple[float, ...]:
    return (3, 5, 3 + side, 5 + side)


def test_levels_by_hand():
    """224 x 224 as it is, doubled, quadrupled; 448 x 112 has the same area; beyond the ends, the ends."""
    boxes = [square(224), square(112), square(56), (0.0, 0, 448, 112), square(900), square(2)]
    assert levels_of(boxes, [1.0, 2, 4]) == [0, 1, 2, 0, 0, 2]


def test_where_one_level_gives_way_to_the_next():
    """141^2 is 30295 from 224^2, doubled 29348; 142^2 is 30012 from it, doubled 30480. By sides it would be 149."""
    assert levels_of([square(141), square(142)], [1.0, 2]) == [1, 0]


def test_equally_near_levels():
    """Sizes that the long side's limit makes equal, and a box without an area: the first, coarser one."""
    assert levels_of([square(50), square(500)], [0.5, 0.5, 0.5]) == [0, 0]
    assert levels_of([(4.0, 4, 4, 90)], [0.5, 1, 2]) == [0]


def test_one_level_and_no_box():
    assert levels_of([square(1), square(999)], [1.28]) == [0, 0]
    assert assign_levels(torch.zeros(0, 4), torch.tensor([1.0, 2])).shape == (0,)


@settings(deadline=None)
@given(st.tuples(*[st.floats(1, 900)] * 2), st.lists(st.floats(0.05, 8), min_size=1, max_size=6).map(sorted))
def test_no_level_is_nearer(size, factors):
    chosen = levels_of([(0.0, 0, *size)], factors)[0]
    distances = [abs(size[0] * size[1] * factor**2 - 50176) for factor in factors]
    assert distances[chosen] <= min(distances) + 1e-5 * (50176 + size[0] * size[1] * factors[chosen] ** 2)


@pytest.fixture(scope="module")
def model() -> FastRCNN:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = FastRCNN(Architecture("alexnet", 3, roi_size=3, fc_width=16)).eval()
        # AlexNet's own random weights let the picture fade until all RoIs look alike.
        for layer in (*model.backbone.body, model.head.fc6, model.head.fc7, model.head.cls_score, model.head.bbox_pred):
            if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return model


IMAGE = torch.rand(3, 96, 160, generator=torch.Generator().manual_seed(2)) * 4 - 2
BOXES = torch.tensor([[10.0, 8, 90, 80], [70, 8, 150, 80], [40, 20, 120, 90], [0, 0, 160, 96]])
"""Of an image 160 wide: the second is the first mirrored, the others are their own mirror images."""


def test_a_symmetric_image(model):
    """A box in the middle scores as without a mirror and moves to neither side; a pair scores alike."""
    image = torch.cat((IMAGE[..., :80], IMAGE[..., :80].flip(-1)), dim=-1)
    once, twice = model.score(image, BOXES), View(model, image).score(BOXES, mirrored=True)
    assert once[1][2:, :, 0].abs().min() > 0
    torch.testing.assert_close(twice[0][2:], once[0][2:])
    torch.testing.assert_close(twice[1][2:, :, 1:], once[1][2:, :, 1:])
    torch.testing.assert_close(twice[1][2:, :, 0], torch.zeros(2, 3), atol=1e-6, rtol=0)
    assert (once[0][0] - once[0][1]).abs().max() > 1e-3
    torch.testing.assert_close(twice[0][0], twice[0][1])
    torch.testing.assert_close(twice[1][0], flip_deltas(twice[1][1]))


def test_the_mirrored_image_gives_the_mirrored_answer(model):
    probabilities, deltas = View(model, IMAGE).score(BOXES, mirrored=True)
    mirrored = View(model, IMAGE.flip(-1)).score(flip(BOXES, 160), mirrored=True)
    torch.testing.assert_close(mirrored[0], probabilities)
    torch.testing.assert_close(flip_deltas(mirrored[1]), deltas)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(4))
    assert (model.score(IMAGE, BOXES)[0] - probabilities).abs().max() > 1e-3
