"""Whole graphs through passes, kernels, artefact and runtime."""

from __future__ import annotations

import numpy as np
import pytest

import bireme as bm
from bireme.codegen.compiler import Options
from bireme.ir import Builder, DType, Graph, TensorType, symbol
from bireme.ir.dtypes import NARROW
from bireme.ir.reference import run
from bireme.runtime import RuntimeFault

F32 = DType.F32
N, H = symbol("n"), symbol("h")
TARGET = "x86:generic"


def compare(graph: Graph, *feeds: dict[str, np.ndarray], winograd: bool = True) -> bm.Program:
    """Compiles a graph and compares every feed with the interpreter."""
    program = bm.compile(graph, TARGET, options=Options(verify=True, jobs=0, winograd=winograd))
    for feed in feeds:
        results = program(feed)
        for name, expected in run(graph, feed).items():
            np.testing.assert_allclose(results[name], expected, rtol=1e-5, atol=1e-5)
    return program


def randoms(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def test_outputs_that_need_no_kernel():
    graph = Graph()
    x = graph.add_input("x", TensorType(F32, (N, 6)))
    b = Builder(graph)
    view = b.reshape(x, shape=(N, 2, 3))
    graph.set_outputs(
        [("same", x), ("view", view), ("again", view), ("data", b.constant(randoms(3), "w"))]
    )
    compare(graph, {"x": randoms(4, 6)}, {"x": randoms(0, 6)})


def test_one_value_as_two_outputs():
    graph = Graph()
    x = graph.add_input("x", TensorType(F32, (5, 6)))
    y = Builder(graph).relu(x)
    graph.set_outputs([("a", y), ("b", y)])
    compare(graph, {"x": randoms(5, 6)})


def test_if_reads_outer_values():
    graph = Graph()
    x = graph.add_input("x", TensorType(F32, (3, 4)))
    flag = graph.add_input("flag", TensorType(DType.BOOL, ()))
    b = Builder(graph)
    doubled = b.add(x, x)
    then, other = b.block(), b.block()
    inner = Builder(graph, block=then)
    inner.yield_([inner.mul(doubled, x)])
    inner = Builder(graph, block=other)
    inner.yield_([doubled])
    graph.set_outputs({"y": b.op("if", [flag], regions=[then, other]).result})
    feed = {"x": randoms(3, 4)}
    compare(graph, {**feed, "flag": np.array(True)}, {**feed, "flag": np.array(False)})


def fibonacci() -> Graph:
    """While a < limit: a, b = b, a + b: each step needs both old values."""
    graph = Graph()
    scalar = TensorType(F32, ())
    a, c, limit = (graph.add_input(name, scalar) for name in ("a", "b", "limit"))
    b = Builder(graph)
    types = [scalar] * 3
    condition, body = b.block(types), b.block(types)
    inner = Builder(graph, block=condition)
    inner.yield_([inner.less(condition.arguments[0], condition.arguments[2])])
    inner = Builder(graph, block=body)
    x, y, bound = body.arguments
    inner.yield_([y, inner.add(x, y), bound])
    loop = b.op("while", [a, c, limit], regions=[condition, body])
    graph.set_outputs([("a", loop.results[0]), ("b", loop.results[1])])
    return graph


def test_while_swaps_carried_values():
    one = np.float32(1)
    feeds = [{"a": one, "b": one, "limit": np.float32(limit)} for limit in (0, 2, 50)]
    compare(fibonacci(), *({k: np.asarray(v) for k, v in f.items()} for f in feeds))


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_with_symbolic_length(reverse):
    graph = Graph()
    xs = graph.add_input("xs", TensorType(F32, (N, 3)))
    start = graph.add_input("start", TensorType(F32, (3,)))
    b = Builder(graph)
    body = b.block([start.type, TensorType(F32, (3,))])
    inner = Builder(graph, block=body)
    state = inner.add(*body.arguments)
    inner.yield_([state, inner.mul(state, state)])
    scan = b.op("scan", [start, xs], regions=[body], carries=1, reverse=reverse)
    graph.set_outputs([("last", scan.results[0]), ("all", scan.results[1])])
    feeds = [{"xs": randoms(n, 3), "start": randoms(3)} for n in (5, 1)]
    compare(graph, *feeds)


def test_sizes_that_must_agree():
    graph = Graph()
    x = graph.add_input("x", TensorType(F32, (N, 4)))
    y = graph.add_input("y", TensorType(F32, (H, 4)))
    graph.set_outputs({"z": Builder(graph, node="Add_7").add(x, y)})
    program = compare(graph, {"x": randoms(3, 4), "y": randoms(3, 4)})
    with pytest.raises(RuntimeFault, match="Add_7"):
        program({"x": randoms(3, 4), "y": randoms(2, 4)})


def test_equal_layers_share_a_kernel():
    graph = Graph()
    x = graph.add_input("x", TensorType(F32, (8, 8)))
    b = Builder(graph)
    for layer in range(3):
        x = b.relu(b.matmul(x, b.constant(randoms(8, 8 + 0 * layer), f"w{layer}")))
    graph.set_outputs({"y": x})
    program = compare(graph, {"x": randoms(8, 8)})
    assert program.report.kernels == 1
    assert program.report.launches == 3


def test_every_level_gives_the_same(tmp_path):
    graph = Graph()
    x = graph.add_input("x", TensorType(F32, (2, 3, 13, 11)))
    b = Builder(graph)
    w = b.constant(randoms(24, 3, 3, 3), "w")
    y = b.conv(x, w, strides=(1, 1), pads=(1, 1, 1, 1), dilations=(1, 1))
    graph.set_outputs({"y": b.relu(y)})
    program = bm.compile(graph, TARGET, options=Options(jobs=0))
    program.save(tmp_path / "m.bireme")
    feed = {"x": randoms(2, 3, 13, 11)}
    expected = run(graph, feed)["y"]
    from bireme.runtime import Model, Session

    for level in ("x86-64-v2", "x86-64-v3", "x86-64-v4"):
        model = Model.load(tmp_path / "m.bireme", max_isa=level)
        np.testing.assert_allclose(Session(model).run(feed)["y"], expected, rtol=1e-4, atol=1e-4)


def test_elementwise_results_take_over_memory():
    graph = Graph()
    x = graph.add_input("x", TensorType(F32, (64, 64)))
    b = Builder(graph)
    total = b.softmax(x, axis=-1)
    for _ in range(4):
        total = b.relu(b.add(b.softmax(total, axis=0), total))
    graph.set_outputs({"y": total})
    program = compare(graph, {"x": randoms(64, 64)})
    assert program.report.arena_bytes == program.report.arena_lower_bound == 2 * 64 * 64 * 4


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
def test_integers_with_negative_constants_wrap(dtype):
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.of(dtype), (37,)))
    b = Builder(graph)
    k = b.constant(np.asarray(-3, dtype))
    graph.set_outputs([("product", b.mul(x, k)), ("sum", b.add(x, k)), ("rest", b.sub(k, x))])
    limits = np.iinfo(dtype)
    whole = np.random.default_rng(0).integers(limits.min, limits.max, 37).astype(dtype)
    compare(graph, {"x": whole})


def test_rows_whose_last_vector_overlaps_are_not_overwritten():
    graph = Graph()
    x = graph.add_input("x", TensorType(F32, (1, 37, 21)))
    b = Builder(graph)
    total = b.cumsum(x, axis=1)
    scaled = b.add(b.mul(total, b.constant(randoms(37, 1))), b.constant(np.float32(1)))
    graph.set_outputs({"y": b.cumsum(scaled, axis=1)})
    compare(graph, {"x": randoms(1, 37, 21) / 8})


def test_contractions_that_are_not_tiled_are_not_overwritten():
    graph = Graph()
    x = graph.add_input("x", TensorType(F32, (1, 16, 7, 21)))
    b = Builder(graph)
    attrs = {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1), "groups": 8}
    w = b.constant(randoms(16, 2, 3, 3) / 4, "w")
    y = b.conv(x, w, **attrs)
    for _ in range(2):
        y = b.add(b.conv(b.relu(b.conv(y, w, **attrs)), w, **attrs), y)
    graph.set_outputs({"y": b.conv(y, w, **attrs)})
    compare(graph, {"x": randoms(1, 16, 7, 21)}, winograd=False)


def test_an_operand_that_is_also_convolved_is_not_overwritten():
    graph = Graph()
    x = graph.add_input("x", TensorType(F32, (1, 16, 8, 8)))
    b = Builder(graph)
    w = b.constant(randoms(16, 16, 3, 3) / 12, "w")
    y = b.relu(x)
    for _ in range(3):
        y = b.add(b.conv(y, w, strides=(1, 1), pads=(1, 1, 1, 1), dilations=(1, 1)), y)
    graph.set_outputs({"y": y})
    compare(graph, {"x": randoms(1, 16, 8, 8)})


@pytest.mark.parametrize("rows", [N, 4])
def test_concat_and_slice_without_work(rows):
    graph = Graph()
    x = graph.add_input("x", TensorType(F32, (rows, 16)))
    b = Builder(graph)
    parts = [b.softmax(b.mul(x, b.constant(np.float32(k))), axis=-1) for k in (1, 2)]
    joined = b.concat(*parts, axis=0)
    tail = b.slice(joined, starts=(rows, 0), sizes=(rows, 16), steps=(1, 1))
    graph.set_outputs([("y", b.softmax(joined, axis=0)), ("z", b.softmax(tail, axis=0))])
    compare(graph, {"x": randoms(4, 16)})


def test_a_result_without_elements():
    graph = Graph()
    x = graph.add_input("x", TensorType(F32, (2, 0, 4)))
    b = Builder(graph)
    graph.set_outputs([("y", b.reduce_sum(x, axes=(0,))), ("z", b.relu(x))])
    compare(graph, {"x": randoms(2, 0, 4)})


@pytest.mark.parametrize("dtype", NARROW, ids=lambda d: d.label)
def test_narrow_types_go_in_and_come_out(dtype):
    """As arrays of `ml_dtypes`, also weights, views and what a kernel moves."""
    data = np.arange(16, dtype=np.uint8).reshape(4, 4) & ((1 << dtype.value_bits) - 1)
    graph = Graph()
    x = graph.add_input("x", TensorType(dtype, (N, 4)))
    b = Builder(graph)
    weight = b.constant(data.view(dtype.numpy), "w")
    graph.set_outputs(
        [
            ("same", b.reshape(x, shape=(2, N * 2))),
            ("data", weight),
            ("turned", b.transpose(b.concat(x, weight, axis=0), perm=(1, 0))),
            ("wide", b.cast(x, dtype=F32)),
        ]
    )
    program = bm.compile(graph, TARGET, options=Options(verify=True, jobs=0))
    feed = {"x": data[::-1, ::-1].copy()[:3].view(dtype.numpy)}
    results = program(feed)
    for name, expected in run(graph, feed).items():
        assert results[name].dtype == expected.dtype
        np.testing.assert_array_equal(results[name].view(np.uint8), expected.view(np.uint8))
    with pytest.raises(RuntimeFault) as caught:
        program({"x": data})
    assert dtype.label in caught.value.message


@pytest.mark.parametrize("result", [0, 1])
@pytest.mark.parametrize("name", ["compact", "sort_rows", "topk"])
def test_ops_of_which_one_result_is_read(name, result):
    graph = Graph()
    x = graph.add_input("x", TensorType(F32, (7, 3)))
    b = Builder(graph)
    operand = x
    if name == "compact":
        column = b.reshape(b.slice(x, starts=(0, 0), sizes=(7, 1), steps=(1, 1)), shape=(7,))
        operand = b.greater(column, b.constant(np.float32(0)))
    attrs = {"k": (2,)} if name == "topk" else {}
    graph.set_outputs({"y": b.op(name, [operand], **attrs).results[result]})
    compare(graph, {"x": randoms(7, 3)})
