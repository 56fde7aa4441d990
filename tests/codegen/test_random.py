"""Random numbers in kernels: the reference's bits, whatever the instruction set and the tasks."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.codegen.collapse import collapse
from bireme.codegen.compiler import Options, compile_graph
from bireme.codegen.spec import kernel_spec
from bireme.ir import (
    Array,
    Builder,
    DType,
    Graph,
    SymbolRange,
    TensorType,
    Value,
    reference,
    symbol,
)
from bireme.ir.dtypes import FLOATS
from bireme.runtime import Model, Session
from bireme.targets.registry import find
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check
from tests.codegen.kernels import group, run_kernel

KEY = np.array(0xFEDCBA9876543210, np.uint64)
N = symbol("n")
each_float = pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.label)


def drawing(op: str, dtype: DType, *shape: object):
    """A kernel that draws a tensor of this shape and, in the same loop, adds another to it."""
    whole = TensorType(dtype, shape)

    def body(b: Builder, key: Value, x: Value) -> list[Value]:
        places = b.iota(shape=shape, dtype=DType.I64)
        drawn = b.op(op, [places, key], dtype=dtype).result
        return [drawn, b.add(drawn, x)]

    return group([TensorType(DType.U64, ()), whole], body)


def bits(arrays: list[Array]) -> list[bytes]:
    return [array.tobytes() for array in arrays]


@each_float
@pytest.mark.parametrize("shape", [(), (1,), (17,), (3, 5, 33), (2, 0)], ids=str)
def test_uniform_numbers_are_the_references_bits(shape: tuple[int, ...], dtype: DType) -> None:
    kernel = drawing("random_uniform", dtype, *shape)
    x = np.zeros(shape, dtype.numpy)
    expected, _ = reference.run(kernel.graph, {"x0": KEY, "x1": x}).values()
    for level in LEVELS:
        status, results = run_kernel(kernel, [KEY, x], level=level, split=3)
        assert status == 0
        assert bits(results) == bits([expected, expected])


@each_float
@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_normal_numbers_are_the_references_to_rounding(level, dtype: DType) -> None:
    x = np.ones((40, 33), dtype.numpy)
    check(drawing("random_normal", dtype, N, 33), [KEY, x], {"n": 40}, level=level)


@pytest.mark.parametrize("op", ["random_uniform", "random_normal"])
def test_results_do_not_depend_on_the_tasks(op: str) -> None:
    kernel = drawing(op, DType.F32, N)
    inputs = [KEY, np.ones(10_001, np.float32)]
    runs = [run_kernel(kernel, inputs, {"n": 10_001}, split=split)[1] for split in (1, 2, 3)]
    assert bits(runs[0]) == bits(runs[1]) == bits(runs[2])


def test_places_beyond_32_bits() -> None:
    kernel = group(
        [TensorType(DType.I64, (5,)), TensorType(DType.U64, ())],
        lambda b, places, key: b.random_uniform(places, key, dtype=DType.F64),
    )
    places = np.array([7, 7 + (1 << 32), -1, 1 << 62, 7 - (1 << 40)])
    check(kernel, [places, KEY], rtol=0, atol=0)


def test_what_follows_joins_the_kernel_and_changes_no_number() -> None:
    """Like the noise of a sampler: x + drawn * scale, with a transpose of the noise on the side."""
    graph = Graph("sampler")
    x = graph.add_input("x", TensorType(DType.F32, (N, 6, 20)))
    scale = graph.add_input("scale", TensorType(DType.F32, (6, 1)))
    b = Builder(graph)
    places = b.iota(shape=x.type.shape, dtype=DType.I64)
    noise = b.random_normal(places, b.random_key(stream=1), dtype=DType.F32)
    again = b.random_normal(places, b.random_key(stream=2), dtype=DType.F32)
    moved = b.transpose(again, perm=(2, 0, 1))
    graph.set_outputs([("y", b.add(x, b.mul(noise, b.exp(scale)))), ("moved", b.relu(moved))])
    graph.set_symbol("n", SymbolRange(1, None, 8))
    data, _ = compile_graph(graph, find("x86"), Options(cache=None, jobs=0))
    feed = {"x": np.ones((7, 6, 20), np.float32), "scale": np.zeros((6, 1), np.float32)}
    results = []
    for threads in (1, 2):
        session = Session(Model.load(data), threads=threads, seed=11, profile=True)
        results += [session.run(feed) for _ in range(2)]
        ops = [entry.op for entry in session.profile()]
        assert ops.count("random_key") == 2
        assert {"iota+random_normal+mul+add", "iota+random_normal+relu+transpose"} <= set(ops)
    expected = [reference.run(graph, feed, seed=11, run_number=n) for n in range(2)] * 2
    for found, wanted in zip(results, expected, strict=True):
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)
    assert bits(list(results[0].values())) == bits(list(results[2].values()))
    assert bits(list(results[0].values())) != bits(list(results[1].values()))


def test_every_step_of_a_loop_draws_anew() -> None:
    graph = Graph("steps")
    x = graph.add_input("x", TensorType(DType.F32, (N, 3)))
    b = Builder(graph)
    row = TensorType(DType.F32, (3,))
    body = b.block([row, row])
    inner = Builder(graph, block=body)
    places = inner.iota(shape=(3,), dtype=DType.I64)
    drawn = inner.random_uniform(places, inner.random_key(stream=1), dtype=DType.F32)
    fixed = inner.random_uniform(places, inner.random_key(stream=0, seed=4), dtype=DType.F32)
    total = inner.add(inner.add(body.arguments[0], body.arguments[1]), inner.sub(drawn, fixed))
    inner.yield_([total, drawn, fixed])
    start = b.constant(np.zeros(3, np.float32))
    scan = b.op("scan", [start, x], [body], carries=1)
    graph.set_outputs(list(zip(("total", "drawn", "fixed"), scan.results, strict=True)))
    graph.set_symbol("n", SymbolRange(1, 9, 4))
    data, _ = compile_graph(graph, find("x86"), Options(cache=None, jobs=0))
    session = Session(Model.load(data), seed=3)
    feed = {"x": np.zeros((4, 3), np.float32)}
    first, second = session.run(feed), session.run(feed)
    for number, found in enumerate((first, second)):
        wanted = reference.run(graph, feed, seed=3, run_number=number)
        np.testing.assert_array_equal(found["drawn"], wanted["drawn"])
        np.testing.assert_array_equal(found["fixed"], wanted["fixed"])
        np.testing.assert_allclose(found["total"], wanted["total"], rtol=1e-5, atol=1e-6)
    assert len(np.unique(np.stack([first["drawn"], second["drawn"]]))) == 24
    assert len(np.unique(first["fixed"])) == 12
    np.testing.assert_array_equal(first["fixed"], second["fixed"])


def test_axes_of_a_drawn_tensor_are_merged() -> None:
    """Rows of 3 would be no vectors."""
    kernel = drawing("random_normal", DType.F32, N, 5, 3)
    merged = collapse(kernel_spec(kernel).graph())
    assert [v.type.rank for v in merged.outputs] == [1, 1]
    check(kernel, [KEY, np.ones((7, 5, 3), np.float32)], {"n": 7})
