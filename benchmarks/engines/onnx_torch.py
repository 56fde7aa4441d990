"""An ONNX graph as a PyTorch module, for the engines that take those.

Only what the measured networks use; any other operator is refused by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from benchmarks.engines import onnx_graph
from benchmarks.engines.onnx_graph import Attributes, Function, Maker


def _conv(a: Attributes, inputs: list[Any]) -> Function:
    rank = inputs[1].ndim - 2
    function, options = (F.conv1d, F.conv2d, F.conv3d)[rank - 1], onnx_graph.window(a, rank)
    return lambda x, w, b=None: function(x, w, b, **options)


def _batch_norm(a: Attributes, _: list[Any]) -> Function:
    eps = a.get("epsilon", 1e-5)
    return lambda x, w, b, mean, var: F.batch_norm(x, mean, var, w, b, False, 0.0, eps)


def _clip(_: Attributes, inputs: list[Any]) -> Function:
    low, high = onnx_graph.bounds(inputs)
    return lambda x, *_: torch.clamp(x, low, high)


def _hard_sigmoid(a: Attributes, _: list[Any]) -> Function:
    alpha, beta = a.get("alpha", 0.2), a.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return F.hardsigmoid
    return lambda x: torch.clamp(x * alpha + beta, 0.0, 1.0)


def _gemm(a: Attributes, _: list[Any]) -> Function:
    if onnx_graph.plain_gemm(a):
        return F.linear
    return lambda x, w, b=None: F.linear(x, w.t(), b)


def _max_pool(a: Attributes, _: list[Any]) -> Function:
    options = {
        "kernel_size": a["kernel_shape"],
        "stride": a["strides"],
        "padding": onnx_graph.symmetric(a["pads"]),
        "ceil_mode": bool(a.get("ceil_mode", 0)),
    }
    return lambda x: F.max_pool2d(x, **options)


def _gather(a: Attributes, inputs: list[Any]) -> Function:
    index, axis = onnx_graph.pick(a, inputs), a.get("axis", 0)
    return (lambda x, i: F.embedding(i, x)) if index is None else lambda x, _: x.select(axis, index)


def _layer_norm(a: Attributes, inputs: list[Any]) -> Function:
    shape, eps = inputs[1].shape, a.get("epsilon", 1e-5)
    return lambda x, w, b=None: F.layer_norm(x, shape, w, b, eps)


class Recurrent(torch.nn.Module):
    """LSTM or GRU of one layer, with ONNX's axes."""

    def __init__(self, kind: str, a: Attributes, inputs: list[Any]) -> None:
        super().__init__()
        weights = onnx_graph.recurrent_weights(kind, a, inputs)
        self.directions = inputs[1].shape[0]
        make = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}[kind]
        self.layer = make(inputs[1].shape[2], a["hidden_size"], bidirectional=self.directions == 2)
        self.layer.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})

    def forward(self, x: Any, *_: Any) -> Any:
        """[S, B, I] → [S, D, B, H] and last states [D, B, H]."""
        y, last = self.layer(x)
        y = y.reshape(y.shape[0], y.shape[1], self.directions, -1).permute(0, 2, 1, 3)
        return (y, *last) if isinstance(last, tuple) else (y, last)


OPERATORS: dict[str, Maker] = {
    "Add": lambda a, _: torch.add,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda a, _: lambda *xs: torch.cat(xs, a["axis"]),
    "Conv": _conv,
    "Equal": lambda a, _: torch.eq,
    "Flatten": lambda a, _: lambda x: torch.flatten(x, a.get("axis", 1)),
    "GRU": lambda a, inputs: Recurrent("GRU", a, inputs),
    "Gather": _gather,
    "Gelu": lambda a, _: lambda x: F.gelu(x, approximate=a.get("approximate", "none")),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, _: lambda x: F.adaptive_avg_pool2d(x, 1),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda a, _: F.hardswish,
    "Identity": lambda a, _: lambda x: x,
    "LSTM": lambda a, inputs: Recurrent("LSTM", a, inputs),
    "LayerNormalization": _layer_norm,
    "MatMul": lambda a, _: torch.matmul,
    "MaxPool": _max_pool,
    "Mul": lambda a, _: torch.mul,
    "Not": lambda a, _: torch.logical_not,
    "Relu": lambda a, _: F.relu,
    "Reshape": onnx_graph.reshape,
    "Sigmoid": lambda a, _: torch.sigmoid,
    "Slice": onnx_graph.cut,
    "Softmax": lambda a, _: lambda x: torch.softmax(x, a.get("axis", -1)),
    "Tanh": lambda a, _: torch.tanh,
    "Transpose": lambda a, _: lambda x: x.permute(a["perm"]),
    "Where": lambda a, _: torch.where,
}


class OnnxModule(torch.nn.Module):
    """Runs the nodes of a graph in order. Raises NotImplementedError for what it does not know."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.calls = onnx_graph.calls(model, OPERATORS)
        modules = [s.function for s in self.calls.steps if isinstance(s.function, torch.nn.Module)]
        self.layers = torch.nn.ModuleList(modules)
        self.names = {name: f"constant{i}" for i, name in enumerate(self.calls.constants)}
        for name, array in self.calls.constants.items():
            self.register_buffer(self.names[name], torch.from_numpy(array.copy()))

    def forward(self, *inputs: Any) -> tuple[Any, ...]:
        """The graph's inputs → its outputs, in order."""
        return self.calls.run({k: getattr(self, v) for k, v in self.names.items()}, inputs)


def load_module(folder: Path) -> tuple[OnnxModule, tuple[Any, ...]]:
    """The module of folder/model.onnx, ready to run, and example inputs."""
    module = OnnxModule(onnx.load(folder / "model.onnx")).eval()
    with np.load(folder / "feed.npz") as feed:
        return module, tuple(torch.from_numpy(feed[name]) for name in module.calls.arguments)
