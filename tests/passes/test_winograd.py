"""The pass that gives 3×3 convolutions Winograd's form."""

import numpy as np

from bireme.ir import DType
from bireme.passes.dce import Dce
from bireme.passes.layout import Layout, pack_filters
from bireme.passes.pipeline import default, optimise
from bireme.passes.precision import Precision
from bireme.passes.winograd import Winograd, unpack_filters
from bireme.targets.x86.chips import CHIPS
from tests.passes.support import Net, apply, same_results

SIZES = ({"n": 1, "h": 9, "w": 7}, {"n": 2, "h": 12, "w": 12})
GENERIC = CHIPS["generic"]


def forms(graph):
    return [op.attrs["winograd"] for op in graph.walk() if op.name == "conv"]


def test_convolutions_of_many_channels():
    net = Net()
    x = net.input("x", "n", 64, "h", "w", hint=56)
    graph = net.done(net.conv(net.conv(x, 64, 3, node="c1"), 64, 3, stride=2, node="c2"))
    with same_results(graph, tolerance=1e-5, sizes=SIZES):
        *_, gain, _ = apply(graph, Layout(), Winograd(), Dce())
    assert gain == "1 as Winograd F(4×4)"
    assert forms(graph) == [4, 0]
    shapes = [a.shape for a in graph.weights.values()]
    assert (4, 6, 6, 4, 16, 16) in shapes


def test_blocks_that_channels_do_not_fill():
    net = Net()
    x = net.input("x", "n", 40, "h", "w", hint=56)
    graph = net.done(net.conv(x, 72, 3, node="c"))
    with same_results(graph, tolerance=1e-5, sizes=SIZES):
        apply(graph, Layout(), Winograd(), Dce())
    assert forms(graph) == [4]


def test_filters_can_be_unpacked():
    weights = np.random.default_rng(0).standard_normal((24, 40, 3, 3)).astype(np.float32)
    found = unpack_filters(pack_filters(weights, 16, 16))
    assert found.shape == (32, 48, 3, 3)
    np.testing.assert_array_equal(found[:24, :40], weights)
    assert not found[24:].any()
    assert not found[:, 40:].any()


def network(size, channels):
    net = Net()
    x = net.input("x", 1, channels, size, size)
    return net.done(net.b.relu(net.conv(net.b.relu(net.conv(x, channels, 1)), channels, 3)))


def test_the_faster_of_winograds_form_and_reduced_precision():
    """Of many pictures' elements Winograd's form saves more than half of the products; of few
    elements and many filters it reads more than that gains.
    """
    for size, channels, tile in ((56, 64, 4), (7, 512, 0)):
        graph = network(size, channels)
        optimise(graph, GENERIC, passes=default(precision=Precision("bf16")), verify=True)
        convs = [op for op in graph.walk() if op.name == "conv"]
        assert [op.attrs["winograd"] for op in convs] == [0, tile]
        types = [op.operands[0].type.dtype for op in convs]
        assert types == [DType.BF16, DType.F32 if tile else DType.BF16]


def test_it_can_be_left_out():
    graph = network(56, 64)
    optimise(graph, GENERIC, passes=default(winograd=False))
    assert forms(graph) == [0, 0]
    graph = network(56, 64)
    optimise(graph, GENERIC, passes=default(winograd=False, precision=Precision("bf16")))
    assert {op.operands[0].type.dtype for op in graph.walk() if op.name == "conv"} == {DType.BF16}


def test_what_stays_float32_takes_winograds_form():
    graph = network(56, 64)
    passes = default(precision=Precision("auto", limit=0.0, calibration=[
        {"x": np.random.default_rng(0).standard_normal((1, 64, 56, 56)).astype(np.float32)}
    ]))  # fmt: skip
    optimise(graph, GENERIC, passes=passes)
    assert forms(graph) == [0, 4]
