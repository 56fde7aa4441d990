"""Which depthwise convolutions join the convolution in front of them, and how work is divided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bireme.passes.chain import Chain, divide, is_faster
from bireme.passes.fuse import Fuse
from bireme.passes.layout import Layout
from bireme.passes.pad_once import PadOnce
from tests.passes.support import Net, apply, kernels, same_results


def chain(filters, channels, size, stride=1, taps=3):
    """A 1×1 convolution at size × size with a depthwise convolution of the same padding behind."""
    return Chain(
        batch=1,
        blocks=filters // 16,
        depth=channels,
        operand_bytes=size * size * channels * 4,
        between=size,
        width=size + taps - 1,
        rows=size // stride,
        reach=taps,
        stride=stride,
        above=taps // 2,
        beside=taps - 1,
    )


@pytest.mark.parametrize(
    ("layer", "joined"),
    [
        (chain(96, 16, 112, 2), True),  # what lies between is 4.8 MB
        (chain(512, 512, 14), True),
        (chain(384, 64, 14), True),
        (chain(128, 128, 56, 2), False),  # reading the operand twice costs more than is saved
        (chain(1152, 192, 7, taps=5), False),  # rows of 7 fill half of a register tile
    ],
)
def test_known_layers(layer, joined):
    assert is_faster(layer) == joined


SIZES = st.integers(1, 130)
CHAINS = st.builds(
    chain, st.integers(1, 70).map(lambda n: n * 16), SIZES, SIZES, st.just(1), st.just(3)
)


@given(CHAINS)
def test_tasks_are_whole_and_fit_a_cache(layer):
    division = divide(layer)
    assert 1 <= division.rows <= layer.rows
    assert 1 <= division.group <= layer.blocks
    held = layer.rows_read(division.rows) * layer.line_bytes * division.group
    assert held <= 384 << 10 or (division.rows, division.group) == (1, 1)


def depthwise(net, x, node):
    channels = x.type.shape[1]
    return net.conv(x, channels, 3, groups=channels, node=node)


def wide(net):
    """A convolution whose result is large."""
    return net.b.relu(net.conv(net.input("x", 1, 16, 112, 112), 64, 1, node="wide"))


def fused(net, *outputs):
    graph = net.done(*outputs)
    with same_results(graph, tolerance=1e-5):
        apply(graph, Layout(), PadOnce(), Fuse())
    return [ops for kind, ops in kernels(graph) if kind == "contraction"]


def test_a_depthwise_convolution_joins_the_one_in_front():
    net = Net()
    y = net.b.relu(depthwise(net, wide(net), "deep"))
    assert fused(net, y) == [["conv", "relu", "pad", "conv", "relu"]]


def test_what_others_read_stays_a_result():
    net = Net()
    x = wide(net)
    found = fused(net, depthwise(net, x, "deep"), x)
    assert [ops.count("conv") for ops in found] == [1, 1]


def test_depthwise_convolutions_do_not_join_each_other():
    net = Net()
    y = depthwise(net, depthwise(net, wide(net), "first"), "second")
    assert sorted(ops.count("conv") for ops in fused(net, y)) == [1, 2]
