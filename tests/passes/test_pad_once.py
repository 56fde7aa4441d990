import pytest

from bireme.ir import Builder, DType
from bireme.passes import optimise
from bireme.passes.dce import Dce
from bireme.passes.fuse import Fuse
from bireme.passes.pad_once import PadOnce
from tests.passes.support import TARGET, Net, apply, kernels, listing, same_results

WIDTHS = {"before": (0, 0, 1, 2), "after": (0, 0, 1, 0)}
SIZES = ({"n": 1, "h": 6, "w": 5}, {"n": 2, "h": 9, "w": 16})


def padded_and_read(net, use):
    x = net.input("x", "n", 3, "h", "w")
    y = net.b.relu(net.conv(x, 4, 1, node="a"))
    used = use(net, y)
    z = net.conv(net.b.pad(y, net.scalar(0), **WIDTHS), 4, (2), pad=0, node="b")
    return net.done(z, *([used] if used is not None else []))


def test_a_residual_reads_the_inner_part():
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    y = net.b.relu(net.conv(x, 4, 1, node="a"))
    widths = {"before": (0, 0, 1, 1), "after": (0, 0, 1, 1)}
    z = net.conv(net.b.pad(y, **widths), 4, 3, pad=0, node="b")
    graph = net.done(net.b.relu(net.b.add(z, y)))
    with same_results(graph, sizes=SIZES):
        assert apply(graph, PadOnce()) == ["spared 1 pad"]
    assert listing(graph, "starts") == "\n".join([
        "%0 = conv(x, a.w)",
        "%1 = relu(%0)",
        "%2 = pad(%1)",
        "%3 = conv(%2, b.w)",
        "%4 = slice(%2, starts=(0, 0, 1, 1))",
        "%5 = add(%3, %4)",
        "%6 = relu(%5)",
        "-> %6",
    ])  # fmt: skip
    assert apply(graph, PadOnce()) == [""]
    with same_results(graph, sizes=SIZES):
        apply(graph, Fuse())
    assert kernels(graph) == [
        ("contraction", ["conv", "relu", "pad"]), ("contraction", ["conv", "slice", "add", "relu"]),
    ]  # fmt: skip


def test_a_reader_before_the_pad_and_a_second_convolution():
    """The pad, and the constant that it fills with, move up to the value."""
    net = Net()
    graph = padded_and_read(net, lambda net, y: net.conv(net.b.exp(y), 2, 1, node="c"))
    with same_results(graph, sizes=SIZES):
        assert apply(graph, PadOnce(), Dce())[0] == "spared 1 pad"
    net = Net()
    graph = padded_and_read(net, lambda net, y: net.conv(y, 2, 1, node="c"))
    with same_results(graph, sizes=SIZES):
        assert apply(graph, PadOnce(), Dce(), Fuse())[0] == "spared 1 pad"
    assert kernels(graph) == [
        ("contraction", ["conv", "relu", "pad"]), ("contraction", ["slice", "conv"]),
        ("contraction", ["conv"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "use",
    [
        lambda _, __: None,
        lambda _, y: y,
        lambda net, y: net.b.reduce_max(y, axes=(1,)),
        lambda net, y: net.b.pad(y, before=(0, 0, 1, 0), after=(0, 0, 0, 0)),
        lambda net, y: net.b.transpose(y, perm=(1, 0, 2, 3)),
    ],
)
def test_values_with_other_readers_stay(use):
    net = Net()
    graph = padded_and_read(net, use)
    assert apply(graph, PadOnce()) == [""]


def test_a_reader_in_a_region_keeps_the_value():
    def branch(net, y):
        condition = net.input("c", dtype=DType.BOOL)
        blocks = [net.b.block(), net.b.block()]
        for block in blocks:
            inner = Builder(net.graph, block=block)
            inner.yield_([inner.exp(y)])
        return net.b.op("if", [condition], blocks).result

    net = Net()
    assert apply(padded_and_read(net, branch), PadOnce()) == [""]


def test_values_that_no_convolution_makes_stay():
    net = Net()
    x = net.b.relu(net.input("x", "n", 3, "h", "w"))
    z = net.conv(net.b.pad(x, **WIDTHS), 4, 2, pad=0, node="b")
    assert apply(net.done(z, net.b.exp(x)), PadOnce()) == [""]


def test_basic_blocks_need_no_separate_padding():
    net = Net()
    y = net.conv(net.input("x", "n", 16, "h", "w"), 16, 1, node="stem")
    for block in range(3):
        z = net.b.relu(net.conv(y, 16, 3, node=f"b{block}.1"))
        y = net.b.relu(net.b.add(net.conv(z, 16, 3, node=f"b{block}.2"), y))
    graph = net.done(y)
    with same_results(graph, sizes=SIZES, tolerance=1e-5):
        optimise(graph, TARGET, verify=True)
    assert ("pointwise", ["pad"]) not in kernels(graph)
