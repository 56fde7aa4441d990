"""The reference interpreter: binding of symbols, errors, tracing, memory."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

from bireme.ir import (
    Array,
    BiremeError,
    Builder,
    Dim,
    DType,
    Graph,
    SymbolRange,
    TensorType,
    symbol,
)
from bireme.ir.reference import bind_symbols, run, run_op

N, M = symbol("n"), symbol("m")


def inputs_only(**shapes: tuple[Dim, ...]) -> Graph:
    graph = Graph()
    values = {name: graph.add_input(name, TensorType(DType.F32, s)) for name, s in shapes.items()}
    graph.set_outputs({f"{name}_out": v for name, v in values.items()})
    return graph


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def test_symbols_are_bound_from_shapes() -> None:
    graph = inputs_only(b=(2 * N + 1, M // 4), a=(N, 3, M))
    assert bind_symbols(graph, {"a": zeros(5, 3, 9), "b": zeros(11, 2)}) == {"n": 5, "m": 9}


def test_symbols_are_solved_from_expressions() -> None:
    graph = inputs_only(a=(2 * N + 1,), b=(N * M,))
    assert bind_symbols(graph, {"a": zeros(7), "b": zeros(12)}) == {"n": 3, "m": 4}


FIT = [
    ({"a": (N, 3)}, {"a": zeros(2, 4)}, "a, dimension 1", "expected 3; found 4"),
    ({"a": (N, N)}, {"a": zeros(2, 4)}, "a, dimension 1", "expected n = 2; found 4"),
    ({"a": (N,), "b": (N + 1,)}, {"a": zeros(2), "b": zeros(2)}, "b, dimension 0",
     "expected n + 1 = 3; found 2"),
    ({"a": (2 * N,)}, {"a": zeros(5)}, "a, dimension 0", "no n makes 2*n equal to 5"),
    ({"a": (N + 3,)}, {"a": zeros(1)}, "a, dimension 0", "no n makes n + 3 equal to 1"),
    ({"a": (N,)}, {"a": zeros(2, 3)}, "a", "expected float32[n]; found float32[2, 3]"),
    ({"a": (N,)}, {"a": np.zeros(2)}, "a", "expected float32[n]; found float64[2]"),
    ({"a": (N,), "b": (1,)}, {"a": zeros(2), "c": zeros(1)}, "",
     "'b' is missing; 'c' is unknown; the model has a, b"),
]  # fmt: skip


@pytest.mark.parametrize(("shapes", "data", "where", "detail"), FIT)
def test_inputs_that_do_not_fit(shapes: Any, data: Any, where: str, detail: str) -> None:
    with pytest.raises(BiremeError) as caught:
        run(inputs_only(**shapes), data)
    assert (caught.value.code, caught.value.where, caught.value.detail) == ("BM6003", where, detail)


@pytest.mark.parametrize(("size", "most"), [(3, 8), (9, 8)])
def test_symbol_ranges_are_checked(size: int, most: int) -> None:
    graph = inputs_only(a=(N,))
    graph.set_symbol("n", SymbolRange(4, most))
    with pytest.raises(BiremeError) as caught:
        run(graph, {"a": zeros(size)})
    assert caught.value.detail == f"n is {size}; allowed are 4 to {most}"
    assert caught.value.where == "a, dimension 0"


def test_assumptions_of_ops_are_checked() -> None:
    graph = Graph()
    a = graph.add_input("a", TensorType(DType.F32, (N,)))
    b = graph.add_input("b", TensorType(DType.F32, (M,)))
    graph.set_outputs({"y": Builder(graph, node="Add_7").add(a, b)})
    assert run(graph, {"a": zeros(3), "b": zeros(3)})["y"].shape == (3,)
    # NumPy would broadcast; the type rule took the sizes to be equal.
    with pytest.raises(BiremeError) as caught:
        run(graph, {"a": zeros(3), "b": zeros(1)})
    assert (caught.value.code, caught.value.where) == ("BM6003", "Add_7")
    assert caught.value.detail == "sizes n = 3 and m = 1 must be equal"


def one_op(name: str, shape: tuple[Dim, ...], **attrs: Any) -> Graph:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, shape))
    op = Builder(graph, node="the_node").op(name, [x], **attrs)
    graph.set_outputs({f"y{i}": v for i, v in enumerate(op.results)})
    return graph


@pytest.mark.parametrize(
    ("graph", "detail"),
    [
        (one_op("slice", (N,), starts=(0,), sizes=(N // 2,), steps=(3,)),
         "axis 0: elements 0 to 6 of 6 do not all exist"),
        (one_op("topk", (N,), k=(2 * N,)), "k is 12; axis -1 has 6 elements"),
        (one_op("max_pool", (1, 1, N), kernel=(9,), strides=(1,), pads=(0, 0), dilations=(1,)),
         "size n - 8 of float32[1, 1, n - 8] would be -2"),
    ],
)  # fmt: skip
def test_sizes_for_which_an_op_is_undefined(graph: Graph, detail: str) -> None:
    x = zeros(*[1] * (graph.inputs[0].type.rank - 1), 6)
    with pytest.raises(BiremeError) as caught:
        run(graph, {"x": x})
    assert (caught.value.code, caught.value.where) == ("BM6003", "the_node")
    assert caught.value.detail == detail


def test_branches_that_are_not_taken_may_be_undefined() -> None:
    graph = Graph()
    condition = graph.add_input("condition", TensorType(DType.BOOL, ()))
    x = graph.add_input("x", TensorType(DType.F32, (N,)))
    b = Builder(graph)
    blocks = [b.block() for _ in range(2)]
    narrow, plain = (Builder(graph, block=made) for made in blocks)
    four = narrow.constant(zeros(4))
    narrow.yield_([narrow.reduce_sum(narrow.add(x, four), axes=(0,))])
    plain.yield_([plain.reduce_sum(x, axes=(0,))])
    graph.set_outputs({"y": b.if_(condition, regions=blocks)})
    assert run(graph, {"condition": np.False_, "x": zeros(3)})["y"].shape == (1,)
    with pytest.raises(BiremeError, match="sizes n = 3 and 4 = 4 must be equal"):
        run(graph, {"condition": np.True_, "x": zeros(3)})


def test_faults_of_data_name_the_node() -> None:
    graph = Graph()
    a = graph.add_input("a", TensorType(DType.F32, (N,)))
    i = graph.add_input("i", TensorType(DType.I64, ()))
    graph.set_outputs({"y": Builder(graph, node="Gather_3").gather(a, i)})
    with pytest.raises(BiremeError) as caught:
        run(graph, {"a": zeros(3), "i": np.int64(3)})
    assert (caught.value.code, caught.value.where) == ("BM6003", "Gather_3")


def test_symbolic_attributes_are_evaluated() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, (N, 6)))
    b = Builder(graph)
    y = b.reshape(x, shape=(2 * N, 3))
    z = b.slice(y, starts=(N, 0), sizes=(N, 2), steps=(1, 2))
    graph.set_outputs({"z": z, "sizes": b.dim_values(values=(N * 6, N // 2))})
    x_data = np.arange(30, dtype=np.float32).reshape(5, 6)
    found = run(graph, {"x": x_data})
    np.testing.assert_array_equal(found["z"], x_data.reshape(10, 3)[5:, ::2])
    assert found["sizes"].tolist() == [30, 2]


def test_trace_sees_every_value_once() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, (N,)))
    b = Builder(graph)
    y = b.at("first").relu(x)
    values, indices = b.at("second").topk(y, k=(2,))
    graph.set_outputs({"v": values})
    seen: list[tuple[str, int]] = []
    run(graph, {"x": np.float32([1, 5, 3])}, trace=lambda v, a: seen.append((v.label, a.size)))
    assert seen == [("x", 3), ("first", 3), ("second", 2), ("second", 2)]
    assert indices.uses == []


def test_values_are_dropped_after_their_last_use() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, (N,)))
    b = Builder(graph)
    for _ in range(20):
        x = b.exp(x)
    graph.set_outputs({"y": x})
    alive: list[weakref.ref[Array]] = []
    most = 0

    def watch(_value: object, array: Array) -> None:
        nonlocal most
        alive.append(weakref.ref(array))
        most = max(most, sum(ref() is not None for ref in alive))

    run(graph, {"x": zeros(1000)}, trace=watch)
    assert most <= 4


def test_results_are_apart_from_weights_in_layout_only() -> None:
    """Outputs are contiguous whatever views made them."""
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, (2, 3)))
    graph.set_outputs({"y": Builder(graph).transpose(x, perm=(1, 0))})
    assert run(graph, {"x": zeros(2, 3)})["y"].flags.c_contiguous


def test_constants_are_read_from_the_table() -> None:
    graph = Graph()
    array = np.arange(3, dtype=np.float32)
    graph.set_outputs({"y": Builder(graph).constant(array, "w")})
    found = run(graph, {})
    assert found["y"] is array


def test_run_op_checks_types_first() -> None:
    with pytest.raises(BiremeError, match="broadcast of axis 0: 2 and 3 differ") as caught:
        run_op("add", [zeros(2), zeros(3)])
    assert caught.value.code == "BM2004"
    with pytest.raises(BiremeError) as caught:
        run_op("reshape", [zeros(2)], {"shape": (N,)})
    assert caught.value.code == "BM2007"
    assert run_op("add", [1.5, 2.5])[0] == 4.0
    assert isinstance(run_op("add", [1.5, 2.5])[0], np.ndarray)


def test_no_numpy_warnings_escape() -> None:
    with np.errstate(all="raise"):
        x = np.float32([0, -1, np.inf])
        run_op("log", [x])
        run_op("div", [np.array([1]), np.array([0])])
        graph = inputs_only(a=(N,))
        graph.set_outputs({"y": Builder(graph).rsqrt(graph.inputs[0])})
        run(graph, {"a": x})
