import pytest

from bireme.ir import DType
from bireme.passes.dce import Dce
from bireme.passes.fuse import Fuse
from bireme.passes.in_place import overwritable
from tests.passes.support import Net, apply


def operands(net, *outputs):
    """For each kernel of the fused graph the operands that it may overwrite."""
    graph = net.done(*outputs)
    apply(graph, Dce(), Fuse())
    return [overwritable(op) for op in graph.walk() if op.name == "kernel"]


def test_element_wise_kernels():
    net = Net()
    x, y, row = net.input("x", "n", 4), net.input("y", "n", 4), net.input("row", 4)
    z = net.b.mul(net.b.add(x, row), net.b.sigmoid(y))
    assert operands(net, z) == [[0, 2]]


def test_a_residual_but_not_what_the_contraction_reads():
    net = Net()
    x, residual = net.input("x", "n", 4, 6, 6), net.input("r", "n", 4, 6, 6)
    y = net.b.relu(net.b.add(net.conv(x, 4, 3, node="c"), residual))
    assert operands(net, y) == [[2]]


def test_an_operand_that_is_read_both_ways():
    net = Net()
    x = net.input("x", "n", 4, 6, 6)
    assert operands(net, net.b.add(net.conv(x, 4, 3, node="c"), net.b.relu(x))) == [[]]


@pytest.mark.parametrize(
    "build",
    [
        lambda b, x: b.transpose(x, perm=(1, 0)),
        lambda b, x: b.add(b.slice(x, starts=(3, 0), sizes=(4, 4), steps=(-1, 1)), x),
        lambda b, x: b.softmax(b.neg(x)),
        lambda b, x: b.cast(x, dtype=DType.I32),
        lambda b, x: b.concat(x, x, axis=0),
    ],
)
def test_kernels_that_read_other_elements_or_store_another_type(build):
    net = Net()
    x = net.input("x", 4, 4)
    assert operands(net, build(net.b, x)) == [[]]


def test_two_results():
    net = Net()
    x = net.input("x", 4)
    y = net.b.exp(x)
    assert operands(net, y, net.b.add(y, x)) == [[]]
