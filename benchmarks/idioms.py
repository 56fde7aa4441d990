"""ONNX graphs as widespread exporters write them.

Our exporter spells functions out in basic operators. Engines look for the operators that PyTorch's
exporter emits, so measuring them on our spelling would be unfair to them:

    Max(Min(x, 6), 0)                          →  Clip(x, 0, 6)
    Clip(x · 1/6 + 1/2, 0, 1)                  →  HardSigmoid(x)
    x · HardSigmoid(x)                         →  HardSwish(x)
    ReduceMean(x, (2, 3)) of [N, C, H, W]      →  GlobalAveragePool(x), flattened if axes go
    Conv(x, w) + bias of each channel          →  Conv(x, w, bias)
    anything of constants alone                →  a constant
    MatMul(x, constant) + bias of a matrix x   →  Gemm(x, constant, bias)

`tests/benchmarks/test_idioms.py` checks that results stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from bireme.ir import Array

SIXTH = np.float32(1 / 6)
IMAGE_RANK = 4
SMALL = 64


def ranks(model: onnx.ModelProto) -> dict[str, int]:
    """The number of axes of each value; large constants are declared, not copied."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.name = model.graph.name
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if np.prod(tensor.dims) <= SMALL:
            light.graph.initializer.append(tensor)
        else:
            declared = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            light.graph.input.append(declared)
    graph = onnx.shape_inference.infer_shapes(light).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    return {v.name: len(v.type.tensor_type.shape.dim) for v in values}


@dataclass
class View:
    """A graph with what rewriting asks: who makes a value, how many use it, what it holds."""

    model: onnx.ModelProto

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.made = {out: node for node in graph.node for out in node.output}
        self.constants = {t.name: t for t in graph.initializer}
        self.uses: dict[str, int] = {o.name: 1 for o in graph.output}
        for node in graph.node:
            for name in node.input:
                self.uses[name] = self.uses.get(name, 0) + 1
        self.ranks = ranks(self.model)

    def value(self, name: str) -> Array | None:
        """What a constant holds."""
        tensor = self.constants.get(name)
        node = self.made.get(name)
        if tensor is None and node is not None and node.op_type == "Constant":
            tensor = node.attribute[0].t
        return None if tensor is None else np.asarray(numpy_helper.to_array(tensor))

    def scalar(self, name: str) -> np.float32 | None:
        """What a constant of one number holds."""
        found = self.value(name)
        return np.float32(found.item()) if found is not None and found.size == 1 else None

    def with_scalar(self, node: onnx.NodeProto) -> tuple[str, np.float32] | None:
        """(x, c) of a node that combines x and a number, in either order."""
        for x, c in (node.input, reversed(node.input)) if len(node.input) == 2 else ():
            number = self.scalar(c)
            if number is not None:
                return x, number
        return None

    def producer(self, name: str, kind: str, only: bool = True) -> onnx.NodeProto | None:
        """The node of this kind that makes a value (`only`: for one user)."""
        node = self.made.get(name)
        if node is None or node.op_type != kind or (only and self.uses.get(name, 0) != 1):
            return None
        return node


Replacement = Sequence[onnx.NodeProto]
Rule = Callable[[View, onnx.NodeProto], Replacement | None]


def _floats(view: View, name: str, *values: float) -> list[str]:
    """Adds scalar constants."""
    names = [f"{name}.{i}" for i in range(len(values))]
    for key, value in zip(names, values, strict=True):
        tensor = numpy_helper.from_array(np.array(value, np.float32), key)
        view.model.graph.initializer.append(tensor)
    return names


def clip(view: View, node: onnx.NodeProto) -> Replacement | None:
    """Max and Min of one value and two numbers."""
    inner_kind = {"Min": "Max", "Max": "Min"}.get(node.op_type)
    outer = view.with_scalar(node) if inner_kind else None
    inner = view.producer(outer[0], inner_kind) if outer and inner_kind else None
    found = view.with_scalar(inner) if inner is not None else None
    if not outer or not found:
        return None
    low, high = sorted((float(outer[1]), float(found[1])))
    bounds = _floats(view, f"{node.output[0]}.bound", low, high)
    return [helper.make_node("Clip", [found[0], *bounds], node.output, node.name)]


def hard_sigmoid(view: View, node: onnx.NodeProto) -> Replacement | None:
    """Clip of x / 6 + 1/2 to 0 and 1."""
    if node.op_type != "Clip" or [view.scalar(c) for c in node.input[1:]] != [0, 1]:
        return None
    add = view.producer(node.input[0], "Add")
    added = view.with_scalar(add) if add is not None else None
    mul = view.producer(added[0], "Mul") if added and added[1] == 0.5 else None
    scaled = view.with_scalar(mul) if mul is not None else None
    if not scaled or scaled[1] != SIXTH:
        return None
    options = {"alpha": float(SIXTH), "beta": 0.5}
    return [helper.make_node("HardSigmoid", [scaled[0]], node.output, node.name, **options)]


def hard_swish(view: View, node: onnx.NodeProto) -> Replacement | None:
    """X times its hard sigmoid."""
    if node.op_type != "Mul":
        return None
    for x, y in (node.input, reversed(node.input)):
        gate = view.producer(y, "HardSigmoid")
        if gate is not None and gate.input[0] == x:
            return [helper.make_node("HardSwish", [x], node.output, node.name)]
    return None


def average_pool(view: View, node: onnx.NodeProto) -> Replacement | None:
    """Mean over height and width."""
    if node.op_type != "ReduceMean" or view.ranks.get(node.input[0]) != IMAGE_RANK:
        return None
    axes = view.value(node.input[1])
    if axes is None or sorted(axes.tolist()) not in ([2, 3], [-2, -1]):
        return None
    keep = all(a.i for a in node.attribute if a.name == "keepdims")
    if keep:
        return [helper.make_node("GlobalAveragePool", node.input[:1], node.output, node.name)]
    pooled = f"{node.output[0]}.pooled"
    return [
        helper.make_node("GlobalAveragePool", node.input[:1], [pooled], node.name),
        helper.make_node("Flatten", [pooled], node.output, f"{node.name}.flatten"),
    ]


def folded(view: View, node: onnx.NodeProto) -> Replacement | None:
    """What is known without running: weights in other shapes, orders and pieces."""
    if node.op_type == "Constant" or not node.input or any(a.g.node for a in node.attribute):
        return None
    values = {name: view.value(name) for name in node.input if name}
    if any(value is None for value in values.values()):
        return None
    results = ReferenceEvaluator(node).run(None, values)
    for name, result in zip(node.output, results, strict=True):
        tensor = numpy_helper.from_array(np.ascontiguousarray(result).reshape(result.shape), name)
        view.model.graph.initializer.append(tensor)
        view.constants[name] = tensor
    return []


def conv_bias(view: View, node: onnx.NodeProto) -> Replacement | None:
    """A convolution plus a number for each channel."""
    if node.op_type != "Add":
        return None
    for y, bias in (node.input, reversed(node.input)):
        conv, added = view.producer(y, "Conv"), view.value(bias)
        if conv is None or added is None or len(conv.input) != 2:
            continue
        channels = view.constants[conv.input[1]].dims[0]
        if added.shape[-3:] != (channels, 1, 1) or added.size != channels:
            continue
        name = f"{node.output[0]}.bias"
        flat = np.ascontiguousarray(added.reshape(channels))
        view.model.graph.initializer.append(numpy_helper.from_array(flat, name))
        fused = onnx.NodeProto()
        fused.CopyFrom(conv)
        fused.input.append(name)
        fused.output[:] = node.output
        return [fused]
    return None


def gemm(view: View, node: onnx.NodeProto) -> Replacement | None:
    """A matrix times a constant, plus a bias."""
    if node.op_type != "Add":
        return None
    for y, bias in (node.input, reversed(node.input)):
        product = view.producer(y, "MatMul")
        added = view.value(bias)
        if product is None or added is None or added.ndim != 1:
            continue
        x, weight = product.input
        if view.ranks.get(x) == 2 and view.value(weight) is not None:
            return [helper.make_node("Gemm", [x, weight, bias], node.output, node.name)]
    return None


# Each needs what the one before has made.
RULES: tuple[Rule, ...] = (
    folded,
    conv_bias,
    clip,
    hard_sigmoid,
    hard_swish,
    average_pool,
    gemm,
)


def _remove_unused(model: onnx.ModelProto) -> None:
    """Drops nodes and constants that nothing uses; nodes are in order."""
    needed = {o.name for o in model.graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    for index in reversed(range(len(model.graph.initializer))):
        if model.graph.initializer[index].name not in needed:
            del model.graph.initializer[index]


def rewrite(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the usual operators in place of spelt-out ones. Subgraphs stay as they are."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for rule in RULES:
        view = View(result)
        nodes: list[onnx.NodeProto] = []
        for node in list(result.graph.node):
            found = rule(view, node)
            nodes += [node] if found is None else found
        del result.graph.node[:]
        result.graph.node.extend(nodes)
        _remove_unused(result)
    onnx.checker.check_model(result)
    return result
