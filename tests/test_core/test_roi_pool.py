"""RoI pooling against torchvision's, bit for bit, and against equation 4 of the paper in plain Python."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision import ops

from frcnn_cli.core.roi_pool import RoIPool, roi_pool


def random_rois(generator: torch.Generator, count: int, images: int, width: float, height: float) -> Tensor:
    """RoIs of every kind: inside, across the border, outside, inverted (corners are drawn independently)."""
    extent = torch.tensor((width, height, width, height), dtype=torch.float64)
    corners = (torch.rand(count, 4, generator=generator, dtype=torch.float64) * 1.8 - 0.4) * extent
    index = torch.randint(images, (count, 1), generator=generator)
    return torch.cat((index.double(), corners), dim=1)


@pytest.fixture
def set_threads():
    """Let torch use so many threads, and give it back what it had."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


# --- forward, against torchvision


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("output_size", [1, 2, 6, 7, (3, 5), (7, 2)])
def test_equals_torchvision_bit_for_bit(dtype, output_size):
    generator = torch.Generator().manual_seed(0)
    for case in range(60):
        height, width = (int(v) for v in torch.randint(1, 45, (2,), generator=generator))
        scale = (1.0, 0.25, 1 / 16, 0.1)[case % 4]
        maps = torch.randn(2, 3, height, width, generator=generator, dtype=dtype)
        rois = random_rois(generator, 12, 2, width / scale, height / scale).to(dtype)
        expected = ops.roi_pool(maps, rois, output_size, scale)
        assert torch.equal(roi_pool(maps, rois, output_size, scale), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bin_edges_of_every_window_equal_torchvision(dtype):
    """P * (size / P) rounds up for some sizes and not for others, and not for the same ones in both precisions."""
    maps = torch.arange(130, dtype=dtype).view(1, 1, 1, 130)
    maps = torch.cat((maps, -maps), dim=1)  # the last and the first cell of each bin
    for bins in range(1, 25):
        ends = torch.arange(128, dtype=dtype)
        zero = torch.zeros_like(ends)
        rois = torch.stack((zero, zero, zero, ends, zero), dim=1)
        assert torch.equal(roi_pool(maps, rois, (1, bins)), ops.roi_pool(maps, rois, (1, bins)))


@pytest.mark.parametrize("scale", [1 / 16, 0.25, 1.0])
def test_corners_at_exact_halves_equal_torchvision(scale):
    """n + 0.5 cells: C rounds away from zero, torch and NumPy to even."""
    maps = torch.arange(2 * 9 * 11, dtype=torch.float32).view(1, 2, 9, 11)
    halves = torch.arange(-4, 13) + 0.5
    first, last = torch.meshgrid(halves, halves, indexing="ij")
    corners = torch.stack((first, first.flip(0), last, last.flip(0)), dim=2).view(-1, 4) / scale
    rois = torch.cat((torch.zeros(len(corners), 1), corners), dim=1)
    assert torch.equal(roi_pool(maps, rois, 3, scale), ops.roi_pool(maps, rois, 3, scale))


def test_halves_round_away_from_zero_by_hand():
    row = torch.tensor([10.0, 20.0, 30.0, 40.0, 50.0]).view(1, 1, 1, 5)
    # 0.5 -> 1 and 2.5 -> 3: to even it would be cells 0..2, and the answer 30.
    assert roi_pool(row, torch.tensor([[0, 8.0, 0, 40.0, 0]]), 1, 1 / 16).item() == 40
    # -0.5 -> -1: the window is cells -1..0, two bins of one cell, the first of them off the map.
    assert roi_pool(row, torch.tensor([[0, -8.0, 0, 0.0, 0]]), (1, 2), 1 / 16).flatten().tolist() == [0, 10]
    # Just below a half goes down, in float64 too, where adding 0.5 would reach 1.
    below = torch.tensor([[0, 0.0, 0, 0.5 - 2**-54, 0]], dtype=torch.float64)
    assert roi_pool(row.double(), below, 1).item() == 10


SPECIAL = {
    "one cell": (5, 3, 5, 3),
    "whole image": (0, 0, 10, 7),
    "partly outside": (-6, -5, 4, 3),
    "far beyond every side": (-100, -100, 100, 100),
    "left of the map": (-30, 1, -20, 5),
    "below the map": (1, 30, 5, 40),
    "inverted": (8, 6, 2, 1),
    "inverted in x": (8, 1, 2, 6),
    "huge": (-1e6, -1e6, 1e6, 1e6),
}


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("output_size", [1, 3, 7])
def test_special_windows_equal_torchvision(name, output_size):
    maps = torch.randn(1, 4, 8, 11, generator=torch.Generator().manual_seed(1))
    rois = torch.tensor([(0.0, *SPECIAL[name])])
    assert torch.equal(roi_pool(maps, rois, output_size), ops.roi_pool(maps, rois, output_size))


def test_ten_thousand_rois_over_fifty_maps_equal_torchvision():
    """Of every kind, with and without the argmax, at the sizes that networks have."""
    generator = torch.Generator().manual_seed(10)
    for case in range(50):
        height, width = (int(v) for v in torch.randint(1, 64, (2,), generator=generator))
        channels = (1, 3, 16, 33, 64, 112)[case % 6]
        maps = torch.randn(2, channels, height, width, generator=generator)
        rois = random_rois(generator, 200, 2, width * 16, height * 16)
        rois[::4, 1:] = (rois[::4, 1:] / 8).round() * 8  # exact halves
        rois[1::50, 1:] = torch.tensor((0, 0, width * 16 - 1, height * 16 - 1))
        rois[2::50, 3:] = rois[2::50, 1:3]  # one cell
        rois = rois.float()
        expected = ops.roi_pool(maps, rois, 7, 1 / 16)
        assert same_bits(roi_pool(maps, rois, 7, 1 / 16), expected)
        assert same_bits(roi_pool(maps.requires_grad_(), rois, 7, 1 / 16), expected)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal, and zeros of the same sign."""
    integer = {torch.float32: torch.int32, torch.float64: torch.int64}[a.dtype]
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(integer), b.contiguous().view(integer))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 15, 16, 31, 48, 64, 80, 130, 192])
@pytest.mark.parametrize("train", [False, True])
def test_every_number_of_channels(channels, dtype, train):
    """Whole vectors and rests of them, below and above the size from which the output is written past the cache."""
    generator = torch.Generator().manual_seed(channels)
    maps = torch.randn(1, channels, 12, 15, generator=generator, dtype=dtype).requires_grad_(train)
    for count in (3, 150):
        rois = random_rois(generator, count, 1, 15, 12).to(dtype)
        assert same_bits(roi_pool(maps, rois, (6, 7)), ops.roi_pool(maps, rois, (6, 7)))


@pytest.mark.parametrize("spoil", ["nan", "-inf", "inf", "negative zeros", "all nan", "all -inf"])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("count", [2, 400])
def test_special_values_equal_torchvision(spoil, train, count):
    """400 RoIs are pooled from the maxima of 2 x 2 windows."""
    generator = torch.Generator().manual_seed(11)
    maps = torch.randn(1, 32, 9, 14, generator=generator)
    chosen = torch.rand(maps.shape, generator=generator) < 0.6
    if spoil == "negative zeros":
        maps = torch.where(chosen, -0.0, 0.0)
    else:
        maps[chosen if "all" not in spoil else ...] = float(spoil.split()[-1])
    rois = random_rois(generator, count, 1, 14, 9).float()
    maps.requires_grad_(train)
    assert same_bits(roi_pool(maps, rois, 3), ops.roi_pool(maps, rois, 3))


def test_map_of_more_cells_than_int16_counts():
    """The argmax is int32 then."""
    maps = torch.randn(1, 4, 200, 190, generator=torch.Generator().manual_seed(12))
    rois = torch.tensor([[0, 0.0, 0, 189, 199], [0, 150.0, 180, 189, 199]])
    own, theirs = gradients(roi_pool, maps, None, rois, 2), gradients(ops.roi_pool, maps, None, rois, 2)
    assert torch.equal(own, theirs)
    assert own[:, :, 180:].sum() > 4


def test_window_wholly_outside_is_zero_though_the_map_is_negative():
    maps = torch.full((1, 2, 4, 4), -5.0)
    outside = torch.tensor([[0, 50.0, 50, 60, 60], [0, -60.0, 0, -50, 3]])
    assert torch.equal(roi_pool(maps, outside, 2), torch.zeros(2, 2, 2, 2))
    assert torch.equal(roi_pool(maps, torch.tensor([[0, 0.0, 0, 3, 3]]), 2), torch.full((1, 2, 2, 2), -5.0))


def test_list_of_boxes_equals_indexed_rois():
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn(3, 2, 12, 9, generator=generator)
    boxes = [torch.rand(n, 4, generator=generator) * 9 for n in (4, 0, 3)]
    rois = torch.cat([torch.cat((torch.full((len(b), 1), float(i)), b), dim=1) for i, b in enumerate(boxes)])
    result = roi_pool(maps, boxes, (2, 3))
    assert torch.equal(result, roi_pool(maps, rois, (2, 3)))
    assert torch.equal(result, ops.roi_pool(maps, boxes, (2, 3)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_the_exact_maximum(dtype):
    """A maximum needs no rounding: the answer is float32's, and the type is the input's; coordinates stay float32."""
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn(2, 3, 20, 30, generator=generator).to(dtype)
    rois = random_rois(generator, 40, 2, 480, 320).float()
    result = roi_pool(maps, rois, 7, 1 / 16)
    assert result.dtype == dtype
    assert torch.equal(result.float(), ops.roi_pool(maps.float(), rois, 7, 1 / 16))


def memory_layouts(maps: Tensor) -> dict[str, Tensor]:
    n, c, h, w = maps.shape
    wide = torch.zeros(n, c, h, 2 * w, dtype=maps.dtype)
    wide[..., ::2] = maps
    return {
        "channels_last": maps.to(memory_format=torch.channels_last),
        "transposed": maps.transpose(2, 3).contiguous().transpose(2, 3),
        "every second column": wide[..., ::2],
        "expanded": maps[:, :1].expand(n, c, h, w),
    }


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "every second column", "expanded"])
def test_memory_layout_does_not_matter(layout):
    generator = torch.Generator().manual_seed(4)
    maps = memory_layouts(torch.randn(2, 3, 10, 13, generator=generator))[layout]
    rois = random_rois(generator, 20, 2, 13, 10).float()
    own, other = maps.detach().requires_grad_(), maps.detach().clone().contiguous().requires_grad_()
    result, expected = roi_pool(own, rois, 3), ops.roi_pool(other, rois, 3)
    assert torch.equal(result, expected)
    weight = torch.randn(expected.shape, generator=generator)
    (result * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(own.grad, other.grad, rtol=1e-6, atol=1e-6)


def test_input_is_not_changed():
    maps = torch.randn(1, 2, 5, 5).to(memory_format=torch.channels_last)
    rois = torch.tensor([[0, 0.0, 0, 4, 4]])
    before = maps.clone(), rois.clone()
    roi_pool(maps, rois, 2)
    assert torch.equal(maps, before[0])
    assert torch.equal(rois, before[1])


@pytest.mark.parametrize("shape", [(1, 3, 0, 5), (1, 3, 4, 0), (1, 0, 4, 5)])
def test_map_without_cells_or_channels(shape):
    """Every bin is off the map."""
    result = roi_pool(torch.zeros(shape), torch.tensor([[0, 0.0, 0, 3, 3]]), 2)
    assert torch.equal(result, torch.zeros(1, shape[1], 2, 2))


def test_no_rois():
    maps = torch.randn(2, 3, 4, 5, requires_grad=True)
    result = roi_pool(maps, torch.zeros(0, 5), (2, 3))
    assert result.shape == (0, 3, 2, 3)
    result.sum().backward()
    assert torch.equal(maps.grad, torch.zeros_like(maps))
    assert roi_pool(maps.detach(), [torch.zeros(0, 4), torch.zeros(0, 4)], 2).shape == (0, 3, 2, 2)


def test_output_is_channels_last():
    """The head reads it cell by cell without a copy."""
    result = roi_pool(torch.randn(1, 3, 6, 6), torch.tensor([[0, 0.0, 0, 5, 5]] * 4), 2)
    assert result.permute(0, 2, 3, 1).is_contiguous()


def test_layer_is_the_function():
    layer = RoIPool((2, 3), 0.5)
    maps, rois = torch.randn(1, 2, 6, 6), torch.tensor([[0, 1.0, 2, 9, 11]])
    assert torch.equal(layer(maps, rois), roi_pool(maps, rois, (2, 3), 0.5))
    assert "output_size=(2, 3), spatial_scale=0.5" in repr(layer)


# --- backward


def gradients(pool, maps: Tensor, weight: Tensor | None, *arguments) -> Tensor:
    leaf = maps.detach().clone().requires_grad_()
    result = pool(leaf, *arguments)
    result.backward(torch.ones_like(result) if weight is None else weight)
    return leaf.grad


@pytest.mark.parametrize("kind", ["random", "whole numbers", "constant"])
def test_gradient_equals_torchvision(kind):
    """Whole numbers and constants tie: the same one of the equal cells must be chosen."""
    generator = torch.Generator().manual_seed(5)
    for _ in range(30):
        height, width = (int(v) for v in torch.randint(1, 25, (2,), generator=generator))
        maps = torch.randn(2, 3, height, width, generator=generator)
        if kind == "whole numbers":
            maps = torch.randint(3, maps.shape, generator=generator).float()
        elif kind == "constant":
            maps = torch.full_like(maps, -1.0)
        rois = random_rois(generator, 15, 2, width * 16, height * 16).float()
        weight = torch.randn(15, 3, 4, 3, generator=generator)
        own = gradients(roi_pool, maps, weight, rois, (4, 3), 1 / 16)
        theirs = gradients(ops.roi_pool, maps, weight, rois, (4, 3), 1 / 16)
        assert own.abs().sum() > 0 or theirs.abs().sum() == 0
        torch.testing.assert_close(own, theirs, rtol=1e-6, atol=1e-6)  # sums in another order


def rounded(value: float) -> int:
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def plain_pool(maps, rois, rows, columns, scale, grad_output):
    """Pooling and equation 4 cell by cell on nested lists: the outputs, and dL/dx."""
    height, width = len(maps[0][0]), len(maps[0][0][0])
    grad = [[[[0.0] * width for _ in range(height)] for _ in image] for image in maps]
    outputs = []
    for r, (index, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (rounded(v * scale) for v in corners)
        bin_width, bin_height = max(x2 - x1 + 1, 1) / columns, max(y2 - y1 + 1, 1) / rows
        for c, plane in enumerate(maps[int(index)]):
            for row in range(rows):
                ys = range(math.floor(row * bin_height) + y1, math.ceil((row + 1) * bin_height) + y1)
                for column in range(columns):
                    xs = range(math.floor(column * bin_width) + x1, math.ceil((column + 1) * bin_width) + x1)
                    cells = [(y, x) for y in ys for x in xs if 0 <= y < height and 0 <= x < width]
                    if not cells:
                        outputs.append(0.0)
                        continue
                    y, x = max(cells, key=lambda cell: plane[cell[0]][cell[1]])  # max() keeps the first of equals
                    outputs.append(plane[y][x])
                    grad[int(index)][c][y][x] += grad_output[r][c][row][column]
    return outputs, grad


@pytest.mark.parametrize("ties", [False, True])
def test_float64_gradient_is_equation_4_exactly(ties):
    generator = torch.Generator().manual_seed(6)
    for _ in range(15):
        height, width = (int(v) for v in torch.randint(1, 8, (2,), generator=generator))
        maps = torch.randn(2, 2, height, width, generator=generator, dtype=torch.float64)
        if ties:
            maps = maps.round()
        rois = random_rois(generator, 6, 2, width * 4, height * 4)
        weight = torch.randn(6, 2, 3, 2, generator=generator, dtype=torch.float64)
        outputs, grad = plain_pool(maps.tolist(), rois.tolist(), 3, 2, 0.25, weight.tolist())
        assert roi_pool(maps, rois, (3, 2), 0.25).flatten().tolist() == outputs
        assert torch.equal(
            gradients(roi_pool, maps, weight, rois, (3, 2), 0.25), torch.tensor(grad, dtype=torch.float64)
        )


def test_first_maximum_in_row_major_order_gets_the_gradient():
    maps = torch.tensor([[[[0.0, 7, 0], [7, 7, 0], [0, 0, 7]]]])
    grad = gradients(roi_pool, maps, None, torch.tensor([[0, 0.0, 0, 2, 2]]), 1)
    assert grad.flatten().tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert gradients(
        roi_pool, torch.zeros(1, 1, 3, 3), None, torch.tensor([[0, 1.0, 1, 2, 2]]), 1
    ).nonzero().tolist() == [[0, 0, 1, 1]]


def test_a_cell_adds_up_over_rois_and_bins():
    """The centre of 3x3 is in all four overlapping bins of 2x2, and there are two such RoIs."""
    maps = torch.zeros(1, 1, 3, 3)
    maps[0, 0, 1, 1] = 9
    grad = gradients(roi_pool, maps, None, torch.tensor([[0, 0.0, 0, 2, 2]] * 2), 2)
    assert grad[0, 0, 1, 1] == 8
    assert grad.sum() == 8


def test_empty_bins_pass_no_gradient():
    """Left half outside: of 2x2 bins the left ones are 0, and only the right ones pass gradient."""
    maps = torch.full((1, 1, 4, 2), -1.0)
    rois = torch.tensor([[0, -2.0, 0, 1, 3]])
    assert roi_pool(maps, rois, 2).flatten().tolist() == [0, -1, 0, -1]
    weight = torch.tensor([100.0, 1, 100, 2]).view(1, 1, 2, 2)
    grad = gradients(roi_pool, maps, weight, rois, 2)
    assert grad.flatten().tolist() == [1, 0, 0, 0, 2, 0, 0, 0]


def test_gradcheck():
    """Distinct values far apart, so that the maximum stays where it is within the finite difference."""
    maps = torch.randperm(2 * 2 * 5 * 6, generator=torch.Generator().manual_seed(7)).double().view(2, 2, 5, 6)
    maps.requires_grad_()
    rois = torch.tensor([[0, 0, 0, 20, 18], [1, -5, 2, 11, 30], [1, 9, 9, 1, 1], [0, 90, 90, 99, 99]]).double()
    assert torch.autograd.gradcheck(lambda m: roi_pool(m, rois, (2, 3), 0.25), (maps,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gradient_is_summed_in_float32(dtype):
    """2048 + 1 is 2048 in float16 (256 + 1 in bfloat16): adding one by one in half precision would get stuck."""
    count = 4096
    grad = gradients(roi_pool, torch.ones(1, 1, 1, 1, dtype=dtype), None, torch.zeros(count, 5), 1)
    assert grad.dtype == dtype
    assert grad.item() == count


@pytest.mark.parametrize("channels", [5, 96, 320])
def test_same_bits_for_any_number_of_threads(set_threads, channels):
    generator = torch.Generator().manual_seed(8)
    maps = torch.randn(2, channels, 20, 30, generator=generator)
    rois = random_rois(generator, 101, 2, 480, 320).float()
    weight = torch.randn(101, channels, 7, 7, generator=generator)
    results = []
    for threads in (1, 2, 5):
        set_threads(threads)
        assert torch.get_num_threads() == threads
        results.append((roi_pool(maps, rois, 7, 1 / 16), gradients(roi_pool, maps, weight, rois, 7, 1 / 16)))
    for output, grad in results[1:]:
        assert same_bits(output, results[0][0])
        assert same_bits(grad, results[0][1])
    assert torch.equal(results[0][0], ops.roi_pool(maps, rois, 7, 1 / 16))


def test_second_derivative():
    """The gradient's own gradient: where the maxima are does not depend on it, so it is linear."""
    maps = torch.randperm(60, generator=torch.Generator().manual_seed(13)).double().view(1, 2, 5, 6).requires_grad_()
    rois = torch.tensor([[0, 0, 0, 20, 18], [0, -5, 2, 11, 30], [0, 90, 90, 99, 99]]).double()
    assert torch.autograd.gradgradcheck(lambda m: roi_pool(m, rois, (2, 3), 0.25), (maps,))


# --- faults

MAPS = torch.zeros(2, 3, 4, 4)
ROI = (0.0, 0.0, 0.0, 3.0, 3.0)


def rois_with(place: int, value: float) -> Tensor:
    rois = torch.tensor([ROI, ROI])
    rois[1, place] = value
    return rois


@pytest.mark.parametrize("index", [-1.0, 2.0, 0.5, 1.0001])
def test_bad_batch_index(index):
    with pytest.raises(ValueError, match=r"batch index that is not one of 0 \.\. 1"):
        roi_pool(MAPS, rois_with(0, index), 2)


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_coordinates_must_be_finite(place, value):
    with pytest.raises(ValueError, match="not finite"):
        roi_pool(MAPS, rois_with(place, value), 2)


@pytest.mark.parametrize(
    ("maps", "rois"),
    [(MAPS.long(), torch.tensor([ROI])), (MAPS, torch.tensor([ROI]).long()), (MAPS.bool(), torch.tensor([ROI]))],
)
def test_types_must_be_floating_point(maps, rois):
    with pytest.raises(TypeError, match="floating point"):
        roi_pool(maps, rois, 2)


@pytest.mark.parametrize(
    ("maps", "boxes", "message"),
    [
        (MAPS[0], torch.tensor([ROI]), "input must be"),
        (MAPS, torch.tensor([ROI])[:, 1:], "boxes must be"),
        (MAPS, torch.tensor(ROI), "boxes must be"),
        (MAPS, [torch.tensor([ROI])] * 2, r"boxes\[0\] must be"),
        (MAPS, [torch.zeros(1, 4), torch.zeros(4)], r"boxes\[1\] must be"),
        (MAPS, [], "0 in the list, for 2 images"),
        (MAPS, [torch.zeros(1, 4)] * 3, "3 in the list, for 2 images"),
    ],
)
def test_wrong_shapes(maps, boxes, message):
    with pytest.raises(ValueError, match=message):
        roi_pool(maps, boxes, 2)


@pytest.mark.parametrize("output_size", [0, (0, 2), (2, -1)])
def test_output_size_must_be_positive(output_size):
    with pytest.raises(ValueError, match="output_size"):
        roi_pool(MAPS, torch.tensor([ROI]), output_size)
