"""The fusion pass on IR: what a kernel op looks like, and that results stay the same bits."""

import numpy as np
import pytest

from bireme.ir import Builder, DType, TensorType
from bireme.passes.dce import Dce
from bireme.passes.fuse import ALL_IN_KERNELS, Fuse
from tests.passes.random_graphs import random_graph
from tests.passes.support import Net, apply, kernels, listing, names, same_results


def fused(net, *outputs, sizes=({},), **options):
    graph = net.done(*outputs)
    with same_results(graph, sizes=sizes):
        apply(graph, Dce(), Fuse(**options))
    return graph


def test_a_convolution_with_its_epilogue():
    net = Net()
    x = net.input("x", "n", 3, 8, 8)
    y = net.conv(x, 4, 3, node="c")
    y = net.b.mul(net.b.relu(net.b.add(y, net.weight(4, 1, 1, name="bias"))), net.scalar(2))
    graph = net.done(y)
    with same_results(graph, sizes=({"n": 1}, {"n": 3})):
        gains = apply(graph, Fuse())
    assert gains == ["fused 4 ops into 1 kernel (1 contraction)"]
    assert listing(graph, "kind") == "\n".join([
        "%0 = kernel(x, c.w, bias, kind='contraction')",
        "  %1 = conv(a0, a1)",
        "  %2 = add(%1, a2)",
        "  %3 = relu(%2)",
        "  %4 = mul(%3, scalar)",
        "  -> %4",
        "-> %0",
    ])  # fmt: skip
    assert apply(graph, Fuse()) == [""]


def test_a_kernel_carries_the_names_of_its_ops():
    net = Net()
    y = net.conv(net.input("x", 1, 3, 8, 8), 4, 3, node="conv1")
    y = net.b.at("act1").relu(y)
    net.b.at("head")
    graph = fused(net, net.b.softmax(y))
    assert [op.node for op in graph.walk() if op.name == "kernel"] == ["conv1, act1", "head"]
    assert {op.node for op in graph.walk() if op.name not in ("kernel", "constant")} == {
        "conv1", "act1", "head",
    }  # fmt: skip


def test_constants_of_one_element_are_copied_inside():
    net = Net()
    x, y = net.input("x", 3), net.input("y", 4)
    one = net.b.constant(np.full((1,), 2, np.float32), "one")
    graph = fused(net, net.b.mul(x, one), net.b.mul(y, one))
    inside = [op.attrs["name"] for op in graph.walk() if op.name == "constant" and op.parent]
    assert inside == ["one", "one"]
    assert not [op for op in graph.body.ops if op.name == "constant"]
    assert [len(op.operands) for op in graph.walk() if op.name == "kernel"] == [1, 1]


def test_generated_data_is_made_where_it_is_read():
    net = Net()
    x = net.input("x", "n", 4)
    index = net.b.iota(shape=x.type.shape, axis=1, dtype=DType.F32)
    graph = fused(net, net.b.add(x, index), net.b.softmax(net.b.mul(x, index)), sizes=({"n": 2},))
    assert kernels(graph) == [
        ("pointwise", ["iota", "add"]), ("reduction", ["iota", "mul", "softmax"]),
    ]  # fmt: skip


def test_views_stay_outside():
    net = Net()
    x = net.input("x", "n", 6)
    n = x.type.shape[0]
    y = net.b.exp(net.b.reshape(net.b.exp(x), shape=(n, 2, 3)))
    graph = fused(net, y, sizes=({"n": 2},))
    assert names(graph.body) == ["kernel", "reshape", "kernel"]


def test_a_padded_store():
    net = Net()
    y = net.b.relu(net.conv(net.input("x", 1, 3, 8, 8), 4, 1, node="a"))
    pad = net.b.pad(y, net.scalar(0), before=(0, 0, 1, 1), after=(0, 0, 1, 1))
    ones = net.b.pad(net.b.relu(net.conv(pad, 4, 3, pad=0, node="b")), net.scalar(1),
                     before=(0, 0, 1, 1), after=(0, 0, 1, 1))  # fmt: skip
    graph = fused(net, net.conv(ones, 4, 3, pad=0, node="c"))
    assert kernels(graph) == [
        ("contraction", ["conv", "relu", "pad"]), ("contraction", ["conv", "relu"]),
        ("pointwise", ["pad"]), ("contraction", ["conv"]),
    ]  # fmt: skip


def test_results_that_others_read_are_results_of_the_kernel():
    net = Net()
    x = net.input("x", 4, 4)
    y = net.b.add(net.b.matmul(x, net.weight(4, 4)), x)
    z = net.b.relu(y)
    graph = fused(net, net.b.softmax(y), net.b.softmax(z))
    first = next(op for op in graph.walk() if op.name == "kernel")
    assert names(first.blocks[0]) == ["matmul", "add", "relu"]
    assert [v.type for v in first.results] == [y.type for y in graph.outputs]


def test_both_results_of_one_op():
    net = Net()
    values, indices = net.b.topk(net.input("x", 2, 5), k=(2,), axis=1)
    graph = fused(net, net.b.neg(values), net.b.add(indices, net.scalar(1, np.int64)))
    assert [k for k, _ in kernels(graph)] == ["opaque", "pointwise", "pointwise"]


def test_regions_of_control_flow_are_fused_on_their_own():
    net = Net()
    x, c = net.input("x", 3), net.input("c", dtype=DType.BOOL)
    outer = net.b.exp(x)
    branches = [net.b.block(), net.b.block()]
    for block in branches:
        inner = Builder(net.graph, block=block)
        inner.yield_([inner.relu(inner.neg(outer))])
    graph = fused(net, net.b.op("if", [c], branches).result)
    assert listing(graph, "kind") == "\n".join([
        "%0 = kernel(x, kind='pointwise')",
        "  %1 = exp(a0)", "  -> %1",
        "%2 = if(c)",
        "  %3 = kernel(%0, kind='pointwise')",
        "    %4 = neg(a0)", "    %5 = relu(%4)", "    -> %5",
        "  -> %3",
        "  %6 = kernel(%0, kind='pointwise')",
        "    %7 = neg(a0)", "    %8 = relu(%7)", "    -> %8",
        "  -> %6",
        "-> %2",
    ])  # fmt: skip


def test_a_value_that_a_region_reads_is_made_before_it():
    """The `if` reads `y` through its regions only, and stands between two ops that could join."""
    net = Net()
    x, c = net.input("x", 3), net.input("c", dtype=DType.BOOL)
    y = net.b.exp(x)
    branches = [net.b.block(), net.b.block()]
    for block, name in zip(branches, ("neg", "relu"), strict=True):
        inner = Builder(net.graph, block=block)
        inner.yield_([inner.op(name, [y]).result])
    chosen = net.b.op("if", [c], branches).result
    graph = fused(net, net.b.add(net.b.abs(y), chosen))
    assert names(graph.body) == ["kernel", "if", "kernel"]


def test_loops():
    net = Net()
    xs, start = net.input("xs", "t", 3), net.input("start", 3)
    row = TensorType(DType.F32, (3,))
    block = net.b.block([row, row])
    inner = Builder(net.graph, block=block)
    state, x = block.arguments
    state = inner.tanh(inner.add(state, inner.mul(x, inner.constant(np.float32(0.5)))))
    inner.yield_([state, inner.neg(state)])
    results = net.b.op("scan", [start, xs], [block], carries=1).results
    graph = fused(net, *results, sizes=({"t": 1}, {"t": 4}))
    assert names(graph.body) == ["scan"]
    (scan,) = [op for op in graph.body.ops if op.name == "scan"]
    assert kernels(graph) == [("pointwise", ["mul", "add", "tanh", "neg"])]
    assert names(scan.blocks[0]) == ["kernel"]


def test_the_size_of_kernels_is_an_option():
    net = Net()
    y = net.input("x", 3)
    for _ in range(6):
        y = net.b.relu(net.b.neg(y))
    graph = fused(net, y, max_ops=4)
    assert [len(n) for _, n in kernels(graph)] == [4, 4, 4]


def test_the_property_sees_what_it_forbids():
    net = Net()
    x = net.input("x", 3)
    net.b.at("loose")
    y = net.b.relu(x)
    graph = net.done(y)
    assert ALL_IN_KERNELS.violations(graph) == ["relu at loose outside a kernel"]
    apply(graph, Fuse())
    assert ALL_IN_KERNELS.violations(graph) == []


@pytest.mark.parametrize("dtype", [DType.F32, DType.I32])
@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_give_the_same_bits(seed, dtype):
    graph = random_graph(seed, ops=40, dtype=dtype)
    apply(graph, Dce())
    before = {op.node for op in graph.walk() if op.name != "constant"}
    with same_results(graph, sizes=({"n": 1}, {"n": 4})):
        apply(graph, Fuse())
    assert {op.node for op in graph.walk() if op.name not in ("constant", "kernel")} == before
    for op in graph.walk():
        if op.name == "kernel":
            assert len({v.type.shape for v in op.results}) == 1
