"""Every op: its type rule, its reference and its text agree, with sizes known and unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from bireme.ir import OPS, Builder, DType, Fusion, Graph, TensorType, Value, evaluate, symbol
from bireme.ir.dtypes import FLOATS
from bireme.ir.opdef import AttrKind, Attrs
from bireme.ir.reference import run, run_op
from tests.ir.cases import CASES, Case

# Tested where their regions can be built: test_control.py; `constant` with the weights, `bind` and
# `prefix` in test_data_sized.py, `random_key` in test_random.py.
WITH_REGIONS = {name for name, definition in OPS.items() if definition.regions}

each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.label)


def static_types(case: Case) -> list[TensorType]:
    return [TensorType(DType.of(x), x.shape) for x in case.inputs]


def symbolic(case: Case) -> tuple[list[TensorType], Attrs, dict[str, int]]:
    """The case with a symbol for every size above 1 that may be one, and the symbols' sizes."""
    sizes: dict[str, int] = {}

    def name(size: int, label: str) -> object:
        sizes[label] = size
        return symbol(label)

    types = []
    for i, x in enumerate(case.inputs):
        shape = [
            size if size == 1 or (i, axis) in case.fixed else name(size, f"x{i}_{axis}")
            for axis, size in enumerate(x.shape)
        ]
        types.append(TensorType(DType.of(x), tuple(shape)))
    kinds = {a.name: a.kind for a in OPS[case.op].attrs}
    attrs = {
        key: tuple(name(d, f"{key}_{i}") if d > 1 else d for i, d in enumerate(value))
        if kinds[key] is AttrKind.DIMS
        else value
        for key, value in case.attrs.items()
    }
    return types, attrs, sizes


def test_every_op_has_a_case() -> None:
    covered = {case.op for case in CASES} | WITH_REGIONS
    covered |= {"bind", "constant", "prefix", "random_key"}
    assert covered == set(OPS)


@pytest.mark.parametrize("definition", OPS.values(), ids=lambda d: d.name)
def test_every_op_is_complete(definition) -> None:
    assert isinstance(definition.fusion, Fusion)
    assert callable(definition.reference)
    assert callable(definition.infer)
    assert definition.doc.strip().endswith((".", "ONNX."))
    for attr in definition.attrs:
        assert attr.doc, f"attribute {attr.name} of {definition.name} has no documentation"
    optional = [o.optional or o.variadic for o in definition.operands]
    assert optional == sorted(optional), "only trailing operands may be left out"


@each_case
def test_type_rule_gives_what_the_reference_makes(case: Case) -> None:
    definition = OPS[case.op]
    types = definition.result_types(static_types(case), definition.complete(case.attrs))
    results = run_op(case.op, case.inputs, case.attrs)
    assert [TensorType(DType.of(x), x.shape) for x in results] == list(types)


@each_case
def test_symbolic_type_rule_agrees_with_the_static_one(case: Case) -> None:
    definition = OPS[case.op]
    static = definition.result_types(static_types(case), definition.complete(case.attrs))
    types, attrs, sizes = symbolic(case)
    constraints: list = []
    found = definition.result_types(types, definition.complete(attrs), (), constraints)
    shapes = [tuple(evaluate(d, sizes) for d in t.shape) for t in found]
    assert shapes == [t.shape for t in static]
    assert [t.dtype for t in found] == [t.dtype for t in static]
    for constraint in constraints:
        assert evaluate(constraint.a, sizes) == evaluate(constraint.b, sizes)


def graph_of(
    case: Case, types: Sequence[TensorType], attrs: Attrs, sizes: Mapping[str, int]
) -> Graph:
    """A graph of one op; a further input has the symbols of the attributes in its shape."""
    graph = Graph("one_op")
    graph.add_input("sizes", TensorType(DType.BOOL, tuple(map(symbol, sizes))))
    operands: list[Value] = [graph.add_input(f"x{i}", t) for i, t in enumerate(types)]
    op = Builder(graph, node="the_node").op(case.op, operands, **attrs)
    graph.set_outputs({f"y{i}": v for i, v in enumerate(op.results)})
    return graph


@each_case
def test_text_round_trip(case: Case) -> None:
    types, attrs, sizes = symbolic(case)
    graph = graph_of(case, types, attrs, sizes)
    graph.verify()
    text = graph.text(locations=True)
    again = Graph.parse(text)
    assert again.text(locations=True) == text
    (op,) = again.body.ops
    assert op.attrs == OPS[case.op].complete(attrs)
    assert [v.type for v in op.results] == [v.type for v in graph.outputs]
    assert op.node == "the_node"


@each_case
def test_a_graph_of_one_op_runs_as_the_op(case: Case) -> None:
    types, attrs, sizes = symbolic(case)
    graph = graph_of(case, types, attrs, sizes)
    inputs = {f"x{i}": x for i, x in enumerate(case.inputs)}
    # Takes no memory, whatever its sizes are.
    found = run(graph, {**inputs, "sizes": np.broadcast_to(np.False_, tuple(sizes.values()))})
    for x, y in zip(found.values(), run_op(case.op, case.inputs, case.attrs), strict=True):
        np.testing.assert_array_equal(x, y)


_HALF_CASES = [
    case
    for case in CASES
    if any(x.dtype == np.float32 and x.size for x in case.inputs)
    and DType.F16 in OPS[case.op].operand(0).dtypes
    and case.op not in ("bitcast", "cast")
]


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.label)
@pytest.mark.parametrize("case", _HALF_CASES, ids=lambda c: c.label)
def test_floats_of_every_width_are_rounded_once(case: Case, dtype: DType) -> None:
    """The narrow results are the float64 results of the same operands, within a rounding or two."""
    narrow = [x.astype(dtype.numpy) if x.dtype == np.float32 else x for x in case.inputs]
    wide = [x.astype(np.float64) if x.dtype == np.float32 else x for x in case.inputs]
    wide = [n.astype(np.float64) if w.dtype == np.float64 else n
            for n, w in zip(narrow, wide, strict=True)]  # fmt: skip
    found = run_op(case.op, narrow, case.attrs)
    expected = run_op(case.op, wide, case.attrs)
    step = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-5, "float64": 1e-12}[dtype.label]
    for x, y in zip(found, expected, strict=True):
        if y.dtype != np.float64:
            np.testing.assert_array_equal(x, y)
            continue
        assert x.dtype == dtype.numpy
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(
                x.astype(np.float64), y.astype(dtype.numpy).astype(np.float64), rtol=step, atol=step
            )


def test_arrays_are_not_written_to() -> None:
    for case in CASES:
        before = [x.copy() for x in case.inputs]
        for x in case.inputs:
            x.setflags(write=False)
        run_op(case.op, case.inputs, case.attrs)
        for x, y in zip(case.inputs, before, strict=True):
            np.testing.assert_array_equal(x, y)
