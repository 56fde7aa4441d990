from bireme.ir import Builder, DType
from bireme.passes.dce import Dce
from tests.passes.support import Net, apply, listing, same_results


def test_chains_nobody_reads_go_with_their_weights():
    net = Net()
    x = net.input("x", 3)
    net.b.exp(net.b.mul(x, net.weight(3, name="unused")))
    graph = net.done(net.b.add(x, net.weight(3, name="used")))
    with same_results(graph):
        gains = apply(graph, Dce())
    assert listing(graph) == "%0 = add(x, used)\n-> %0"
    assert set(graph.weights) == {"used"}
    assert gains == ["removed 3 ops and 1 weight"]
    assert apply(graph, Dce()) == [""]


def test_ops_in_regions_go_too():
    net = Net()
    x, condition = net.input("x", 3), net.input("c", dtype=DType.BOOL)
    branches = [net.b.block(), net.b.block()]
    for block in branches:
        inner = Builder(net.graph, block=block)
        inner.exp(x)
        inner.yield_([inner.relu(x)])
    graph = net.done(net.b.op("if", [condition], branches).result)
    with same_results(graph):
        apply(graph, Dce())
    assert listing(graph) == "\n".join([
        "%0 = if(c)", "  %1 = relu(x)", "  -> %1", "  %2 = relu(x)", "  -> %2", "-> %0",
    ])  # fmt: skip


def test_an_op_with_one_used_result_stays():
    net = Net()
    values, _ = net.b.topk(net.input("x", 4), k=(2,), axis=0)
    graph = net.done(values)
    assert apply(graph, Dce()) == [""]
    assert listing(graph) == "%0, %1 = topk(x)\n-> %0"
