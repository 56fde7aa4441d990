"""Liveness against what the interpreter does, and the rules for regions."""

import numpy as np
import pytest

from bireme.ir import Builder, DType, TensorType
from bireme.ir.reference import run
from bireme.passes import optimise
from bireme.passes.liveness import Interval, analyse
from tests.passes.random_graphs import random_graph
from tests.passes.support import TARGET, Net, random_inputs


def test_a_straight_line():
    net = Net()
    x = net.input("x", 3)
    a = net.b.exp(x)
    b = net.b.neg(a)
    c = net.b.add(a, b)
    graph = net.done(c)
    live = analyse(graph)
    assert live.intervals == {
        x: Interval(0, 1), a: Interval(1, 3), b: Interval(2, 3), c: Interval(3, 4),
    }  # fmt: skip
    assert live.length == 4


def test_an_input_nobody_reads_and_a_result_nobody_reads():
    net = Net()
    x = net.input("x", 3)
    values, indices = net.b.topk(net.input("y", 3), k=(1,), axis=0)
    live = analyse(net.done(values))
    assert live.intervals[x] == Interval(0, 0)
    assert live.intervals[indices] == Interval(1, 1)


def test_branches():
    net = Net()
    x, c = net.input("x", 3), net.input("c", dtype=DType.BOOL)
    y = net.b.exp(x)  # 1
    made = []
    blocks = [net.b.block(), net.b.block()]
    for block in blocks:
        inner = Builder(net.graph, block=block)
        made.append(inner.neg(y))
        inner.yield_([made[-1]])
    chosen = net.b.op("if", [c], blocks).result  # 2, then 3 4, 5 6, 7
    graph = net.done(net.b.relu(chosen))  # 8
    live = analyse(graph)
    assert live.intervals[y] == Interval(1, 5)
    assert live.intervals[made[0]] == Interval(3, 4)
    assert live.intervals[made[1]] == Interval(5, 6)
    assert live.intervals[chosen] == Interval(4, 8)
    assert live.intervals[c] == Interval(0, 2)


def test_loops_keep_what_they_read_and_carry():
    net = Net()
    xs, start, weight = net.input("xs", 5, 3), net.input("start", 3), net.input("w", 3)
    once = net.b.exp(weight)  # 1
    row = TensorType(DType.F32, (3,))
    block = net.b.block([row, row])
    inner = Builder(net.graph, block=block)
    state, x = block.arguments
    product = inner.mul(inner.add(state, x), once)  # 3, 4
    inner.yield_([product, product])  # 5
    last, rows = net.b.op("scan", [start, xs], [block], carries=1).results  # 2 .. 6
    live = analyse(net.done(last, rows))
    assert live.intervals[once] == Interval(1, 6)
    assert live.intervals[xs] == Interval(0, 6)
    assert live.intervals[start] == Interval(0, 2)
    assert live.intervals[state] == live.intervals[x] == Interval(2, 6)
    assert live.intervals[product] == Interval(4, 5)
    assert live.intervals[rows] == Interval(2, 7)


def test_a_loop_in_a_loop():
    """What the inner loop reads lives to the end of the outermost loop that does not make it."""
    net = Net()
    flag, x = net.input("flag", dtype=DType.BOOL), net.input("x", 3)
    outside = net.b.exp(x)  # 1
    carried = [TensorType(DType.F32, (3,))]

    def loop(b, operand, fill):
        condition, body = b.block(carried), b.block(carried)
        Builder(net.graph, block=condition).yield_([flag])
        inner = Builder(net.graph, block=body)
        inner.yield_([fill(inner, body.arguments[0])])
        return b.op("while", [operand], [condition, body]).result

    seen = {}

    def outer(b, value):  # 2, condition ends at 3
        seen["made"] = b.neg(outside)  # 4
        return loop(b, value, lambda c, v: c.add(v, seen["made"]))  # 5 .. 9: 6, 7 add, 8

    graph = net.done(loop(net.b, x, outer))  # body ends at 10, loop at 11
    live = analyse(graph)
    assert live.intervals[outside] == Interval(1, 11)
    assert live.intervals[flag] == Interval(0, 11)
    assert live.intervals[seen["made"]] == Interval(4, 9)


@pytest.mark.parametrize("seed", range(5))
def test_a_fused_graph_runs_with_only_live_values(seed):
    """The interpreter's trace never reads a value after its interval ends."""
    graph = random_graph(seed, ops=30)
    optimise(graph, TARGET)
    live = analyse(graph)
    order = []
    run(graph, random_inputs(graph), trace=lambda value, _: order.append(value))
    outside = [v for v in order if v in live.intervals]
    firsts = [live.intervals[v].first for v in outside]
    assert firsts == sorted(firsts)
    for value in outside:
        for user, _ in value.uses:
            if not user.is_terminator:
                assert live.begin[user] <= live.intervals[value].last
    assert all(np.isfinite(live.intervals[v].last) for v in graph.outputs)
