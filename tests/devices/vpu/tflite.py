"""Reads a quantized TensorFlow Lite file into the intermediate representation: the operators of MobileNetV2, int8 values as uint8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from devices.native import operators as ops
from devices.native.ir import Graph, Node, Op, Quantization, Type, verify

SHIFT = 128
RELU, RELU6 = 1, 3


def read(path: Path) -> tuple[Graph, list[int]]:
    """The graph, whose values are named after the file's tensors, and the tensor that each node gives."""
    from ai_edge_litert import schema_py_generated as schema

    return _Reader(schema, path.read_bytes()).graph()


class _Reader:
    def __init__(self, schema: Any, content: bytes) -> None:
        self.schema, self.content = schema, content
        self.model = schema.ModelT.InitFromPackedBuf(content, 0)
        self.own = self.model.subgraphs[0]
        self.types: dict[str, Type] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.nodes: list[Node] = []

    def graph(self) -> tuple[Graph, list[int]]:
        (x,), (y,) = self.own.inputs, self.own.outputs
        self.types[str(x)] = Type("uint8", self.shape(x), "nhwc", self.quantization(x))
        for operator in self.own.operators:
            self.take(operator)
        graph = Graph((str(x),), (("y", str(y)),), tuple(self.nodes), self.types, self.constants)
        verify(graph)
        return graph, [int(node.output.partition(" ")[0]) for node in self.nodes if not isinstance(node.op, ops.View)]

    def take(self, operator: Any) -> None:
        code, names = self.model.operatorCodes[operator.opcodeIndex].builtinCode, self.schema.BuiltinOperator
        x, *rest = operator.inputs
        (y,) = operator.outputs
        options, out = operator.builtinOptions, self.quantization(y)
        if code == names.PAD:
            pads = self.array(rest[0])
            self.add(ops.Pad(tuple(pads[:, 0].tolist()), tuple(pads[:, 1].tolist()), "constant", out.zero), y, x)
        elif code in (names.CONV_2D, names.DEPTHWISE_CONV_2D):
            self.conv(options, x, *rest, y, deep=code == names.CONV_2D)
        elif code == names.ADD:
            self.add(ops.QAdd(out, *self.limits(options, out)), y, x, rest[0])
        elif code == names.MEAN:
            assert sorted(axis % 4 for axis in self.array(rest[0]).tolist()) == [1, 2]
            self.types[f"{y} kept"] = Type("uint8", (1, 1, 1, self.shape(y)[-1]), "nhwc", out)
            self.nodes.append(Node(ops.QMean(out), (str(x),), f"{y} kept"))
            self.nodes.append(Node(ops.View(self.shape(y), quantization=out), (f"{y} kept",), str(y)))
            self.types[str(y)] = Type("uint8", self.shape(y), quantization=out)
        elif code == names.FULLY_CONNECTED:
            weight = self.constant(rest[0], self.array(rest[0]).T, "nchw", 1)
            self.add(ops.QDense(out, *self.limits(options, out)), y, x, weight, self.bias(rest[1]))
        else:
            raise NotImplementedError(code)

    def conv(self, options: Any, x: int, weight: int, bias: int, y: int, *, deep: bool) -> None:
        array = self.array(weight) if deep else self.array(weight).transpose(3, 1, 2, 0)
        kernel, strides = array.shape[1:3], (options.strideH, options.strideW)
        assert (options.dilationHFactor, options.dilationWFactor) == (1, 1)
        pads = (0, 0, 0, 0)
        if options.padding == self.schema.Padding.SAME:
            sizes = zip(self.shape(y)[1:3], strides, kernel, self.shape(x)[1:3], strict=True)
            total = [max(0, (made - 1) * stride + size - given) for made, stride, size, given in sizes]
            pads = (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)
        window, out = ops.Window(kernel, strides, pads, (1, 1)), self.quantization(y)
        op = ops.QConv(window, out, 1 if deep else len(array), *self.limits(options, out))
        self.add(op, y, x, self.constant(weight, array, "nhwc", 0), self.bias(bias))

    def add(self, op: Op, y: int, *inputs: int | str) -> None:
        names = tuple(map(str, inputs))
        self.types[str(y)] = op.infer(*(self.types[name] for name in names))
        assert self.types[str(y)].shape == self.shape(y)
        self.nodes.append(Node(op, names, str(y)))

    def constant(self, tensor: int, array: np.ndarray, layout: Any, axis: int) -> str:
        told = self.own.tensors[tensor].quantization
        q = Quantization(tuple(map(float, told.scale)), tuple(map(int, told.zeroPoint)), axis if len(told.scale) > 1 else None)
        self.types[str(tensor)], self.constants[str(tensor)] = Type(array.dtype.name, array.shape, layout, q), np.ascontiguousarray(array)
        return str(tensor)

    def bias(self, tensor: int) -> str:
        array = self.array(tensor)
        self.types[str(tensor)], self.constants[str(tensor)] = Type("int32", array.shape), array.copy()
        return str(tensor)

    def array(self, tensor: int) -> np.ndarray:
        told = self.own.tensors[tensor]
        dtypes = {self.schema.TensorType.INT8: np.int8, self.schema.TensorType.INT32: np.int32}
        buffer = self.model.buffers[told.buffer]
        # Large ones lie behind the flat buffer.
        stored = np.frombuffer(self.content, np.uint8, buffer.size, buffer.offset) if buffer.data is None else buffer.data
        return np.asarray(stored, np.uint8).view(dtypes[told.type]).reshape(told.shape)

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(map(int, self.own.tensors[tensor].shape))

    def quantization(self, tensor: int) -> Quantization:
        """That of an int8 value, as uint8."""
        told = self.own.tensors[tensor].quantization
        assert len(told.scale) == 1
        return Quantization((float(told.scale[0]),), (int(told.zeroPoint[0]) + SHIFT,))

    def limits(self, options: Any, out: Quantization) -> tuple[int, int]:
        """What the fused activation leaves."""
        activation = options.fusedActivationFunction
        assert activation in (0, RELU, RELU6)
        low = out.zero if activation else 0
        return low, min(255, out.zero + round(6 / float(out.scale))) if activation == RELU6 else 255
