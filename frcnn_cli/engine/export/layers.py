"""A network of torch as nodes of ONNX: its forward pass is traced by torch.fx, and each layer it meets is written.

Batch norm disappears into the convolution before it where the network has it so already (`core.frozen_norm`), and ONNX
Runtime does the rest. What is not in the two tables here cannot be exported; to add a layer takes a line.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, fx, nn

from frcnn_cli.core.frozen_norm import AbsorbedNorm, ScaledConv
from frcnn_cli.core.necks import TopDownNeck
from frcnn_cli.engine.export.graph import GraphBuilder
from frcnn_cli.engine.export.metadata import NECK
from frcnn_cli.errors import UsageError


def add_network(builder: GraphBuilder, network: nn.Module, x: str) -> list[str]:
    """Write a network that takes one map, in evaluation mode.

    Args:
        builder: to add to.
        network: of layers in `MODULES` and functions in `FUNCTIONS`.
        x: the name of its input, [N, C, H, W].

    Returns:
        Names of its outputs.

    Raises:
        UsageError: it has a layer that is in neither table, or cannot be traced.
    """
    try:
        graph = _Tracer().trace(network)
    except (fx.proxy.TraceError, TypeError) as error:
        raise UsageError(f"the backbone cannot be exported: its forward pass depends on its input ({error})") from error
    modules = dict(network.named_modules())
    names: dict[str, Any] = {}
    for node in graph.nodes:
        inputs = fx.node.map_arg(node.args, lambda before: names[before.name])
        if node.op == "placeholder":
            names[node.name] = x
        elif node.op == "call_module":
            names[node.name] = add_layer(builder, modules[node.target], *inputs)
        elif node.op == "call_function" and node.target in FUNCTIONS:
            names[node.name] = FUNCTIONS[node.target](builder, *inputs)
        elif node.op == "output":
            (outputs,) = inputs
        else:
            raise UsageError(f"the backbone cannot be exported: no line in the table for {node.target}")
    return [outputs] if isinstance(outputs, str) else list(outputs)


def add_layer(builder: GraphBuilder, layer: nn.Module, x: str) -> str:
    """Write one layer of `MODULES`; its input and its output are named. Raises what `add_network` raises."""
    for kind in type(layer).__mro__:
        if kind in MODULES:
            return MODULES[kind](builder, layer, x)
    raise UsageError(f"the backbone cannot be exported: no line in the table for the layer {type(layer).__name__}")


class _Tracer(fx.Tracer):
    """Looks into every module that has no line in the table."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return any(kind in MODULES for kind in type(module).__mro__) or super().is_leaf_module(module, name)


def _convolution(
    builder: GraphBuilder,
    x: str,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int] | str,
    dilation: tuple[int, int],
    groups: int,
    same: bool,
) -> str:
    # TensorFlow's padding depends on the size of the map, as ONNX's of this name does.
    pads = {"auto_pad": "SAME_UPPER"} if same else {"pads": [*padding, *padding]}
    inputs = [x, builder.constant(array(weight))]
    if bias is not None:
        inputs.append(builder.constant(array(bias)))
    size = list(weight.shape[2:])
    how = {"kernel_shape": size, "strides": [*stride], "dilations": [*dilation], "group": groups}
    return builder.add("Conv", *inputs, **how, **pads)


def _conv(builder: GraphBuilder, layer: nn.Conv2d, x: str) -> str:
    same = isinstance(layer, Conv2dSame)
    how = (layer.stride, layer.padding, layer.dilation, layer.groups, same)
    return _convolution(builder, x, layer.weight, layer.bias, *how)


def _scaled_conv(builder: GraphBuilder, layer: ScaledConv, x: str) -> str:
    weight, shift = layer.scaled()
    return _convolution(builder, x, weight, shift, **layer.conv, same=bool(layer.same))


def _batch_norm(builder: GraphBuilder, norm: nn.BatchNorm2d, x: str) -> str:
    parts = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    constants = [builder.constant(array(part)) for part in parts]
    return builder.add("BatchNormalization", x, *constants, epsilon=norm.eps)


def _batch_norm_and_activation(builder: GraphBuilder, norm: BatchNormAct2d, x: str) -> str:
    return add_layer(builder, norm.act, add_layer(builder, norm.drop, _batch_norm(builder, norm, x)))


def _pad_pair(value: int | tuple[int, int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _max_pool(builder: GraphBuilder, pool: nn.MaxPool2d, x: str) -> str:
    sizes = {"kernel_shape": pool.kernel_size, "strides": pool.stride, "dilations": pool.dilation}
    how = {name: _pad_pair(value) for name, value in sizes.items()}
    return builder.add("MaxPool", x, **how, pads=_pad_pair(pool.padding) * 2, ceil_mode=int(pool.ceil_mode))


def _relu6(builder: GraphBuilder, layer: nn.Module, x: str) -> str:
    return builder.add("Clip", x, builder.constant(0), builder.constant(6))


def _same(builder: GraphBuilder, layer: nn.Module, x: str) -> str:
    return x


def _layer_norm(builder: GraphBuilder, norm: nn.LayerNorm, x: str) -> str:
    """Over the channels of each cell, as `necks.LayerNorm2d` has it."""
    by_cell = builder.add("Transpose", x, perm=[0, 2, 3, 1])
    scale, shift = builder.constant(array(norm.weight)), builder.constant(array(norm.bias))
    normed = builder.add("LayerNormalization", by_cell, scale, shift, axis=-1, epsilon=norm.eps)
    return builder.add("Transpose", normed, perm=[0, 3, 1, 2])


MODULES: dict[type[nn.Module], Callable[[GraphBuilder, Any, str], str]] = {
    ScaledConv: _scaled_conv,
    AbsorbedNorm: lambda builder, norm, x: add_layer(builder, norm.act, x),
    nn.Conv2d: _conv,
    BatchNormAct2d: _batch_norm_and_activation,
    nn.BatchNorm2d: _batch_norm,
    nn.MaxPool2d: _max_pool,
    nn.ReLU: lambda builder, layer, x: builder.add("Relu", x),
    nn.ReLU6: _relu6,
    nn.Identity: _same,
    nn.Dropout: _same,
}
"""By the type of the layer, or a type that it inherits from."""

FUNCTIONS: dict[Callable, Callable[..., str]] = {
    operator.add: lambda builder, a, b: builder.add("Add", a, b),
    operator.iadd: lambda builder, a, b: builder.add("Add", a, b),
}
"""By the function; arguments are names of values."""


def add_neck(builder: GraphBuilder, neck: TopDownNeck, maps: list[str]) -> str:
    """Write a neck, from its maps to the one that RoIs are pooled from."""
    builder.part = NECK
    levels = [
        _layer_norm(builder, norm, add_layer(builder, lateral, level))
        for lateral, norm, level in zip(neck.lateral, neck.norm, maps, strict=True)
    ]
    merged = levels.pop()
    while levels:
        finer = levels.pop()
        doubled = builder.add(
            "Resize",
            merged,
            "",
            builder.constant([1, 1, 2, 2]),
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        size = builder.add("Shape", finer, start=2)  # a map of an odd side is cut from twice the next one's
        cut = builder.add(
            "Slice", doubled, builder.constant([0, 0], np.int64), size, builder.constant([2, 3], np.int64)
        )
        merged = builder.add("Add", finer, cut)
    return builder.add("Relu", add_layer(builder, neck.mix, add_layer(builder, neck.spatial, merged)))


def array(tensor: Tensor) -> np.ndarray:
    """A tensor's values."""
    return tensor.detach().float().cpu().numpy()
