"""An ONNX graph as a Paddle layer.

Only what the measured networks use; any other operator is refused by name.
"""

from __future__ import annotations

from typing import Any

import onnx
import paddle
import paddle.nn.functional as F  # noqa: N812 - its usual name

from benchmarks.engines import onnx_graph
from benchmarks.engines.onnx_graph import Attributes, Function, Maker

# Tracing rewrites Python control flow, of which there is none that depends on tensors.
paddle.jit.ignore_module([onnx_graph])


def _conv(a: Attributes, inputs: list[Any]) -> Function:
    options = onnx_graph.window(a, inputs[1].ndim - 2)
    return lambda x, w, b=None: F.conv2d(x, w, b, **options)


def _batch_norm(a: Attributes, _: list[Any]) -> Function:
    eps = a.get("epsilon", 1e-5)
    return lambda x, w, b, mean, var: F.batch_norm(x, mean, var, w, b, False, 0.9, eps)


def _clip(_: Attributes, inputs: list[Any]) -> Function:
    low, high = onnx_graph.bounds(inputs)
    if (low, high) == (0.0, 6.0):
        return lambda x, *_: F.relu6(x)
    return lambda x, *_: paddle.clip(x, low, high)


def _gemm(a: Attributes, _: list[Any]) -> Function:
    if onnx_graph.plain_gemm(a):
        return lambda x, w, b=None: F.linear(x, w.t(), b)
    return F.linear


def _max_pool(a: Attributes, _: list[Any]) -> Function:
    kernel, stride, pads = a["kernel_shape"], a["strides"], onnx_graph.symmetric(a["pads"])
    return lambda x: F.max_pool2d(x, kernel, stride, pads, ceil_mode=bool(a.get("ceil_mode", 0)))


def _gather(a: Attributes, inputs: list[Any]) -> Function:
    index, axis = onnx_graph.pick(a, inputs), a.get("axis", 0)
    if index is None:
        return lambda x, i: F.embedding(i, x)
    return lambda x, _: paddle.index_select(x, paddle.to_tensor([index]), axis).squeeze(axis)


def _hard_sigmoid(a: Attributes, _: list[Any]) -> Function:
    slope, offset = a.get("alpha", 0.2), a.get("beta", 0.5)
    return lambda x: F.hardsigmoid(x, slope, offset)


def _layer_norm(a: Attributes, inputs: list[Any]) -> Function:
    shape, eps = inputs[1].shape, a.get("epsilon", 1e-5)
    return lambda x, w, b=None: F.layer_norm(x, shape, w, b, eps)


class Recurrent(paddle.nn.Layer):
    """LSTM or GRU of one layer, with ONNX's axes."""

    def __init__(self, kind: str, a: Attributes, inputs: list[Any]) -> None:
        super().__init__()
        weights = onnx_graph.recurrent_weights(kind, a, inputs)
        self.directions = inputs[1].shape[0]
        make = {"LSTM": paddle.nn.LSTM, "GRU": paddle.nn.GRU}[kind]
        direction = "bidirect" if self.directions == 2 else "forward"
        self.layer = make(
            inputs[1].shape[2], a["hidden_size"], direction=direction, time_major=True
        )
        for name, value in weights.items():
            getattr(self.layer, name).set_value(value)

    def forward(self, x: Any, *_: Any) -> Any:
        """[S, B, I] → [S, D, B, H] and last states [D, B, H]."""
        y, last = self.layer(x)
        y = y.reshape([y.shape[0], y.shape[1], self.directions, -1]).transpose([0, 2, 1, 3])
        return (y, *last) if isinstance(last, tuple) else (y, last)


OPERATORS: dict[str, Maker] = {
    "Add": lambda a, _: paddle.add,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda a, _: lambda *xs: paddle.concat(xs, a["axis"]),
    "Conv": _conv,
    "Equal": lambda a, _: paddle.equal,
    "Flatten": lambda a, _: lambda x: paddle.flatten(x, a.get("axis", 1)),
    "GRU": lambda a, inputs: Recurrent("GRU", a, inputs),
    "Gather": _gather,
    "Gelu": lambda a, _: lambda x: F.gelu(x, a.get("approximate", "none") == "tanh"),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, _: lambda x: F.adaptive_avg_pool2d(x, 1),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda a, _: F.hardswish,
    "Identity": lambda a, _: lambda x: x,
    "LSTM": lambda a, inputs: Recurrent("LSTM", a, inputs),
    "LayerNormalization": _layer_norm,
    "MatMul": lambda a, _: paddle.matmul,
    "MaxPool": _max_pool,
    "Mul": lambda a, _: paddle.multiply,
    "Not": lambda a, _: paddle.logical_not,
    "Relu": lambda a, _: F.relu,
    "Reshape": onnx_graph.reshape,
    "Sigmoid": lambda a, _: F.sigmoid,
    "Slice": onnx_graph.cut,
    "Softmax": lambda a, _: lambda x: F.softmax(x, a.get("axis", -1)),
    "Tanh": lambda a, _: F.tanh,
    "Transpose": lambda a, _: lambda x: x.transpose(list(a["perm"])),
    "Where": lambda a, _: paddle.where,
}


class OnnxLayer(paddle.nn.Layer):
    """Runs the nodes of a graph in order. Raises NotImplementedError for what it does not know."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.calls = onnx_graph.calls(model, OPERATORS)
        layers = [s.function for s in self.calls.steps if isinstance(s.function, paddle.nn.Layer)]
        self.layers = paddle.nn.LayerList(layers)
        self.names = {name: f"constant{i}" for i, name in enumerate(self.calls.constants)}
        for name, array in self.calls.constants.items():
            self._add(self.names[name], array)

    def _add(self, name: str, array: Any) -> None:
        """A weight, or a number that has no gradient."""
        if array.dtype.kind != "f":
            self.register_buffer(name, paddle.to_tensor(array))
            return
        start = paddle.nn.initializer.Assign(array)
        shape = list(array.shape)
        self.add_parameter(name, self.create_parameter(shape, default_initializer=start))

    def forward(self, inputs: list[Any]) -> tuple[Any, ...]:
        """The graph's inputs → its outputs, in order."""
        constants = {k: getattr(self, v) for k, v in self.names.items()}
        return self.calls.run(constants, tuple(inputs))
