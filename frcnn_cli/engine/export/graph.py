"""Writing an ONNX graph node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from frcnn_cli.engine.export.metadata import KEY, OPSET, OnnxAbout

IR_VERSION = 8
"""Of the file: the one that came with the opset."""


class GraphBuilder:
    """Nodes and constants in the order they were added; a value is known by its name.

    Attributes:
        part: of the detector that the next nodes belong to, which their names begin with.
    """

    def __init__(self) -> None:
        self.part = ""
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node.

        Args:
            operator: of ONNX.
            inputs: names of values.
            output: the name of what it computes; None for one of its own.
            attributes: of the operator.

        Returns:
            The output's name.
        """
        name = f"{self.part}/{operator.lower()}_{len(self.nodes)}"
        output = output or f"{name}_output"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """Add a constant, and say its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def model(self, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto], about: OnnxAbout) -> ModelProto:
        """The model of what was added."""
        graph = helper.make_graph(self.nodes, "frcnn", inputs, outputs, self.constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="frcnn export")
        helper.set_model_props(model, {KEY: about.to_json()})
        return model
