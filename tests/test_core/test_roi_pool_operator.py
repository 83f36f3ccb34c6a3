"""RoI pooling as an operator of torch, and in the surroundings programs run it in: processes, threads, full caches."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import ops
from torchvision.models.feature_extraction import get_graph_node_names

from frcnn_cli.core.roi_pool import RoIPool, memory, operator, roi_pool

ARGUMENTS = (3, 2, 1 / 16)


@pytest.fixture
def maps() -> Tensor:
    return torch.randn(2, 20, 9, 11, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def rois() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(2, (12, 1), generator=generator)
    return torch.cat((index, torch.rand(12, 4, generator=generator) * 200 - 20), dim=1)


# --- torch's own check: the schema, the gradient's registration, shapes and strides as torch.compile sees them


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # opcheck looks at its own copies
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_opcheck(maps, rois, dtype, layout):
    maps = maps.to(dtype, memory_format=layout)
    torch.library.opcheck(operator.pool, (maps, rois, *ARGUMENTS))
    torch.library.opcheck(operator.pool_argmax, (maps.requires_grad_(), rois, *ARGUMENTS))
    output, argmax = operator.pool_argmax(maps.detach(), rois, *ARGUMENTS)
    grad = torch.randn_like(output).requires_grad_()
    torch.library.opcheck(operator.pool_backward, (grad, argmax, rois, 2, 9, 11, 1 / 16))


def test_argmax_is_small():
    assert operator.pool_argmax(torch.zeros(1, 1, 181, 181), torch.zeros(1, 5), *ARGUMENTS)[1].dtype == torch.int16
    assert operator.pool_argmax(torch.zeros(1, 1, 182, 182), torch.zeros(1, 5), *ARGUMENTS)[1].dtype == torch.int32


class Net(nn.Module):
    """A convolution, RoI pooling, a layer on its output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.fc = nn.Conv2d(3, 8, 3), RoIPool(2, 0.5), nn.Linear(32, 4)

    def forward(self, images: Tensor, boxes: list[Tensor]) -> Tensor:
        return self.fc(self.pool(self.conv(images), boxes).permute(0, 2, 3, 1).flatten(1))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compile_without_a_graph_break(dynamic):
    torch.manual_seed(0)
    net, images = Net(), torch.randn(2, 3, 16, 20)
    boxes = [torch.tensor([[0.0, 0, 20, 10], [4, 4, 9, 30]]), torch.tensor([[2.0, 2, 30, 30]])]
    expected = net(images, boxes)
    expected.sum().backward()
    grads = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    result = compiled(images, boxes)
    torch.testing.assert_close(result, expected)
    result.sum().backward()
    torch.testing.assert_close([p.grad for p in net.parameters()], grads)
    with torch.no_grad():
        torch.testing.assert_close(compiled(images, boxes), expected)


def test_autocast_pools_what_the_convolution_gives():
    """In bfloat16, exactly; the gradient reaches the float32 weights."""
    torch.manual_seed(0)
    net, images, boxes = Net(), torch.randn(1, 3, 16, 20), [torch.tensor([[0.0, 0, 20, 10], [4, 4, 9, 30]])]
    with torch.autocast("cpu", torch.bfloat16):
        features = net.conv(images)
        pooled = net.pool(features, boxes)
    assert features.dtype == pooled.dtype == torch.bfloat16
    assert torch.equal(pooled.float(), ops.roi_pool(features.float(), boxes, 2, 0.5))
    pooled.float().sum().backward()
    assert net.conv.weight.grad.abs().sum() > 0


def test_inference_mode(maps, rois):
    with torch.inference_mode():
        assert torch.equal(roi_pool(maps, rois, *ARGUMENTS[:1], 1 / 16), ops.roi_pool(maps, rois, 3, 1 / 16))


def test_other_devices_are_refused(maps, rois):
    class Elsewhere:
        is_cuda, device = False, torch.device("xpu")

    with pytest.raises(NotImplementedError, match="not on xpu"):
        operator._gpu(Elsewhere())


# --- threads and processes


def test_from_several_python_threads_at_once(maps, rois):
    expected = ops.roi_pool(maps, rois, 3, 1 / 16)
    leaf = maps.clone().requires_grad_()
    (grad,) = torch.autograd.grad(roi_pool(leaf, rois, 3, 1 / 16).sum(), leaf)

    def work(_: int) -> bool:
        own = maps.clone().requires_grad_()
        result = roi_pool(own, rois, 3, 1 / 16)
        return torch.equal(result, expected) and torch.equal(torch.autograd.grad(result.sum(), own)[0], grad)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(60)))


class Pooled(Dataset):
    """Items that are pooled where they are loaded."""

    def __init__(self, maps: Tensor, rois: Tensor) -> None:
        self.maps, self.rois = maps, rois

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Tensor:
        return roi_pool(self.maps + i, self.rois, 3, 1 / 16)


@pytest.mark.parametrize(("context", "workers"), [("fork", 2), ("spawn", 1)])
def test_in_workers_of_a_data_loader(maps, rois, context, workers):
    roi_pool(maps, rois, 3, 1 / 16)  # the parent's threads are there before the fork
    loader = DataLoader(Pooled(maps, rois), batch_size=None, num_workers=workers, multiprocessing_context=context)
    for i, item in enumerate(loader):
        assert torch.equal(item, ops.roi_pool(maps + i, rois, 3, 1 / 16))


FORKED = """
import os, sys, torch
from frcnn_cli.core.roi_pool import roi_pool
torch.set_num_threads(2)
maps, rois = torch.rand(1, 128, 20, 20), torch.tensor([[0, 0.0, 0, 300, 300]] * 60)
expected = roi_pool(maps, rois, 7, 1 / 16)
child = os.fork()
if child == 0:
    # Compared by NumPy: torch.equal, like all of torch's parallel operators, waits in vain.
    os._exit(0 if (roi_pool(maps, rois, 7, 1 / 16).numpy() == expected.numpy()).all() else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
same = torch.equal(roi_pool(maps, rois, 7, 1 / 16), expected)
sys.exit(status if same else 2)
"""


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, timeout=100, capture_output=True, text=True
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_after_fork_of_a_process_with_threads():
    """The child has none of its parent's threads, and must not wait for them."""
    done = run_python(FORKED)
    assert done.returncode == 0, done.stderr


NOWHERE_TO_CACHE = """
import numba.core.caching, torch
for locator in numba.core.caching.CacheImpl._locator_classes:
    locator.from_function = classmethod(lambda cls, *_: None)  # what they say where nothing can be written
from frcnn_cli.core.roi_pool import roi_pool
print(roi_pool(torch.arange(12.0).view(1, 1, 3, 4), torch.tensor([[0, 0.0, 0, 3, 2]]), 2).flatten().tolist())
"""


def test_works_where_compiled_code_can_not_be_kept():
    done = run_python(NOWHERE_TO_CACHE)
    assert done.stdout.strip() == "[5.0, 7.0, 9.0, 11.0]", done.stderr


def test_compiled_code_is_kept_for_other_processes(tmp_path):
    code = (
        "import torch\nfrom frcnn_cli.core.roi_pool import cpu_kernels, roi_pool\n"
        "roi_pool(torch.rand(1, 1, 3, 4), torch.zeros(1, 5), 2)\n"
        "stats = cpu_kernels.pool_slab.stats\n"
        "print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))"
    )
    results = [run_python(code, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split() for _ in range(2)]
    assert results == [["0", "1"], ["1", "0"]]


def test_first_call_does_not_import_the_compiler_of_torch():
    """It takes longer than a photograph."""
    code = (
        "import sys, torch\nfrom frcnn_cli.core.roi_pool import roi_pool\n"
        "roi_pool(torch.rand(1, 1, 3, 4), torch.zeros(1, 5), 2)\nprint('torch._dynamo' in sys.modules)"
    )
    assert run_python(code).stdout.strip() == "False"


# --- memory


def test_memory_is_used_again_but_never_twice_at_a_time():
    shape = (memory.LARGE, 3)
    first = memory.empty(shape, torch.float32)
    first.fill_(1)
    address, view = first.data_ptr(), first[5:6]
    del first
    second = memory.empty(shape, torch.float32)
    assert second.data_ptr() != address  # the view still needs it
    second.fill_(2)
    assert view.eq(1).all()
    del view
    assert memory.empty(shape, torch.float32).data_ptr() == address


def test_waiting_memory_is_bounded():
    blocks = [memory.empty((memory.LARGE + 1000 * i,), torch.uint8) for i in range(20)]
    del blocks
    assert 0 < len(memory._free) <= 6
    memory.empty((100 * memory.LARGE,), torch.uint8)  # none is right: all go
    assert len(memory._free) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int16])
def test_memory_has_the_shape_and_begins_at_a_vector(dtype):
    for shape in ((0, 3), (5, 7), (memory.LARGE, 2)):
        tensor = memory.empty(shape, dtype)
        assert (tensor.shape, tensor.dtype) == (shape, dtype)
        assert tensor.is_contiguous()
    assert tensor.data_ptr() % 64 == 0


# --- torch.fx


class Pair(nn.Module):
    """RoI pooling by the function, of features that a layer made."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(20, 4, 1)

    def forward(self, images: Tensor, boxes: Tensor) -> Tensor:
        return roi_pool(self.conv(images), boxes, 3, 1 / 16) * 2


def test_fx_traces_layer_and_function(maps, rois):
    """A traced module has one node for RoI pooling, and computes the same."""
    layer = torch.fx.symbolic_trace(RoIPool(3, 1 / 16))
    assert torch.equal(layer(maps, rois), ops.roi_pool(maps, rois, 3, 1 / 16))
    pair = Pair()
    traced = torch.fx.symbolic_trace(pair)
    assert torch.equal(traced(maps, rois), pair(maps, rois))
    assert next(node.target for node in traced.graph.nodes if node.op == "call_function") is roi_pool
    maps.requires_grad_()
    traced(maps, rois).sum().backward()
    assert maps.grad.abs().sum() > 0


def test_torchvision_names_its_nodes():
    """One for each input and one for the layer, in training as in evaluation."""
    for names in get_graph_node_names(RoIPool(3, 1 / 16)):
        assert len(names) == 3
        assert names[-1] == "roi_pool"


def test_fx_traces_a_list_of_boxes(maps, rois):
    class Listed(nn.Module):
        def forward(self, images: Tensor, first: Tensor, second: Tensor) -> Tensor:
            return roi_pool(images, [first, second], 3, 1 / 16)

    parts = [rois[rois[:, 0] == index, 1:] for index in (0, 1)]
    assert torch.equal(torch.fx.symbolic_trace(Listed())(maps, *parts), ops.roi_pool(maps, parts, 3, 1 / 16))
