"""The node tests of ONNX that a tensor compiler is measured on, and how each is counted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, TypeProto, numpy_helper

# Inputs that the ONNX specification uses as shapes, axes, counts or other parameters, by operator.
# A model from an exporter holds them as data; node tests feed them like pictures.
PARAMETERS: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "Loop": (0, 1),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
    **{
        f"Reduce{kind}": (1,)
        for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum",
                     "SumSquare")
    },
}  # fmt: skip

_NO_NUMBERS = {TensorProto.STRING, TensorProto.UNDEFINED}


@dataclass(frozen=True)
class Case:
    """One node test: a model, data sets of (inputs, expected outputs), tolerances."""

    name: str
    op: str
    model: ModelProto
    data_sets: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float
    parameters: tuple[str, ...]

    def inputs(self, data_set: int) -> dict[str, Any]:
        """Arrays of one data set by input name."""
        names = [i.name for i in self.model.graph.input]
        values = map(as_array, self.data_sets[data_set][0])
        return dict(zip(names, values, strict=False))


def as_array(value: Any) -> Any:
    """A test's value as an array; None stays None (an absent optional input)."""
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return None if value is None else np.asarray(value)


def load_cases() -> tuple[list[Case], dict[str, int]]:
    """The cases, and how many were left out by reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = {c.name: c for c in collect_testcases(None)}
    cases, left_out = [], dict[str, int]()
    for name, case in sorted(found.items()):
        reason = _left_out(case.model)
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        plain = name.split("_expanded")[0]
        original = found.get(plain, case).model
        cases.append(
            Case(
                name,
                _operator(original),
                case.model,
                case.data_sets,
                case.rtol,
                case.atol,
                tuple(sorted(_parameters(case.model) | _parameters(original))),
            )
        )
    return cases, left_out


def _left_out(model: ModelProto) -> str:
    """Why a test is outside the measure; empty when it is inside."""
    domains = {n.domain for n in model.graph.node} - {"", "ai.onnx"}
    if domains:
        return f"domain {', '.join(sorted(domains))}"
    values = [*model.graph.input, *model.graph.output]
    kinds = {_kind(v.type) for v in values} - {"tensor"}
    return f"type {', '.join(sorted(kinds))}" if kinds else ""


def _kind(value: TypeProto) -> str:
    kind = value.WhichOneof("value") or "none"
    if kind == "tensor_type" and value.tensor_type.elem_type in _NO_NUMBERS:
        return "string"
    return kind.removesuffix("_type")


def _operator(model: ModelProto) -> str:
    """The operator that a test is about: its only node's, or the first that makes no constant."""
    nodes = [n for n in model.graph.node if n.op_type != "Constant"]
    return (nodes or list(model.graph.node))[0].op_type


def _parameters(model: ModelProto) -> set[str]:
    """Graph inputs that a node reads as a parameter."""
    inputs = {i.name for i in model.graph.input}
    found: set[str] = set()
    for node in model.graph.node:
        places = PARAMETERS.get(node.op_type, ())
        found |= {node.input[i] for i in places if i < len(node.input)}
    return found & inputs


def difference(expected: Any, found: Any, rtol: float, atol: float, *, numbers: bool = True) -> str:
    """How one output differs from what is expected, in its type and `numbers`; empty when it does
    not.
    """
    expected, found = as_array(expected), np.asarray(found)
    if expected.dtype != found.dtype or expected.shape != found.shape:
        wanted = f"{expected.dtype}{list(expected.shape)}"
        return f"expected {wanted}; found {found.dtype}{list(found.shape)}"
    if not numbers:
        return ""
    if expected.dtype.kind in "biu":
        wrong = int(np.count_nonzero(expected != found))
        return f"{wrong} of {expected.size} elements differ" if wrong else ""
    a, b = expected.astype(np.float64), found.astype(np.float64)
    close = np.isclose(b, a, rtol=rtol, atol=atol, equal_nan=True)
    if close.all():
        return ""
    worst = float(np.nanmax(np.abs(a - b)[~close], initial=0.0))
    return f"{np.count_nonzero(~close)} of {a.size} elements differ by up to {worst:.3g}"
