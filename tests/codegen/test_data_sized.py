"""Kernels of data-sized ops against the reference, the memory they reserve, and whole plans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bireme.codegen.capacity import reserve
from bireme.codegen.compiler import Options, compile_graph
from bireme.codegen.lower import lower
from bireme.ir import (
    Builder,
    Dim,
    DType,
    Graph,
    TensorType,
    Value,
    evaluate,
    maximum,
    minimum,
    symbol,
)
from bireme.ir.capacity import Capacity
from bireme.ir.dims import floordiv, mod
from bireme.ir.reference import run
from bireme.passes.dce import Dce
from bireme.passes.fuse import Fuse
from bireme.runtime import Model, RuntimeFault, Session
from bireme.targets.description import InstructionSet
from bireme.targets.registry import find
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check, sample
from tests.codegen.kernels import Array, group

N, M, HITS = symbol("n"), symbol("m"), symbol("hits")
each_level = pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)


@each_level
@pytest.mark.parametrize("size", [0, 1, 7, 64, 1001])
def test_compact(size: int, level: InstructionSet) -> None:
    kernel = group([TensorType(DType.BOOL, (N,))], lambda b, x: b.compact(x), kind="opaque")
    for seed, part in enumerate((0.5, 0.0, 1.0)):
        x = np.random.default_rng(seed).random(size) < part
        check(kernel, [x], {"n": size}, level=level)


@each_level
@pytest.mark.parametrize(
    "dtype", [DType.F32, DType.F16, DType.BF16, DType.F64, DType.I64, DType.U8, DType.BOOL]
)
@pytest.mark.parametrize(("rows", "columns"), [(0, 2), (1, 1), (5, 0), (33, 1), (40, 3)])
def test_sort_rows(rows: int, columns: int, dtype: DType, level: InstructionSet) -> None:
    x_type = TensorType(dtype, (N, M))
    kernel = group([x_type], lambda b, x: b.sort_rows(x), kind="opaque")
    x = sample(TensorType(DType.I64, (rows, columns)), {}, 3) % 3
    x = x.astype(dtype.numpy)
    if dtype.is_float and rows > 9:
        x[3], x[7], x[9] = np.nan, np.nan, -x[9]
    check(kernel, [x], {"n": rows, "m": columns}, level=level)


@each_level
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("with_least", [False, True])
def test_suppress(with_least: bool, center: bool, level: InstructionSet) -> None:
    classes, boxes = symbol("c"), TensorType(DType.F32, (2, N, 4))
    types = [boxes, TensorType(DType.F32, (2, classes, N)), TensorType(DType.I64, ())]
    types += [TensorType(DType.F32, ())] * (2 if with_least else 1)
    kernel = group(
        types, lambda b, *x: b.suppress(*x, kept=(minimum(N, 5),), center=center), kind="opaque"
    )
    for count in (0, 1, 37):
        rng = np.random.default_rng(count)
        scores = rng.random((2, 3, count), np.float32).round(1)  # with ties
        inputs: list[Array] = [rng.random((2, count, 4), np.float32), scores, np.array(4)]
        inputs += [np.array(0.4, np.float32)] * (2 if with_least else 1)
        check(kernel, inputs, {"n": count, "c": 3}, level=level, split=3)


# --- memory ---------------------------------------------------------------------------------------

ATOMS = st.one_of(st.integers(-3, 9), st.sampled_from([N, M, HITS, symbol("most")]))


def _join(parts: tuple[str, Dim, Dim]) -> Dim:
    op, a, b = parts
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "min":
            return minimum(a, b)
        case "max":
            return maximum(a, b)
        case "//":
            return floordiv(a, maximum(b, 1))
        case _:
            return mod(a, maximum(b, 1))


DIMS = st.recursive(
    ATOMS,
    lambda inner: st.tuples(
        st.sampled_from(["+", "-", "*", "min", "max", "//", "%"]), inner, inner
    ).map(_join),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(DIMS, st.integers(0, 5), st.integers(0, 5), st.data())
def test_capacity_is_never_too_small(dim: Dim, n: int, m: int, data: st.DataObject) -> None:
    """`hits` lies in 0 to n m, `most` in 0 to hits + 2, and nothing else is known of them."""
    capacity = Capacity({"hits": N * M, "most": HITS + 2})
    hits = data.draw(st.integers(0, n * m))
    sizes = {"n": n, "m": m, "hits": hits, "most": data.draw(st.integers(0, hits + 2))}
    low, high = capacity.least(dim), capacity.most(dim)
    assert not capacity.depends(low)
    assert not capacity.depends(high)
    assert evaluate(low, sizes) <= evaluate(dim, sizes) <= evaluate(high, sizes)


def test_capacity_of_common_sizes() -> None:
    capacity = Capacity({"hits": N, "some": minimum(HITS, 30)})
    assert capacity.most(HITS * 4 * M) == N * 4 * M
    assert capacity.most(N - HITS) == N
    assert capacity.most(floordiv(HITS + 7, 8)) == floordiv(N + 7, 8)
    assert capacity.most(symbol("some")) == minimum(N, 30)
    assert capacity.most(N * M) == N * M


# --- plans ----------------------------------------------------------------------------------------


def positives(graph: Graph) -> tuple[Builder, Value]:
    x = graph.add_input("x", TensorType(DType.F32, (N,)))
    b = Builder(graph, node="Positives")
    places, count = b.compact(b.greater(x, b.constant(np.float32(0))))
    return b, b.prefix(places, count, symbol="hits")


def agrees(graph: Graph, sizes: tuple[int, ...] = (9, 1, 200, 9)) -> Session:
    graph.verify()
    data, _ = compile_graph(graph, find("x86"), Options(verify=True, jobs=0))
    session = Session(Model.load(data), threads=2)
    for seed, size in enumerate(sizes):
        x = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
        for feed in ({"x": x}, {"x": -np.abs(x)}, {"x": np.abs(x)}):
            wanted, found = run(graph, feed), session.run(feed)
            for name in wanted:
                assert found[name].shape == wanted[name].shape
                np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5)
    return session


def test_ops_that_only_use_the_size_stay_behind_it() -> None:
    """None of them reads the result of the prefix, so nothing but the size keeps them there."""
    graph = Graph()
    b, _ = positives(graph)
    x = graph.inputs[0]
    twice = b.add(x, x)  # before, read by one that stands behind
    cut = b.slice(twice, starts=(0,), sizes=(HITS,), steps=(1,))
    line = b.expand(b.constant(np.float32(2)), shape=(HITS, 3))
    graph.set_outputs({"cut": b.relu(cut), "line": line, "n": b.dim_values(values=(HITS, N))})
    agrees(graph)


def test_sizes_shrink_and_grow_with_the_data() -> None:
    graph = Graph()
    b, places = positives(graph)
    x = graph.inputs[0]
    rest = b.slice(x, starts=(HITS,), sizes=(N - HITS,), steps=(1,))
    found = b.gather(x, places)
    whole = b.concat(found, rest, axis=0)
    graph.set_outputs({"whole": b.exp(whole), "rest": rest, "sum": b.reduce_sum(found, axes=(0,))})
    agrees(graph)


def test_what_is_made_before_a_size_is_known_is_not_stored_behind_it() -> None:
    """Rows of 64 bytes could lie in the concat's result, were their place known in time."""
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, (N,)))
    b = Builder(graph, node="Rows")
    rows = b.exp(b.expand(b.reshape(x, shape=(N, 1)), shape=(N, 16)))
    places, count = b.compact(b.greater(x, b.constant(np.float32(0))))
    found = b.gather(rows, b.prefix(places, count, symbol="hits"), axis=0)
    graph.set_outputs({"y": b.relu(b.concat(b.neg(found), rows, b.neg(found), axis=0))})
    agrees(graph)


def shaped() -> Graph:
    """Sums along both axes of `x` under a shape that the input `shape` has."""
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, (N,)))
    shape = graph.add_input("shape", TensorType(DType.I64, (2,)))
    b = Builder(graph, node="Shape")
    rows, columns = symbol("rows"), symbol("columns")
    b.bind(shape, symbols=("rows", "columns"), most=(N, N), equal=(rows * columns, N))
    y = b.relu(b.reshape(x, shape=(rows, columns)))
    graph.set_outputs(
        {"y": b.exp(y), "a": b.reduce_sum(y, axes=(0,)), "b": b.reshape(y, shape=(N,))}
    )
    return graph


def test_a_tensor_gives_sizes() -> None:
    graph = shaped()
    graph.verify()
    data, _ = compile_graph(graph, find("x86"), Options(verify=True, jobs=0))
    session = Session(Model.load(data), threads=2)
    for shape in ((3, 40), (120, 1), (1, 1), (6, 5)):
        x = np.random.default_rng(0).standard_normal(shape[0] * shape[1]).astype(np.float32)
        feed = {"x": x, "shape": np.array(shape)}
        wanted, found = run(graph, feed), session.run(feed)
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "code", "words"),
    [
        ((3, 5), "BM5010", "two sizes that must be equal are 15 and 12"),
        ((-3, -4), "BM5019", "rows is -3, it must lie in 0 to 12"),
        ((1, 13), "BM5019", "columns is 13, it must lie in 0 to 12"),
        ((1 << 62, 4), "BM5019", "it must lie in 0 to 12"),
    ],
)
def test_sizes_that_do_not_fit_are_told(shape: tuple[int, int], code: str, words: str) -> None:
    data, _ = compile_graph(shaped(), find("x86"), Options(jobs=0))
    session = Session(Model.load(data), threads=1)
    feed = {"x": np.ones(12, np.float32), "shape": np.array(shape)}
    with pytest.raises(RuntimeFault) as caught:
        session.run(feed)
    assert caught.value.code == code
    assert words in str(caught.value)
    assert "Shape" in str(caught.value)
    good = session.run({**feed, "shape": np.array([4, 3])})["y"]
    np.testing.assert_allclose(good, np.full((4, 3), np.e), rtol=1e-6)


def test_a_product_of_sizes_is_reserved_once() -> None:
    """Each may be n, but not both: no memory for n n elements."""
    graph = shaped()
    Fuse().run(graph, find("x86").description)
    plan = lower(graph).plan
    reserve(plan)
    held = [t.capacity for t in plan.tensors if t.capacity is not None]
    assert held
    assert all(size in (N * 4, 4 * N) for size in held)


def test_what_only_checks_sizes_stays() -> None:
    description = find("x86").description
    for equal, left in (((), 0), ((symbol("m"), N), 1)):
        graph = Graph()
        x = graph.add_input("x", TensorType(DType.F32, (N,)))
        count = graph.add_input("m", TensorType(DType.I64, ()))
        Builder(graph).bind(count, symbols=("m",), most=(N,), equal=equal)
        graph.set_outputs({"y": x})
        Dce().run(graph, description)
        assert len(list(graph.walk())) == left


def test_one_size_bounds_another() -> None:
    graph = Graph()
    b, places = positives(graph)
    values = b.gather(graph.inputs[0], places)
    large, count = b.compact(b.greater(values, b.constant(np.float32(0.5))))
    large = b.prefix(large, count, symbol="large")
    pairs = b.expand(b.reshape(b.gather(values, large), shape=(symbol("large"), 1)),
                     shape=(symbol("large"), HITS))  # fmt: skip
    graph.set_outputs({"pairs": pairs, "large": large})
    agrees(graph, (9, 1, 40))


def test_every_iteration_has_its_own_size() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, (N,)))
    b = Builder(graph)
    start = b.constant(np.float32(0))
    body = b.block([TensorType(DType.F32, ()), TensorType(DType.F32, ())])
    inner = Builder(graph, block=body)
    total, limit = body.arguments
    places, count = inner.compact(inner.greater(x, limit))
    found = inner.gather(x, inner.prefix(places, count, symbol="above"))
    after = inner.add(total, inner.reshape(inner.reduce_sum(found, axes=(0,)), shape=()))
    inner.yield_([after, after])
    made = b.op("scan", [start, x], [body], carries=1)
    graph.set_outputs({"total": made.results[0], "all": made.results[1]})
    agrees(graph, (5, 1, 23))


def test_a_size_without_users_is_removed_and_one_with_users_stays() -> None:
    description = find("x86").description
    graph = Graph()
    positives(graph)
    graph.set_outputs({"y": graph.inputs[0]})
    Dce().run(graph, description)
    assert not list(graph.walk())
    graph = Graph()
    b, _ = positives(graph)
    graph.set_outputs({"n": b.dim_values(values=(HITS,))})
    Dce().run(graph, description)
    assert "prefix" in [op.name for op in graph.walk()]


def test_a_prefix_is_no_copy() -> None:
    graph = Graph()
    _, places = positives(graph)
    graph.set_outputs({"y": Builder(graph).add(places, places)})
    Fuse().run(graph, find("x86").description)
    plan = lower(graph).plan
    assert [i.op for i in plan.instructions] == ["Launch", "Launch", "Bind", "Launch"]
    assert plan.bounds == {"hits": N}


def test_nothing_is_allocated_for_the_actual_size() -> None:
    graph = Graph()
    b, places = positives(graph)
    graph.set_outputs({"y": b.exp(b.exp(b.gather(graph.inputs[0], places)))})
    session = agrees(graph)
    held = []
    for part in (0.0, 1.0):
        x = np.where(np.random.default_rng(0).random(200) < part, 1, -1).astype(np.float32)
        session.run({"x": x})
        held.append(session.peak_bytes)
    assert held[0] == held[1]


def test_sizes_that_are_constants() -> None:
    """No importer writes them, but passes may find out that a tensor is constant."""
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, (N,)))
    b = Builder(graph, node="Cut")
    b.bind(b.constant(np.array([2, 3])), symbols=("a", "b"), most=(N, N))
    a, c = symbol("a"), symbol("b")
    graph.set_outputs({"y": b.exp(b.slice(x, starts=(a,), sizes=(c,), steps=(1,)))})
    agrees(graph, (9, 5, 40))
