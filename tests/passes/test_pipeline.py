"""The default pipeline as a whole: results, source names, repeatability."""

import numpy as np
import pytest

from bireme.ir import DType
from bireme.passes import optimise
from tests.passes.random_graphs import random_graph
from tests.passes.support import TARGET, Net, kernels, names, same_results

SIZES = ({"n": 1}, {"n": 4})


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("dtype", [DType.F32, DType.F64, DType.I32])
def test_random_graphs_compute_the_same(seed, dtype):
    graph = random_graph(100 + seed, ops=30, dtype=dtype)
    tolerance = {DType.F32: 1e-4, DType.F64: 1e-10, DType.I32: 0.0}[dtype]
    known = {name for op in graph.walk() for name in op.node.split(", ")}
    with same_results(graph, sizes=SIZES, tolerance=tolerance):
        optimise(graph, TARGET, verify=True)
    for op in graph.walk():
        assert op.node, f"{op.name} has lost its place in the model"
        assert set(op.node.split(", ")) <= known


def residual_network():
    net = Net()
    x = net.input("x", "n", 3, "h", "w", hint=32)
    y = net.b.at("stem").relu(net.batch_norm(net.conv(x, 32, 3, stride=2, node="stem")))
    for block in range(3):
        z = net.b.relu(net.batch_norm(net.conv(y, 16, 1, node=f"b{block}.reduce")))
        z = net.b.relu(net.batch_norm(net.conv(z, 16, 3, node=f"b{block}.spatial")))
        z = net.batch_norm(net.conv(z, 32, 1, node=f"b{block}.expand"))
        y = net.b.relu(net.b.add(z, y))
    y = net.b.at("pool").reduce_mean(y, axes=(2, 3), keepdims=False)
    y = net.b.at("head").add(net.b.matmul(y, net.weight(32, 10, name="fc")), net.weight(10))
    return net.done(net.b.softmax(y))


def test_a_residual_network_becomes_one_kernel_for_each_convolution():
    graph = residual_network()
    sizes = ({"n": 1, "h": 8, "w": 10}, {"n": 2, "h": 17, "w": 32})
    with same_results(graph, tolerance=1e-5, sizes=sizes):
        optimise(graph, TARGET, verify=True)
    block = [
        ("contraction", ["conv", "add", "relu", "pad"]),
        ("contraction", ["conv", "add", "relu"]),
        ("contraction", ["conv", "add", "add", "relu"]),
    ]
    assert kernels(graph) == [
        ("pointwise", ["pad"]),
        ("contraction", ["conv", "add", "relu"]),
        *block, *block, *block,
        ("reduction", ["reduce_mean"]),
        ("contraction", ["matmul", "add"]),
        ("reduction", ["softmax"]),
    ]  # fmt: skip
    assert [n for n in names(graph.body) if n != "kernel"] == ["reshape"]


def test_the_pipeline_is_repeatable():
    texts = []
    for _ in range(2):
        graph = residual_network()
        optimise(graph, TARGET)
        texts.append((graph.text(locations=True), sorted(graph.weights)))
    assert texts[0] == texts[1]


def attention(net, x, heads, width):
    n, s, _ = x.type.shape

    def head(name):
        y = net.b.at(name).matmul(x, net.weight(width, width, name=name))
        y = net.b.add(y, net.weight(width, name=f"{name}.bias"))
        y = net.b.reshape(y, shape=(n, s, heads, width // heads))
        return net.b.transpose(y, perm=(0, 2, 1, 3))

    q, k, v = head("q"), head("k"), head("v")
    scores = net.b.at("scores").matmul(q, net.b.transpose(k, perm=(0, 1, 3, 2)))
    scores = net.b.div(scores, net.scalar(np.sqrt(width // heads)))
    y = net.b.at("mix").matmul(net.b.softmax(scores), v)
    y = net.b.reshape(net.b.transpose(y, perm=(0, 2, 1, 3)), shape=(n, s, width))
    return net.b.at("out").add(net.b.matmul(y, net.weight(width, width)), x)


def test_attention():
    net = Net()
    x = net.input("x", "n", "s", 32)
    graph = net.done(attention(net, x, 2, 32))
    with same_results(graph, tolerance=1e-5, sizes=({"n": 1, "s": 5}, {"n": 2, "s": 3})):
        optimise(graph, TARGET, verify=True)
    assert [k for k, _ in kernels(graph)] == [
        "contraction", "contraction", "contraction", "attention", "contraction"
    ]  # fmt: skip
