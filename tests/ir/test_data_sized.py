"""Sizes that the data decides: bound by `prefix`, used behind it, checked by the verifier."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.ir import Array, BiremeError, Builder, DType, Graph, TensorType, Value, symbol
from bireme.ir.reference import run, run_op

N, HITS = symbol("n"), symbol("hits")
VECTOR = TensorType(DType.F32, (N,))
COUNT = TensorType(DType.I64, ())
RANDOM = np.random.default_rng(5)


def positives(graph: Graph) -> tuple[Builder, Value]:
    """The places of the positive elements of input x."""
    x = graph.add_input("x", VECTOR)
    b = Builder(graph, node="Positives")
    places, count = b.compact(b.greater(x, b.constant(np.float32(0))))
    return b, b.prefix(places, count, symbol="hits")


def kept() -> Graph:
    """The positive elements, their number squared, and a line as long."""
    graph = Graph()
    b, places = positives(graph)
    line = b.iota(shape=(HITS + 1,), axis=0, dtype=DType.I64)
    values = b.gather(graph.inputs[0], places)
    graph.set_outputs({"y": values, "n": b.dim_values(values=(HITS * HITS,)), "line": line})
    return graph


@pytest.mark.parametrize("x", [RANDOM.standard_normal(9), np.ones(4), -np.ones(3), np.ones(0)])
def test_the_reference_binds_sizes(x: Array) -> None:
    graph = kept()
    graph.verify()
    x = x.astype(np.float32)
    found = run(graph, {"x": x})
    np.testing.assert_array_equal(found["y"], x[x > 0])
    np.testing.assert_array_equal(found["n"], [(x > 0).sum() ** 2])
    np.testing.assert_array_equal(found["line"], np.arange((x > 0).sum() + 1))


def test_text_keeps_them() -> None:
    graph = kept()
    text = graph.text(locations=True)
    again = Graph.parse(text, graph.weights)
    assert again.text(locations=True) == text
    assert again.data_symbols == {"hits": N}
    assert again.outputs[0].type.shape == (HITS,)


def test_symbols_list_them_after_those_of_the_inputs() -> None:
    graph = kept()
    assert list(graph.symbols) == ["n"]
    assert list(graph.all_symbols) == ["n", "hits"]
    assert graph.all_symbols["hits"].typical == graph.symbols["n"].typical


def test_one_op_alone() -> None:
    (found,) = run_op("prefix", [np.arange(5), np.int64(2)], {"symbol": "m"})
    np.testing.assert_array_equal(found, [0, 1])


@pytest.mark.parametrize("count", [-1, 6])
def test_a_count_outside_of_the_operand(count: int) -> None:
    graph = Graph()
    x, n = graph.add_input("x", TensorType(DType.F32, (5,))), graph.add_input("count", COUNT)
    graph.set_outputs({"y": Builder(graph, node="Cut").prefix(x, n, symbol="m")})
    with pytest.raises(BiremeError, match=f"BM6003 at Cut.*a count of {count} for 5 rows"):
        run(graph, {"x": np.zeros(5, np.float32), "count": np.int64(count)})


def test_every_iteration_has_its_own_size() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.I64, (3, N)))
    b = Builder(graph)
    body = b.block([TensorType(DType.I64, (N,))])
    inner = Builder(graph, block=body)
    (row,) = body.arguments
    places, count = inner.compact(inner.greater(row, inner.constant(np.int64(0))))
    found = inner.prefix(places, count, symbol="hits")
    inner.yield_([inner.reduce_sum(inner.gather(row, found), axes=(0,))])
    graph.set_outputs({"y": b.op("scan", [x], [body], carries=0).result})
    graph.verify()
    data = RANDOM.integers(-5, 6, (3, 7))
    np.testing.assert_array_equal(run(graph, {"x": data})["y"][:, 0], np.maximum(data, 0).sum(1))


def refused(graph: Graph, words: str) -> None:
    with pytest.raises(BiremeError) as caught:
        graph.verify()
    assert caught.value.code == "BM2011"
    assert words in caught.value.detail


def test_a_size_used_before_it_is_bound() -> None:
    graph = Graph()
    b = Builder(graph, node="Early")
    early = b.dim_values(values=(HITS,))
    _, places = positives(graph)
    graph.set_outputs({"y": places, "n": early})
    refused(graph, "uses hits where it has no value")


def test_a_size_bound_twice() -> None:
    graph = Graph()
    _, places = positives(graph)
    again = Builder(graph).prefix(graph.inputs[0], graph.add_input("m", COUNT), symbol="hits")
    graph.set_outputs({"y": places, "z": again})
    refused(graph, "hits has a value already")


def test_a_size_that_an_input_gives() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, (5,)))
    graph.add_input("hits", TensorType(DType.F32, (HITS,)))
    cut = Builder(graph).prefix(x, graph.add_input("m", COUNT), symbol="hits")
    graph.set_outputs({"y": cut})
    refused(graph, "hits has a value already")


def test_what_a_branch_binds_does_not_leave_it() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, (5,)))
    m, condition = graph.add_input("m", COUNT), graph.add_input("c", TensorType(DType.BOOL, ()))
    b = Builder(graph, node="If_1")
    blocks = []
    for name in ("a", "b"):
        block = b.block()
        inner = Builder(graph, block=block)
        inner.yield_([inner.prefix(x, m, symbol=name)])
        blocks.append(block)
    graph.set_outputs({"y": b.op("if", [condition], blocks).result})
    refused(graph, "uses a where it has no value")


# --- sizes that a tensor holds --------------------------------------------------------------------


def reshaped() -> Graph:
    """`x` under a shape that the input `shape` has."""
    graph = Graph()
    x, shape = graph.add_input("x", VECTOR), graph.add_input("shape", TensorType(DType.I64, (2,)))
    b = Builder(graph, node="Shape")
    rows, columns = symbol("rows"), symbol("columns")
    b.bind(shape, symbols=("rows", "columns"), most=(N, N), equal=(rows * columns, N))
    y = b.reshape(x, shape=(rows, columns))
    graph.set_outputs({"y": y, "line": b.iota(shape=(rows,), axis=0, dtype=DType.I64)})
    return graph


@pytest.mark.parametrize("shape", [(3, 4), (1, 12), (12, 1)])
def test_a_tensor_gives_sizes(shape: tuple[int, int]) -> None:
    graph = reshaped()
    graph.verify()
    x = RANDOM.standard_normal(12).astype(np.float32)
    found = run(graph, {"x": x, "shape": np.array(shape)})
    np.testing.assert_array_equal(found["y"], x.reshape(shape))
    np.testing.assert_array_equal(found["line"], np.arange(shape[0]))
    assert graph.data_symbols == {"rows": N, "columns": N}
    assert Graph.parse(graph.text()).text() == graph.text()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((3, 5), "rows.columns = 15 and n = 12 must be equal|columns.rows = 15 and n = 12"),
        ((-3, -4), "rows is -3; it must lie in 0 to 12"),
        ((1, 13), "columns is 13; it must lie in 0 to 12"),
    ],
)
def test_sizes_that_do_not_fit(shape: tuple[int, int], words: str) -> None:
    feed = {"x": np.zeros(12, np.float32), "shape": np.array(shape)}
    with pytest.raises(BiremeError, match=f"BM6003 at Shape.*({words})"):
        run(reshaped(), feed)


@pytest.mark.parametrize(
    ("counts", "attrs", "code"),
    [
        (TensorType(DType.I64, (3,)), {"symbols": ("a",), "most": (4,)}, "BM2004"),
        (TensorType(DType.I64, (1, 1)), {"symbols": ("a",), "most": (4,)}, "BM2004"),
        (COUNT, {"symbols": ("a",), "most": (4, 5)}, "BM1006"),
        (COUNT, {"symbols": ("a",), "most": (-1,)}, "BM1006"),
        (COUNT, {"symbols": ("a",), "most": (4,), "equal": (4,)}, "BM1006"),
        (COUNT, {"symbols": ("a",), "most": (4,), "equal": (4, 5)}, "BM2004"),
        (COUNT, {"symbols": ("a b",), "most": (4,)}, "BM2006"),
        (TensorType(DType.I64, (2,)), {"symbols": ("a", "a"), "most": (4, 4)}, "BM1006"),
        (TensorType(DType.F32, ()), {"symbols": ("a",), "most": (4,)}, "BM2003"),
    ],
)
def test_what_cannot_be_bound(counts: TensorType, attrs: dict[str, object], code: str) -> None:
    graph = Graph()
    value = graph.add_input("counts", counts)
    with pytest.raises(BiremeError) as caught:
        Builder(graph).bind(value, **attrs)
    assert caught.value.code == code


def test_a_tensor_gives_a_size_twice() -> None:
    graph = reshaped()
    Builder(graph).bind(graph.inputs[1], symbols=("more", "rows"), most=(1, 1))
    refused(graph, "rows has a value already")
