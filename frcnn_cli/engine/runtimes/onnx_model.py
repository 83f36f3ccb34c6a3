"""An exported model in two halves: ONNX Runtime looks at the image and answers for the RoIs, RoI pooling is ours.

The file has the whole detector. Its graph is cut before and after RoI pooling, so that features are computed once for
however many RoIs there are, while the proposals are still being made.

Each half takes the number of threads that it may use, for which ONNX Runtime has a session of its own: threads of one
session wait for one another after every layer, and wait long where something else keeps a core from one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from frcnn_cli.core.roi_pool.arrays import pool_array
from frcnn_cli.engine.export.metadata import DELTAS, FEATURES, IMAGE, OPERATORS, OPSET, POOLED, SCORES, OnnxAbout
from frcnn_cli.engine.stopwatch import BACKBONE, HEAD, POOLING, PartTimes
from frcnn_cli.errors import DataError, UsageError, ran_out_of_memory
from frcnn_cli.files import read_bytes, reason

if TYPE_CHECKING:  # who lacks one of the packages is told so
    from onnx import ModelProto
    from onnxruntime import InferenceSession


class OnnxModel:
    """The two halves, ready to run.

    Args:
        path: of an ONNX file that `frcnn export` wrote.

    Attributes:
        about: what the file says of itself.
        times: where the seconds of each half are added.

    Raises:
        UsageError: onnx or onnxruntime is not installed.
        DataError: not such a file, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        model, self.about = _read(path)
        self.times = PartTimes()
        names = (FEATURES, POOLED)
        if self.about.int8 is not None:
            names = (self.about.int8.features, self.about.int8.pooled)
        self._backbone = _Sessions(path, lambda: _backbone(model, names[0]))
        self._head = _Sessions(path, lambda: _head(model, names[1]))

    def open(self, backbone: int, head: int) -> None:
        """Make the halves ready for so many threads, which is otherwise done when they are first used.

        Raises:
            DataError: ONNX Runtime cannot run the model.
        """
        self._backbone.of(backbone)
        self._head.of(head)

    def features(self, image: np.ndarray, threads: int) -> np.ndarray:
        """The map of uint8 RGB [H, W, 3], cell by cell: float32 or uint8 [h, w, C]."""
        session = self._backbone.of(threads)
        with self.times.part(BACKBONE), _running(self.path):
            (cells,) = session.run(None, {IMAGE: image})
            if cells.ndim != 4 or len(cells) != 1 or cells.dtype not in (np.float32, np.uint8):
                raise ValueError(f"features are {cells.dtype} {list(cells.shape)}")
        return cells[0]

    def pool(self, features: np.ndarray, boxes: np.ndarray, threads: int) -> np.ndarray:
        """What the head reads, [K, P * P * C], of boxes [K, 4] in pixels of the image."""
        with self.times.part(POOLING):
            pooled = pool_array(features, boxes, self.about.roi_size, 1 / self.about.stride, threads)
        return pooled.reshape(len(pooled), -1)

    def answer(self, pooled: np.ndarray, threads: int) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities float32 [K, 1 + C] and deltas float32 [K, C, 4], or [K, 1, 4] where all classes share one."""
        session = self._head.of(threads)
        with self.times.part(HEAD), _running(self.path):
            scores, deltas = session.run([SCORES, DELTAS], {session.get_inputs()[0].name: pooled})
            count, classes = len(pooled), len(self.about.classes)
            if scores.shape != (count, 1 + classes) or deltas.shape not in ((count, classes, 4), (count, 1, 4)):
                raise ValueError(f"answers are {list(scores.shape)} and {list(deltas.shape)}")
            if count and not np.isfinite(scores).all():  # nothing would be found, without a word
                raise ValueError("scores are not finite")
        return scores, deltas


@contextmanager
def _running(path: Path) -> Iterator[None]:
    """Have what goes wrong told as a fault of the file.

    Raises:
        DataError: the graph does not do what its metadata say.
    """
    try:
        yield
    except Exception as error:  # ONNX Runtime has a type for each of its codes
        if ran_out_of_memory(error):
            raise
        raise DataError(f"{path}: ONNX Runtime cannot run it ({reason(error)})") from error


class _Sessions:
    """One half of a model, ready for one number of threads after another.

    Args:
        path: of the file, for messages.
        cut: makes the half.
    """

    def __init__(self, path: Path, cut: Callable[[], ModelProto]) -> None:
        self._path, self._cut = path, cut
        self._made: dict[int, InferenceSession] = {}
        self._lock = Lock()

    def of(self, threads: int) -> InferenceSession:
        """The session that uses so many threads.

        Raises:
            DataError: ONNX Runtime cannot run the model.
        """
        with self._lock:
            if threads not in self._made:
                with _running(self._path):
                    self._made[threads] = _session(self._cut(), threads)
            return self._made[threads]


def _read(path: Path) -> tuple[ModelProto, OnnxAbout]:
    """The model of a file, and what it says of itself."""
    try:
        import onnx
        import onnxruntime  # noqa: F401 - to say at once that it is missing
    except ImportError as error:
        name = (error.name or "onnx").partition(".")[0]
        raise UsageError(f"--runtime onnx: {name} is not installed; pip install {name}") from error
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_from_string(read_bytes(path))
    except (DecodeError, ValueError) as error:
        raise DataError(f"{path}: not an ONNX model, or a damaged one") from error
    about = OnnxAbout.of({entry.key: entry.value for entry in model.metadata_props}, path)
    try:
        _check_graph(model)
    except _NumbersError as error:
        raise DataError(f"{path}: not an ONNX model, or a damaged one") from error
    except ValueError as error:
        raise DataError(f"{path}: {reason(error)}; `frcnn export` writes no such file") from error
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets.get("") != OPSET:
        raise DataError(f"{path}: opset {opsets.get('')} of ONNX; this program reads {OPSET}: export it anew")
    return model, about


class _NumbersError(ValueError):
    """Numbers are not as many as the file says."""


def _check_graph(model: ModelProto) -> None:
    """Refuse a graph that reads other files, computes what no exported model does, or has numbers that are none.

    Raises:
        ValueError: it does.
    """
    from onnx import TensorProto, numpy_helper

    constant = set()
    for value in model.graph.initializer:
        constant.add(value.name)
        if value.data_location == TensorProto.EXTERNAL or value.external_data:
            raise ValueError(f"its numbers {value.name[:80]!r} are in another file")
        if value.data_type == TensorProto.FLOAT:
            try:
                numbers = numpy_helper.to_array(value)
            except Exception as error:  # of every kind, where fewer are there than it says
                raise _NumbersError from error
            if not np.isfinite(numbers).all():
                raise ValueError(f"its numbers {value.name[:80]!r} are not all finite")
    if model.functions or model.graph.sparse_initializer:
        raise ValueError("it has functions or sparse numbers")
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            raise ValueError(f"it has the operator {f'{node.domain}.{node.op_type}'.strip('.')[:80]!r}")
        if any(attribute.HasField("t") or attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise ValueError(f"its operator {node.op_type!r} has numbers or a graph of its own")
        if constant.issuperset(filter(None, node.input)):  # ONNX Runtime would compute it before it is asked
            if node.op_type != "DequantizeLinear":
                raise ValueError(f"its operator {node.op_type!r} computes the same whatever the image")
            constant.update(node.output)


def _sums_overflow() -> bool:
    """Whether this processor adds products of bytes in sixteen bits; see `engine.export.quantisation`."""
    from llvmlite.binding import get_host_cpu_features

    has = get_host_cpu_features().get
    return bool(has("avx2")) and not (has("avx512vnni") or has("avxvnni"))


def _session(model: ModelProto, threads: int) -> InferenceSession:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that wait for work wait asleep: the other core has proposals to make.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if _sums_overflow():
        options.add_session_config_entry("session.x64quantprecision", "1")  # exact, in twice the time
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _backbone(model: ModelProto, features: str) -> ModelProto:
    """From the image to the features, cell by cell: [1, h, w, C]."""
    from onnx import helper

    node = helper.make_node("Transpose", [features], ["cells"], perm=[0, 2, 3, 1])
    part = _cut(model, [features])
    part.graph.node.append(node)
    del part.graph.output[:]
    part.graph.output.append(helper.make_empty_tensor_value_info("cells"))
    return part


def _head(model: ModelProto, pooled: str) -> ModelProto:
    """From what was pooled to scores and deltas."""
    from onnx import TensorProto, helper

    kind = TensorProto.FLOAT if pooled == POOLED else TensorProto.UINT8
    part = _cut(model, [SCORES, DELTAS], pooled)
    part.graph.input.append(helper.make_tensor_value_info(pooled, kind, ["count", None]))
    return part


def _cut(model: ModelProto, outputs: list[str], given: str | None = None) -> ModelProto:
    """The nodes that lead to some values, from the image or from a value that is given."""
    import onnx
    from onnx import helper

    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    needed, nodes = set(outputs), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output) and given not in node.output:
            needed.update(node.input)
            nodes.append(node)
    for field, kept in (
        (graph.node, nodes[::-1]),
        (graph.initializer, [value for value in model.graph.initializer if value.name in needed]),
        (graph.input, [value for value in model.graph.input if value.name in needed]),
        (graph.output, [helper.make_empty_tensor_value_info(name) for name in outputs]),
        (graph.value_info, []),
    ):
        del field[:]
        field.extend(kept)
    return part
