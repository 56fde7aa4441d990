"""Graphs in which the data decides sizes keep their meaning in all passes, and become plans that
use a size only after it is bound.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from bireme.codegen.arena import place_arena
from bireme.codegen.lower import lower
from bireme.codegen.plan import Plan
from bireme.ir import Builder, Dim, DType, Graph, TensorType, Value, minimum, symbol
from bireme.ir.dims import symbols_of
from bireme.ir.reference import run
from bireme.passes.pipeline import optimise
from bireme.targets.registry import find

WIDTH = 16
N = symbol("n")


class Net:
    """A graph of random ops on matrices of WIDTH columns; `sizes` are those that rows have."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.graph = Graph()
        self.b = Builder(self.graph, node="Net")
        self.pool = [self.graph.add_input("x", TensorType(DType.F32, (N, WIDTH)))]
        self.sizes: list[Dim] = [N]

    def value(self) -> Value:
        return self.random.choice(self.pool)

    def build(self) -> Graph:
        for _ in range(self.random.randint(6, 24)):
            self.pool.append(self.random.choice(OPS)(self, self.value()))
        outputs = self.random.sample(self.pool[1:], self.random.randint(1, 4))
        self.graph.set_outputs([(f"y{i}", v) for i, v in enumerate(outputs)])
        self.graph.verify()
        return self.graph


def _bind(net: Net, x: Value) -> Value:
    """Rows whose element in some column is large enough."""
    b, rows = net.b, x.type.shape[0]
    column = b.slice(x, starts=(0, net.random.randrange(WIDTH)), sizes=(rows, 1), steps=(1, 1))
    limit = b.constant(np.float32(net.random.choice([-0.5, 0, 0.5])))
    places, count = b.compact(b.greater(b.reshape(column, shape=(rows,)), limit))
    name = f"k{len(net.sizes)}"
    net.sizes.append(symbol(name))
    return b.gather(x, b.prefix(places, count, symbol=name), axis=0)


def _fewer(net: Net, rows: Dim) -> Dim:
    """A size of the graph, but at most `rows`."""
    return minimum(net.random.choice(net.sizes), rows)


def _slice(net: Net, x: Value) -> Value:
    sizes = (_fewer(net, x.type.shape[0]), WIDTH)
    return net.b.slice(x, starts=(0, 0), sizes=sizes, steps=(1, 1))


def _gather(net: Net, x: Value) -> Value:
    line = net.b.iota(shape=(_fewer(net, x.type.shape[0]),), axis=0, dtype=DType.I64)
    return net.b.gather(x, line, axis=0)


def _binary(net: Net, x: Value) -> Value:
    return net.b.add(x, net.random.choice([v for v in net.pool if v.type == x.type]))


def _fill(net: Net, _x: Value) -> Value:
    value = net.b.constant(np.float32(net.random.randint(0, 9)))
    return net.b.expand(value, shape=(net.random.choice(net.sizes), WIDTH))


def _shift(net: Net, x: Value) -> Value:
    """Reads a size, and nothing that is made of it: fusion sees no other edge."""
    size = net.b.dim_values(values=(net.random.choice(net.sizes),))
    return net.b.add(x, net.b.cast(size, dtype=DType.F32))


def _reduce(net: Net, x: Value) -> Value:
    return net.b.expand(net.b.reduce_max(net.b.abs(x), axes=(1,)), shape=x.type.shape)


OPS: tuple[Callable[[Net, Value], Value], ...] = (
    _bind,
    _slice,
    _gather,
    _binary,
    _fill,
    _reduce,
    _shift,
    lambda net, x: net.b.relu(x),
    lambda net, x: net.b.concat(x, net.value(), axis=0),
)


def late_uses(plan: Plan) -> list[str]:
    """Sizes that instructions use before they are bound."""
    found, unknown = [], set(plan.bounds)
    for number, instruction in enumerate(plan.instructions):
        dims = [*instruction.dims, instruction.cost, instruction.trip, instruction.bound]
        for tensor in (plan.tensors[t] for t in instruction.args):
            dims += [*tensor.shape, tensor.bytes, tensor.view_offset, tensor.loop_stride]
        used = set().union(*map(symbols_of, dims)) & unknown
        found += [f"instruction {number} uses {name}" for name in sorted(used)]
        unknown.discard(instruction.symbol)
    return found


def test_fusion_sees_that_an_op_uses_a_size() -> None:
    """Both `abs` and `add` are element-wise at one shape, but the size stands between them."""
    graph = Graph()
    b = Builder(graph, node="Between")
    x = b.abs(graph.add_input("x", TensorType(DType.F32, (N,))))
    places, count = b.compact(b.greater(x, b.constant(np.float32(1))))
    b.prefix(places, count, symbol="large")
    size = b.cast(b.dim_values(values=(symbol("large"),)), dtype=DType.F32)
    graph.set_outputs({"y": b.add(x, size)})
    optimise(graph, find("x86").description, verify=True)
    assert not late_uses(lower(graph).plan)
    found = run(graph, {"x": np.arange(-3, 4, dtype=np.float32)})["y"]
    np.testing.assert_array_equal(found, np.abs(np.arange(-3, 4)) + 4)


@pytest.mark.parametrize("seed", range(15))
def test_passes_and_plan(seed: int) -> None:
    graph = Net(seed).build()
    better = graph.clone()
    optimise(better, find("x86").description, verify=True)
    for rows in (0, 1, 7):
        x = np.random.default_rng(rows).standard_normal((rows, WIDTH)).astype(np.float32)
        wanted, found = run(graph, {"x": x}), run(better, {"x": x})
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)
    plan = lower(better).plan
    assert not late_uses(plan)
    place_arena(plan)
    assert not late_uses(plan)
    for tensor in plan.tensors:
        if tensor.place in ("Arena", "Output"):
            assert plan.bounds.keys().isdisjoint(symbols_of(tensor.reserved))
