"""A quantised network whose first layer reads the image's own bytes.

Quantising a normalised pixel undoes its normalisation: what is multiplied and shifted into float32 comes back as a
number from 0 to 255. Where all channels are normalised alike, the byte itself serves as the quantised value. So the
image is neither converted nor rounded, and the network begins with its first convolution.

That one sees four channels: the image is padded by one, whose weights are 0. ONNX Runtime's convolution of bytes takes
four channels at a time, and where they are three it lays out every window anew, for twice the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from frcnn_cli.core.normalisation import Normalisation
from frcnn_cli.engine.export.metadata import INPUT


@dataclass(frozen=True)
class Pixels:
    """How a byte p stands for a normalised pixel: (p - zero) * step + rest.

    Attributes:
        step: between two values.
        zero: the byte that stands for 0, which convolutions pad with.
        rest: what is missing, half a step at most. It moves into the bias of the first convolution, and so is missing
            only in what that one pads the image with.
    """

    step: float
    zero: int
    rest: float

    @classmethod
    def of(cls, model: ModelProto, normalisation: Normalisation) -> Pixels | None:
        """Those of a model that `export_checkpoint` made; None where its channels are normalised differently, where 0
        is no pixel's value, or where no convolution comes first."""
        (pad,) = (node for node in model.graph.node if node.name.startswith(f"{INPUT}/pad_"))
        if [node.op_type for node in model.graph.node if pad.output[0] in node.input] != ["Conv"]:
            return None
        steps = {normalisation.scale / std for std in normalisation.std}
        shifts = {-mean / std for mean, std in zip(normalisation.mean, normalisation.std, strict=True)}
        if len(steps) > 1 or len(shifts) > 1:
            return None
        step, shift = steps.pop(), shifts.pop()
        zero = round(-shift / step)
        return cls(step, zero, shift + zero * step) if 0 <= zero <= 255 else None

    def prepare(self, model: ModelProto) -> dict[str, list[dict[str, Any]]]:
        """Move the rest into the first convolution's bias, in place.

        Args:
            model: as `export_checkpoint` made it.

        Returns:
            What to tell the quantiser of the convolution's input, by its name.
        """
        constants = {value.name: value for value in model.graph.initializer}
        (shift,) = (node for node in model.graph.node if node.name.startswith(f"{INPUT}/add_"))
        first = next(node for node in model.graph.node if node.op_type == "Conv")
        _set(constants[shift.input[1]], np.full((1, 1, 1, 1), -self.zero * self.step, np.float32))
        weight = numpy_helper.to_array(constants[first.input[1]])
        moved = self.rest * weight.sum(axis=(1, 2, 3))
        if len(first.input) == 3:
            _set(constants[first.input[2]], numpy_helper.to_array(constants[first.input[2]]) + moved)
        else:
            first.input.append("constant_of_pixels")
            model.graph.initializer.append(numpy_helper.from_array(moved.astype(np.float32), first.input[2]))
        how = {"scale": np.array(self.step, np.float32), "zero_point": np.array(self.zero, np.uint8)}
        return {first.input[0]: [how]}

    def connect(self, model: ModelProto) -> None:
        """Lead the bytes to where the quantised pixels were, in place, past what normalised them."""
        graph = model.graph
        producers = {name: node for node in graph.node for name in node.output}
        first = next(node for node in graph.node if node.op_type == "Conv")
        restored = producers[first.input[0]]
        quantised = producers[restored.input[0]]
        pad = producers[quantised.input[0]]
        nodes = {node.op_type: node for node in graph.node if node.name.startswith(f"{INPUT}/")}
        cast, unsqueeze = nodes["Cast"], nodes["Unsqueeze"]
        shape = nodes["Shape"]
        unsqueeze.input[0] = cast.input[0]
        shape.input[0] = pad.input[0] = unsqueeze.output[0]
        pad.input.append(quantised.input[2])  # the zero point
        restored.input[0] = pad.output[0]
        for node in (cast, nodes["Mul"], nodes["Add"], quantised):
            graph.node.remove(node)
        _widen(graph, pad, producers[first.input[1]].input[0])
        known = [value for value in graph.value_info if not value.name.startswith(f"{INPUT}/")]  # of the types before
        del graph.value_info[:]
        graph.value_info.extend(known)


def _widen(graph: GraphProto, pad: NodeProto, weights: str) -> None:
    """Have a channel of nothing beside the image's, for which the weights, int8 [O, 3, h, w], are 0."""
    constants = {value.name: value for value in graph.initializer}
    weight = numpy_helper.to_array(constants[weights])
    weight = np.pad(weight, ((0, 0), (0, -weight.shape[1] % 4), (0, 0), (0, 0)))
    constants[weights].CopyFrom(numpy_helper.from_array(weight, weights))
    (pads,) = (node for node in graph.node if pad.input[1] in node.output)
    before = numpy_helper.to_array(constants[pads.input[0]]).copy()  # N C H W at the beginning, N C at the end
    before[5] = weight.shape[1] - 3
    graph.initializer.append(numpy_helper.from_array(before, "pads_of_channels"))
    pads.input[0] = "pads_of_channels"


def _set(constant: Any, value: np.ndarray) -> None:
    constant.CopyFrom(numpy_helper.from_array(value.astype(np.float32), constant.name))
