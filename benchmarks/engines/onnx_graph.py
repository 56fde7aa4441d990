"""An ONNX graph as a list of calls, for engines that have no importer of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

Attributes = dict[str, Any]
Function = Callable[..., Any]
# From a node's attributes and the constants among its inputs (None for others) to a function of
# all its inputs.
Maker = Callable[[Attributes, list[Any]], Function]


@dataclass(frozen=True)
class Step:
    """A call: names of what it takes and gives."""

    function: Function
    inputs: list[str]
    outputs: list[str]


@dataclass(frozen=True)
class Calls:
    """A graph: its steps in order, the constants that they use, its inputs and outputs."""

    steps: list[Step]
    constants: dict[str, np.ndarray[Any, Any]]
    arguments: list[str]
    results: list[str]

    def run(self, constants: Mapping[str, Any], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Makes the calls, with a framework's tensors."""
        values: dict[str, Any] = {**constants, **dict(zip(self.arguments, inputs, strict=True))}
        for step in self.steps:
            found = step.function(*[values.get(name) for name in step.inputs])
            several = found if isinstance(found, tuple) else (found,)
            values.update(zip(step.outputs, several, strict=False))
        return tuple(values[name] for name in self.results)


def calls(model: onnx.ModelProto, operators: Mapping[str, Maker]) -> Calls:
    """A model in a framework's functions.

    Raises NotImplementedError for all operators at once that the table lacks.
    """
    graph = model.graph
    unknown = {n.op_type for n in graph.node} - operators.keys() - {"Constant"}
    if unknown:
        raise NotImplementedError(f"operators {', '.join(sorted(unknown))}")
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    steps: list[Step] = []
    for node in graph.node:
        values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(values["value"])
            continue
        plain = {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}
        function = operators[node.op_type](plain, [constants.get(name) for name in node.input])
        steps.append(Step(function, list(node.input), list(node.output)))
    used = {name for step in steps for name in step.inputs} | {o.name for o in graph.output}
    return Calls(
        steps,
        {name: array for name, array in constants.items() if name in used},
        [i.name for i in graph.input if i.name not in constants],
        [o.name for o in graph.output],
    )


def symmetric(pads: list[int]) -> list[int]:
    """ONNX pads (begins, then ends) as one number for each axis."""
    half = len(pads) // 2
    if pads[:half] != pads[half:]:
        raise NotImplementedError("padding that is not symmetric")
    return pads[:half]


def window(a: Attributes, rank: int) -> dict[str, Any]:
    """Stride, padding, dilation and groups of a convolution."""
    return {
        "stride": list(a.get("strides", [1] * rank)),
        "padding": symmetric(list(a.get("pads", [0] * 2 * rank))),
        "dilation": list(a.get("dilations", [1] * rank)),
        "groups": a.get("group", 1),
    }


def plain_gemm(a: Attributes) -> bool:
    """Whether the second matrix is transposed; anything else must be as usual."""
    if a.get("transA", 0) or a.get("alpha", 1.0) != 1 or a.get("beta", 1.0) != 1:
        raise NotImplementedError("a scaled Gemm")
    return bool(a.get("transB", 0))


def bounds(inputs: list[Any]) -> list[float | None]:
    """Low and high of Clip."""
    return [None if c is None else float(c) for c in [*inputs[1:], None, None][:2]]


def pick(a: Attributes, inputs: list[Any]) -> int | None:
    """The index of a Gather of one slice; None for one of rows by a tensor of numbers."""
    if inputs[1] is not None and inputs[1].ndim == 0:
        return int(inputs[1])
    if a.get("axis", 0):
        raise NotImplementedError(f"Gather along axis {a['axis']}")
    return None


def reshape(_: Attributes, inputs: list[Any]) -> Function:
    """Reshape to a constant shape, in which 0 keeps a size."""
    sizes = [int(d) for d in inputs[1]]
    return lambda x, _: x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(sizes)])


def cut(_: Attributes, inputs: list[Any]) -> Function:
    """Slice by constants."""
    starts, ends = inputs[1], inputs[2]
    axes = inputs[3] if len(inputs) > 3 else range(len(starts))
    steps = inputs[4] if len(inputs) > 4 else [1] * len(starts)
    parts = zip(axes, starts, ends, steps, strict=True)
    cuts = {int(k): slice(int(b), int(e), int(s)) for k, b, e, s in parts}

    def function(x: Any, *_: Any) -> Any:
        return x[tuple(cuts.get(i, cuts.get(i - x.ndim, slice(None))) for i in range(x.ndim))]

    return function


# Where PyTorch's and Paddle's gates are among ONNX's (input, output, forget, cell) and (update,
# reset, hidden).
GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}


def recurrent_weights(kind: str, a: Attributes, inputs: list[Any]) -> dict[str, Any]:
    """Weights of one LSTM or GRU layer by PyTorch's and Paddle's names."""
    weight, recurrent, bias = inputs[1:4]
    if kind == "GRU" and not a.get("linear_before_reset", 0):
        raise NotImplementedError("GRU with linear_before_reset=0")
    if any(value is not None and np.any(value) for value in inputs[5:]):
        raise NotImplementedError(f"{kind} with an initial state")
    hidden, gates = a["hidden_size"], len(GATES[kind]) * a["hidden_size"]
    rows = np.concatenate([np.arange(g * hidden, (g + 1) * hidden) for g in GATES[kind]])
    found: dict[str, Any] = {}
    for d in range(weight.shape[0]):
        end = "_reverse" if d else ""
        found[f"weight_ih_l0{end}"] = np.ascontiguousarray(weight[d][rows])
        found[f"weight_hh_l0{end}"] = np.ascontiguousarray(recurrent[d][rows])
        found[f"bias_ih_l0{end}"] = np.ascontiguousarray(bias[d, :gates][rows])
        found[f"bias_hh_l0{end}"] = np.ascontiguousarray(bias[d, gates:][rows])
    return found
