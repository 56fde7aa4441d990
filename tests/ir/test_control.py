"""Ops with regions: building, typing, text and running."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from bireme.ir import BiremeError, Block, Builder, DType, Graph, TensorType, Value, symbol
from bireme.ir.reference import run

N = symbol("n")
VECTOR = TensorType(DType.F32, (N,))
SCALAR = TensorType(DType.F32, ())
COUNT = TensorType(DType.I64, ())
BOOL = TensorType(DType.BOOL, ())

Body = Callable[[Builder, list[Value]], Sequence[Value]]


def block(b: Builder, arguments: Sequence[TensorType], body: Body) -> Block:
    made = b.block(arguments)
    inner = Builder(b.graph, block=made)
    inner.yield_(body(inner, made.arguments))
    return made


def round_trips(graph: Graph) -> None:
    graph.verify()
    text = graph.text(locations=True)
    assert Graph.parse(text, graph.weights).text(locations=True) == text


def branching() -> Graph:
    """Y = x + 1 if condition else -x; the second branch is nested and reads an outer value."""
    graph = Graph()
    condition = graph.add_input("condition", BOOL)
    x = graph.add_input("x", VECTOR)
    b = Builder(graph)
    one = b.constant(np.float32(1))
    then = block(b, [], lambda i, _: [i.add(x, one)])

    def otherwise(inner: Builder, _: list[Value]) -> Sequence[Value]:
        nested = block(inner, [], lambda i, _: [i.neg(x)])
        same = block(inner, [], lambda i, _: [i.neg(x)])
        return [inner.op("if", [condition], regions=[nested, same]).result]

    graph.set_outputs({"y": b.if_(condition, regions=[then, block(b, [], otherwise)])})
    return graph


def test_if() -> None:
    graph = branching()
    round_trips(graph)
    assert [op.name for op in graph.walk()] == ["constant", "if", "add", "if", "neg", "neg"]
    outer, inner = (op for op in graph.walk() if op.name == "if")
    assert inner.parent == outer
    assert inner.block == outer.blocks[1]
    assert len(inner.blocks) == 2
    x = np.float32([1, 2])
    assert run(graph, {"condition": np.array(True), "x": x})["y"].tolist() == [2, 3]
    assert run(graph, {"condition": np.array(False), "x": x})["y"].tolist() == [-1, -2]


def counting() -> Graph:
    """Doubles x until it has been done `limit` times; the limit is read from outside."""
    graph = Graph()
    limit = graph.add_input("limit", COUNT)
    x = graph.add_input("x", VECTOR)
    b = Builder(graph)
    start = b.constant(np.int64(0))
    carried = [COUNT, VECTOR]
    condition = block(b, carried, lambda i, a: [i.less(a[0], limit)])
    body = block(b, carried, lambda i, a: [i.add(a[0], i.constant(np.int64(1))), i.add(a[1], a[1])])
    steps, doubled = b.while_(start, x, regions=[condition, body])
    graph.set_outputs({"steps": steps, "y": doubled})
    return graph


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_while(limit: int) -> None:
    graph = counting()
    round_trips(graph)
    found = run(graph, {"limit": np.int64(limit), "x": np.float32([1, 3])})
    assert found["steps"] == limit
    assert found["y"].tolist() == [2.0**limit, 3 * 2.0**limit]


def running_sum(reverse: bool) -> Graph:
    graph = Graph()
    xs = graph.add_input("xs", TensorType(DType.F32, (N, 3)))
    b = Builder(graph)
    zero = b.constant(np.zeros(3, np.float32))
    row = TensorType(DType.F32, (3,))

    def body(inner: Builder, arguments: list[Value]) -> Sequence[Value]:
        total = inner.add(*arguments)
        return [total, total, inner.reduce_sum(total, axes=(0,), keepdims=False)]

    scan = b.op(
        "scan", [zero, xs], regions=[block(b, [row, row], body)], carries=1, reverse=reverse
    )
    graph.set_outputs({f"y{i}": v for i, v in enumerate(scan.results)})
    return graph


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_scan(reverse: bool, steps: int) -> None:
    graph = running_sum(reverse)
    round_trips(graph)
    assert [str(v.type) for v in graph.outputs] == ["float32[3]", "float32[n, 3]", "float32[n]"]
    xs = np.arange(steps * 3, dtype=np.float32).reshape(steps, 3)
    rows = np.flip(np.cumsum(np.flip(xs, 0), 0), 0) if reverse else np.cumsum(xs, 0)
    found = run(graph, {"xs": xs})
    np.testing.assert_array_equal(found["y0"], xs.sum(0))
    np.testing.assert_array_equal(found["y1"], rows)
    np.testing.assert_array_equal(found["y2"], rows.sum(1))
    assert found["y1"].dtype == np.float32


def test_scan_over_several_sequences_without_a_carry() -> None:
    graph = Graph()
    a = graph.add_input("a", VECTOR)
    c = graph.add_input("c", TensorType(DType.F32, (N, 2)))
    b = Builder(graph)
    body = block(b, [SCALAR, TensorType(DType.F32, (2,))], lambda i, v: [i.mul(v[0], v[1])])
    graph.set_outputs({"y": b.scan(a, c, regions=[body], carries=0)})
    round_trips(graph)
    left, right = np.float32([1, 2, 3]), np.ones((3, 2), np.float32)
    np.testing.assert_array_equal(run(graph, {"a": left, "c": right})["y"], left[:, None] * right)


def test_kernel() -> None:
    graph = Graph()
    x = graph.add_input("x", VECTOR)
    b = Builder(graph)
    body = block(b, [VECTOR, VECTOR], lambda i, v: [i.add(v[0], v[1]), i.relu(v[0])])
    total, positive = b.kernel(x, x, regions=[body], kind="elementwise")
    graph.set_outputs({"total": total, "positive": positive})
    round_trips(graph)
    found = run(graph, {"x": np.float32([-1, 2])})
    assert found["total"].tolist() == [-2, 4]
    assert found["positive"].tolist() == [0, 2]


def test_values_inside_a_region_have_labels() -> None:
    graph = running_sum(reverse=False)
    (scan,) = (op for op in graph.walk() if op.name == "scan")
    assert [v.label for v in scan.blocks[0].arguments] == ["argument 0", "argument 1"]


def scan_of(arguments: list[TensorType], yields: list[int], carries: int) -> None:
    """A scan of (vector, matrix) whose body has these arguments and yields some of them."""
    graph = Graph()
    first = graph.add_input("first", TensorType(DType.F32, (3,)))
    xs = graph.add_input("xs", TensorType(DType.F32, (5, 3)))
    b = Builder(graph, node="Scan_1")
    body = block(b, arguments, lambda _, a: [a[i] for i in yields])
    b.op("scan", [first, xs], regions=[body], carries=carries)


ROW = TensorType(DType.F32, (3,))


@pytest.mark.parametrize(
    ("arguments", "yields", "carries", "code", "detail"),
    [
        ([ROW], [0], 1, "BM2004", "body arguments: 2 values against 1"),
        ([ROW, ROW], [], 1, "BM2004", "body's carried results: 1 value against 0"),
        ([ROW, SCALAR], [0], 1, "BM2004",
         "body arguments: value 1 is float32[3] against float32[]"),
        ([SCALAR, ROW], [0], 0, "BM2004", "scan length: 3 and 5 differ"),
        ([ROW, ROW], [0], 3, "BM1006", "carries is 3 with 2 operands"),
        ([ROW, ROW], [0], 2, "BM2004",
         "scan needs at least one tensor with a leading axis to scan over"),
    ],
)  # fmt: skip
def test_scan_messages(
    arguments: list[TensorType], yields: list[int], carries: int, code: str, detail: str
) -> None:
    with pytest.raises(BiremeError) as caught:
        scan_of(arguments, yields, carries)
    assert (caught.value.code, caught.value.detail, caught.value.where) == (code, detail, "Scan_1")


def test_branches_must_agree() -> None:
    graph = Graph()
    condition = graph.add_input("condition", BOOL)
    x = graph.add_input("x", VECTOR)
    b = Builder(graph)
    regions = [
        block(b, [], lambda _, __: [x]),
        block(b, [], lambda i, _: [i.cast(x, dtype="float64")]),
    ]
    with pytest.raises(BiremeError) as caught:
        b.op("if", [condition], regions=regions)
    assert caught.value.detail == "branches: value 0 is float32[n] against float64[n]"


def test_a_loop_condition_must_be_a_scalar() -> None:
    graph = Graph()
    x = graph.add_input("x", VECTOR)
    b = Builder(graph)
    condition = block(b, [VECTOR], lambda i, a: [i.less(a[0], a[0])])
    body = block(b, [VECTOR], lambda _, a: a)
    with pytest.raises(BiremeError) as caught:
        b.op("while", [x], regions=[condition, body])
    assert caught.value.detail == "the condition must yield one bool scalar"


def test_a_wrong_number_of_regions_is_an_error() -> None:
    graph = Graph()
    condition = graph.add_input("condition", BOOL)
    b = Builder(graph)
    with pytest.raises(BiremeError) as caught:
        b.op("if", [condition], regions=[block(b, [], lambda _, __: [condition])])
    assert caught.value.code == "BM2001"
    assert caught.value.detail == "if has 2 regions; found 1"


def test_blocks_left_over_are_noticed() -> None:
    graph = branching()
    block(Builder(graph), [VECTOR], lambda i, a: [i.relu(a[0]), i.neg(graph.inputs[1])])
    with pytest.raises(BiremeError) as caught:
        graph.verify()
    assert caught.value.detail == "a block was made for a region that no op has"


def test_blocks_of_a_failed_op_leave_no_trace() -> None:
    graph = branching()
    b = Builder(graph)
    then = block(b, [], lambda i, _: [i.relu(graph.inputs[1])])
    with pytest.raises(BiremeError):
        b.op("if", [graph.inputs[0]], regions=[then])
    graph.verify()


LEFT_OVER = """
import gc
from bireme.ir import Builder, DType, Graph, TensorType
for _ in range(50):
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.F32, (3,)))
    b = Builder(graph)
    blocks = [b.block([]) for _ in range(20)]
    for made in blocks:
        inner = Builder(graph, block=made)
        inner.yield_([inner.relu(inner.neg(x))])
    cycle = [graph, blocks, b, x]
    cycle.append(cycle)
    del graph, blocks, b, x, inner, made, cycle
    gc.collect()
"""


def test_graphs_with_blocks_left_over_can_be_collected() -> None:
    """A block that outlives the values it reads corrupts the heap; in a process of its own."""
    command = [sys.executable, "-c", LEFT_OVER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
