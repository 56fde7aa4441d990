import numpy as np

from bireme.ir import Builder, DType
from bireme.passes.cse import Cse
from bireme.passes.dce import Dce
from tests.passes.support import Net, apply, listing, names, same_results


def test_equal_expressions_are_computed_once():
    net = Net()
    x = net.input("x", 3)
    a, b = net.b.exp(net.b.neg(x)), net.b.exp(net.b.neg(x))
    graph = net.done(net.b.add(a, b))
    with same_results(graph):
        assert apply(graph, Cse()) == ["merged 2 ops"]
    assert listing(graph) == "%0 = neg(x)\n%1 = exp(%0)\n%2 = add(%1, %1)\n-> %2"
    assert apply(graph, Cse()) == [""]


def test_operands_of_commutative_ops_may_be_swapped():
    net = Net()
    x, y = net.input("x", 3), net.input("y", 3)
    sums = net.b.mul(net.b.add(x, y), net.b.add(y, x))
    differences = net.b.mul(net.b.sub(x, y), net.b.sub(y, x))
    squares = net.b.mul(net.b.add(x, x), net.b.add(y, y))
    graph = net.done(sums, differences, squares)
    with same_results(graph):
        apply(graph, Cse())
    assert names(graph.body) == ["add", "mul", "sub", "sub", "mul", "add", "add", "mul"]


def test_attributes_and_types_make_a_difference():
    net = Net()
    x = net.input("x", 2, 3)
    softmaxes = [net.b.softmax(x, axis=a) for a in (0, 1, -1, 1)]
    casts = [net.b.cast(x, dtype=t) for t in (DType.F64, DType.F16)]
    graph = net.done(*softmaxes, *casts)
    with same_results(graph):
        apply(graph, Cse())
    assert names(graph.body) == ["softmax"] * 3 + ["cast"] * 2


def test_constants_with_the_same_bits_become_one():
    net = Net()
    x = net.input("x", 3)
    zeros = [np.zeros(3, np.float32), np.zeros(3, np.float32), np.full(3, -0.0, np.float32)]
    value = x
    for array in zeros:
        value = net.b.div(value, net.b.constant(array, "z"))
    graph = net.done(value)
    with same_results(graph):
        apply(graph, Cse(), Dce())
    assert sorted(graph.weights) == ["z", "z.2"]


def test_large_constants_that_differ_in_one_place_stay_apart():
    net = Net()
    x = net.input("x", 5000)
    first = np.zeros(5000, np.float32)
    second = first.copy()
    second[4999 - 7] = 1
    graph = net.done(net.b.add(net.b.add(x, net.b.constant(first)), net.b.constant(second)))
    assert apply(graph, Cse()) == [""]


def test_a_region_uses_what_is_computed_around_it_but_not_its_siblings_values():
    net = Net()
    x, condition = net.input("x", 3), net.input("c", dtype=DType.BOOL)
    outside = net.b.exp(x)
    branches = [net.b.block(), net.b.block()]
    for block in branches:
        inner = Builder(net.graph, block=block)
        inner.yield_([inner.add(inner.exp(x), inner.neg(x))])
    chosen = net.b.op("if", [condition], branches).result
    graph = net.done(chosen, outside)
    with same_results(graph):
        apply(graph, Cse())
    assert listing(graph) == "\n".join([
        "%0 = exp(x)",
        "%1 = if(c)",
        "  %2 = neg(x)", "  %3 = add(%0, %2)", "  -> %3",
        "  %4 = neg(x)", "  %5 = add(%0, %4)", "  -> %5",
        "-> %1, %0",
    ])  # fmt: skip


def test_draws_stay_apart():
    """Keys of one seed begin alike, but differ inside a loop."""
    net = Net()
    keys = [net.b.random_key(stream=0, seed=4) for _ in range(2)]
    places = net.b.iota(shape=(5,), dtype=DType.I64)
    drawn = [net.b.random_uniform(places, key, dtype=DType.F32) for key in (*keys, keys[0])]
    graph = net.done(*drawn)
    with same_results(graph):
        assert apply(graph, Cse()) == ["merged 1 op"]
    assert names(graph.body) == ["random_key"] * 2 + ["iota"] + ["random_uniform"] * 2
