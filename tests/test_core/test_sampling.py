"""Mini-batch sampling on cases that can be counted."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from frcnn_cli.core.sampling import SampledRois, SamplingConfig, best_overlap, sample_rois

GT = torch.tensor([[0.0, 0, 100, 100]])
LABEL = torch.tensor([7])


def strips(*heights: float) -> Tensor:
    """Boxes (0, 0, 100, h): their IoU with `GT` is h / 100."""
    return torch.tensor([[0.0, 0, 100, height] for height in heights]).view(-1, 4)


def draw(proposals: Tensor, gt: Tensor = GT, labels: Tensor = LABEL, seed: int = 0, **options) -> SampledRois:
    return sample_rois(proposals, gt, labels, SamplingConfig(**options), torch.Generator().manual_seed(seed))


def heights(sampled: SampledRois, foreground: bool) -> list[float]:
    return sorted(sampled.rois[(sampled.labels > 0) == foreground][:, 3].tolist())


# heights that are foreground and background, each different, so that a second draw of one would be seen
FOREGROUND = [50 + i * 0.5 for i in range(90)]
BACKGROUND = [10 + i * 0.25 for i in range(150)]


def test_paper_numbers():
    """N = 2, R = 128: 64 an image, of which at most 16 are foreground."""
    assert SamplingConfig() == SamplingConfig(2, 128, 0.25, 0.5, (0.1, 0.5))
    assert SamplingConfig().rois_per_image == 64
    sampled = draw(strips(*FOREGROUND, *BACKGROUND))
    assert len(sampled) == 64
    assert (sampled.labels > 0).tolist() == [True] * 16 + [False] * 48
    assert sampled.labels.dtype == torch.int64


@pytest.mark.parametrize("seed", range(5))
def test_without_replacement(seed):
    sampled = draw(strips(*FOREGROUND, *BACKGROUND), seed=seed)
    assert len(set(sampled.rois[:, 3].tolist())) == 64
    assert set(heights(sampled, True)) <= {*FOREGROUND, 100.0}
    assert set(heights(sampled, False)) <= set(BACKGROUND)


def test_few_foreground_leaves_room_for_background():
    sampled = draw(strips(60, 70, *BACKGROUND))
    assert heights(sampled, True) == [60, 70, 100]  # 100 is the object itself
    assert len(heights(sampled, False)) == 61


def test_short_background_is_not_padded():
    sampled = draw(strips(*FOREGROUND, 20, 30))
    assert len(heights(sampled, True)) == 16
    assert heights(sampled, False) == [20, 30]


def test_short_pools_are_taken_whole():
    sampled = draw(strips(60, 20))
    assert heights(sampled, True) == [60, 100]
    assert heights(sampled, False) == [20]


def test_objects_join_the_proposals():
    gt = torch.tensor([[0.0, 0, 100, 100], [200, 200, 230, 220]])
    sampled = draw(torch.zeros(0, 4), gt, torch.tensor([3, 5]))
    assert {tuple(roi): label for roi, label in zip(sampled.rois.tolist(), sampled.labels.tolist(), strict=True)} == {
        (0, 0, 100, 100): 3,
        (200, 200, 230, 220): 5,
    }
    assert torch.equal(sampled.deltas, torch.zeros(2, 4))


def test_no_background():
    sampled = draw(strips(5, 60))
    assert heights(sampled, False) == []
    assert heights(sampled, True) == [60, 100]


def test_no_foreground():
    """An object without an area overlaps with nothing, not even with itself."""
    sampled = draw(strips(20, 30), torch.tensor([[5.0, 5, 5, 5]]), LABEL, background_iou=(0.0, 0.5))
    assert sampled.labels.tolist() == [0, 0, 0]
    assert torch.equal(sampled.deltas, torch.zeros(3, 4))


def test_no_object_gives_no_roi():
    """With background from IoU 0.1 up, an image without an object has none."""
    sampled = draw(strips(20, 60), GT[:0], LABEL[:0])
    assert len(sampled) == 0
    assert sampled.rois.shape == (0, 4)
    assert sampled.deltas.shape == (0, 4)


def test_no_object_gives_background_where_it_starts_at_0():
    sampled = draw(strips(20, 60), GT[:0], LABEL[:0], background_iou=(0.0, 0.5))
    assert heights(sampled, False) == [20, 60]
    assert sampled.labels.tolist() == [0, 0]


def test_nothing_at_all():
    assert len(draw(torch.zeros(0, 4), GT[:0], LABEL[:0])) == 0


def test_ends_of_the_intervals():
    """Foreground from 0.5 on, inclusive; background in [0.1, 0.5)."""
    sampled = draw(strips(50, 49.96875, 10, 9.96875))
    assert heights(sampled, True) == [50, 100]
    assert heights(sampled, False) == [10, 49.96875]


def test_background_upper_end_is_exclusive_where_foreground_starts_higher():
    """A gap between the two: what lies in it is neither."""
    sampled = draw(strips(20, 40, 60, 70), foreground_iou=0.7, background_iou=(0.2, 0.4))
    assert heights(sampled, True) == [70, 100]
    assert heights(sampled, False) == [20]


def test_other_sizes():
    sampled = draw(strips(*FOREGROUND, *BACKGROUND), images_per_batch=4, rois_per_batch=32, foreground_fraction=0.5)
    assert (sampled.labels > 0).tolist() == [True] * 4 + [False] * 4


def test_region_wise():
    """N = R: one RoI an image, and a quarter of the images give a foreground one."""
    proposals = strips(*FOREGROUND, *BACKGROUND)
    config = SamplingConfig(128, 128)
    generator = torch.Generator().manual_seed(0)
    drawn = [sample_rois(proposals, GT, LABEL, config, generator, place) for place in range(128)]
    assert [len(sampled) for sampled in drawn] == [1] * 128
    assert sum(int((sampled.labels > 0).sum()) for sampled in drawn) == 32
    in_fours = [sum(config.most_foreground(place) for place in range(i, i + 4)) for i in range(0, 128, 4)]
    assert in_fours == [1] * 32


def test_region_wise_takes_background_where_there_is_no_foreground():
    config = SamplingConfig(4, 4, background_iou=(0.0, 0.5))
    place = [config.most_foreground(place) for place in range(4)].index(1)
    no_area = torch.tensor([[5.0, 5, 5, 5]])
    sampled = sample_rois(strips(20), no_area, LABEL, config, torch.Generator(), place)
    assert sampled.labels.tolist() == [0]


@given(images=st.integers(1, 40), each=st.integers(1, 70), fraction=st.floats(0, 1))
def test_shares_of_foreground_add_up_and_are_even(images, each, fraction):
    config = SamplingConfig(images, images * each, fraction)
    shares = [config.most_foreground(place) for place in range(images)]
    assert sum(shares) == round(fraction * each * images)
    assert max(shares) - min(shares) <= 1
    assert all(0 <= share <= each for share in shares)


@given(st.integers(1, 40), st.integers(0, 500), st.floats(0, 1))
def test_rois_of_images_add_up_where_they_cannot_be_equal(images, more, fraction):
    config = SamplingConfig(images, images + more, fraction)
    rois = [config.rois_of(place) for place in range(images)]
    assert sum(rois) == images + more
    assert max(rois) - min(rois) <= 1
    foreground = [config.most_foreground(place) for place in range(images)]
    assert abs(sum(foreground) - fraction * (images + more)) <= 0.5 + 1e-9
    assert all(0 <= most <= share for most, share in zip(foreground, rois, strict=True))


def test_128_rois_of_3_images():
    proposals = strips(*FOREGROUND, *BACKGROUND)
    config = SamplingConfig(3, 128)
    drawn = [sample_rois(proposals, GT, LABEL, config, torch.Generator(), place) for place in range(3)]
    assert [len(sampled) for sampled in drawn] == [42, 43, 43]
    assert sum(int((sampled.labels > 0).sum()) for sampled in drawn) == 32


@given(st.integers(1, 64), st.integers(1, 130), st.integers(0, 100))
def test_equal_shares_are_rounded_as_ever(images, each, percent):
    """Of runs begun before images could differ in how many RoIs they give, the draws stay the same."""
    config = SamplingConfig(images, images * each, percent / 100)
    share = percent / 100 * each
    for place in range(images):
        assert config.rois_of(place) == each
        assert config.most_foreground(place) == round(share * (place + 1)) - round(share * place)


@given(st.integers(0, 100), st.integers(0, 99), st.integers(1, 100))
def test_a_foreground_roi_is_never_background(foreground, low, width):
    """Whatever the ranges, each RoI is drawn once, and for what it overlaps."""
    high = min(low + width, 100)
    options = {"foreground_iou": foreground / 100, "background_iou": (low / 100, high / 100)}
    every = [height + 0.5 for height in range(100)]
    sampled = draw(strips(*every), images_per_batch=1, rois_per_batch=500, foreground_fraction=0.5, **options)
    assert heights(sampled, True) == [height for height in every if height >= foreground] + [100]
    assert heights(sampled, False) == [h for h in every if h < foreground and low <= h < high]


def test_without_an_object_nothing_is_foreground():
    sampled = draw(strips(20, 60), GT[:0], LABEL[:0], foreground_iou=0.0, background_iou=(0.0, 0.5))
    assert sampled.labels.tolist() == [0, 0]


# --- crowds: objects that are not annotated one by one


def draw_in_crowd(proposals: Tensor, crowds: Tensor, gt: Tensor = GT, **options) -> SampledRois:
    config, labels = SamplingConfig(**options), LABEL[: len(gt)]
    return sample_rois(proposals, gt, labels, config, torch.Generator().manual_seed(0), crowds=crowds)


def test_what_lies_in_a_crowd_is_no_background():
    """By half of its own area or more, however large the crowd is; the crowd itself is not drawn."""
    crowd = torch.tensor([[0.0, 0, 50, 1000]])  # the left half of each strip
    less = torch.tensor([[0.0, 0, 49.75, 1000]])
    background = strips(20, 30, 40)
    assert heights(draw_in_crowd(background, crowd), False) == []
    assert heights(draw_in_crowd(background, less), False) == [20, 30, 40]
    assert heights(draw_in_crowd(background, torch.cat((less, crowd))), False) == []
    assert heights(draw_in_crowd(background, crowd[:0]), False) == [20, 30, 40]


def test_an_object_in_a_crowd_is_learnt():
    everywhere = torch.tensor([[-10.0, -10, 500, 500]])
    sampled = draw_in_crowd(strips(20, 60, 70), everywhere)
    assert heights(sampled, True) == [60, 70, 100]
    assert heights(sampled, False) == []
    assert sampled.labels.tolist() == [7, 7, 7]


def test_a_crowd_without_an_object():
    crowd = torch.tensor([[0.0, 0, 100, 100]])
    far = torch.tensor([[300.0, 300, 350, 350]])
    sampled = draw_in_crowd(torch.cat((strips(20, 100), far)), crowd, GT[:0], background_iou=(0.0, 0.5))
    assert sampled.rois.tolist() == far.tolist()
    assert sampled.labels.tolist() == [0]


def test_same_seed_same_draw():
    proposals = strips(*FOREGROUND, *BACKGROUND)
    first, second, other = draw(proposals, seed=3), draw(proposals, seed=3), draw(proposals, seed=4)
    assert torch.equal(first.rois, second.rois)
    assert torch.equal(first.deltas, second.deltas)
    assert not torch.equal(first.rois, other.rois)


def test_every_candidate_has_its_chance():
    """Over many seeds each of 8 foreground and 8 background boxes is drawn about half the time."""
    proposals = strips(*FOREGROUND[:7], *BACKGROUND[:8])
    counts: dict[float, int] = {}
    for seed in range(200):
        sampled = draw(proposals, seed=seed, images_per_batch=1, rois_per_batch=8, foreground_fraction=0.5)
        for height in sampled.rois[:, 3].tolist():
            counts[height] = counts.get(height, 0) + 1
    assert len(counts) == 16
    assert sum(counts.values()) == 1600
    assert min(counts.values()) > 60  # 100 expected, standard deviation 7
    assert max(counts.values()) < 140


def test_targets_equal_a_computation_in_float64():
    generator = torch.Generator().manual_seed(0)
    gt = torch.tensor([[10.0, 20, 110, 90], [60, 40, 200, 180]])
    labels = torch.tensor([2, 9])
    jitter = torch.randn(200, 4, generator=generator) * 12
    proposals = gt.repeat(100, 1) + jitter
    sampled = draw(proposals, gt, labels, images_per_batch=1)
    foreground = 0
    for roi, label, deltas in zip(*(t.tolist() for t in (sampled.rois, sampled.labels, sampled.deltas)), strict=True):
        if label == 0:
            assert deltas == [0, 0, 0, 0]
            continue
        foreground += 1
        overlaps = [plain_iou(roi, box) for box in gt.tolist()]
        best = overlaps.index(max(overlaps))
        assert max(overlaps) >= 0.5
        assert label == labels[best]
        (px, py, pw, ph), (gx, gy, gw, gh) = centre_and_size(roi), centre_and_size(gt[best].tolist())
        expected = ((gx - px) / pw, (gy - py) / ph, math.log(gw / pw), math.log(gh / ph))
        assert deltas == pytest.approx(expected, abs=1e-5)
    assert foreground == 32


def centre_and_size(box):
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def plain_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def test_best_overlap_by_hand():
    gt = torch.tensor([[0.0, 0, 100, 100], [0, 0, 100, 40]])
    overlap, matched = best_overlap(strips(100, 40, 30), gt)
    assert overlap.tolist() == pytest.approx([1, 1, 0.75])
    assert matched.tolist() == [0, 1, 1]
    overlap, matched = best_overlap(strips(100, 40), gt[:0])
    assert overlap.tolist() == [0, 0]
    assert matched.shape == (2,)


def test_inputs_are_not_changed():
    proposals, gt = strips(*FOREGROUND, *BACKGROUND), GT.clone()
    before = proposals.clone()
    draw(proposals, gt)
    assert torch.equal(proposals, before)
    assert torch.equal(gt, GT)
