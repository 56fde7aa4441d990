"""The layout pass: which ops work on blocks, where conversions stand, and equal results."""

import numpy as np
import pytest

from bireme.ir import Builder, DType
from bireme.passes.dce import Dce
from bireme.passes.layout import Layout, pack_depthwise, pack_filters
from bireme.passes.layout_rules import pack_constant
from tests.passes.support import Net, apply, listing, names, random_inputs, run, same_results

SIZES = ({"n": 1, "h": 9, "w": 7}, {"n": 2, "h": 12, "w": 12})


def laid_out(net, *outputs, sizes=SIZES, tolerance=1e-5):
    """Runs the pass and checks results at several sizes; gives names of the ops and the gain."""
    graph = net.done(*outputs)
    with same_results(graph, tolerance=tolerance, sizes=sizes):
        (gain, _) = apply(graph, Layout(), Dce())
    return names(graph.body), gain


def test_a_convolution_is_blocked_between_conversions():
    net = Net()
    x = net.input("x", "n", 32, "h", "w", hint=16)
    graph = net.done(net.b.relu(net.conv(x, 48, 3, node="c")))
    with same_results(graph, tolerance=1e-5, sizes=SIZES):
        apply(graph, Layout(), Dce())
    shown = ("block", "channels", "pads", "before", "in_block", "out_block")
    assert listing(graph, *shown) == "\n".join([
        "%0 = pack_channels(x, block=16)",
        "%1 = pad(%0, before=(0, 0, 1, 1, 0))",
        "%2 = conv(%1, c.w.1, pads=(0, 0, 0, 0), in_block=16, out_block=16)",
        "%3 = relu(%2)",
        "%4 = unpack_channels(%3, channels=48)",
        "-> %4",
    ])  # fmt: skip
    assert graph.weights["c.w.1"].shape == (3, 2, 3, 3, 16, 16)
    assert apply(graph, Layout()) == [""]


def test_the_first_convolution_reads_plain_pictures():
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    y = net.conv(net.conv(x, 32, 3, stride=2, node="c1"), 16, 1, node="c2")
    ops, gain = laid_out(net, y)
    assert ops == ["pad", "conv", "conv", "unpack_channels"]
    assert gain == "blocked 2 of 2 convolutions with 1 conversion (0.01 MB)"


def test_channels_that_fill_no_whole_block():
    """24 and 40 channels: blocks have spare lanes, which stay zero through all of this."""
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    y = net.b.relu(net.conv(x, 24, 3, node="c1"))
    y = net.b.add(net.conv(y, 40, 3, node="c2"), net.weight(40, 1, 1))
    y = net.b.div(net.b.mul(y, net.b.sigmoid(y)), net.positive(40, 1, 1))
    y = net.conv(y, 40, 3, groups=40, node="depthwise")
    y = net.b.max_pool(y, kernel=(2, 2), strides=(2, 2), pads=(0, 0, 1, 1), dilations=(1, 1))
    ops, _ = laid_out(net, net.conv(y, 24, 1, node="c3"))
    assert ops.count("pack_channels") == 0
    assert ops.count("unpack_channels") == 1


@pytest.mark.parametrize("op", ["log", "reciprocal", "rsqrt"])
def test_spare_lanes_never_hold_what_would_spoil_a_convolution(op):
    """log(0) in a spare lane is an infinity, and infinity times a zero weight is NaN."""
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    y = net.b.add(net.b.relu(net.conv(x, 24, 3, node="c1")), net.scalar(1))
    risky = net.b.op(op, [net.b.sub(y, net.scalar(1))]).result
    safe = net.b.minimum(net.b.maximum(risky, net.scalar(-5)), net.scalar(5))
    ops, _ = laid_out(net, net.conv(safe, 24, 3, node="c2"))
    assert ops.index("unpack_channels") < ops.index(op) < ops.index("pack_channels")


def test_the_same_op_on_whole_blocks_stays_blocked():
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    y = net.b.abs(net.conv(x, 32, 3, node="c1"))
    ops, _ = laid_out(net, net.conv(net.b.sqrt(net.b.log(net.b.add(y, net.scalar(1)))), 32, 1))
    assert ops.count("unpack_channels") == 1
    assert ops.count("pack_channels") == 0


def test_squeeze_and_excitation_stays_blocked():
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    y = net.conv(x, 32, 3, node="c")
    scale = net.b.reduce_mean(y, axes=(2, 3))
    scale = net.b.relu(net.conv(scale, 16, 1, node="squeeze"))
    scale = net.b.sigmoid(net.conv(scale, 32, 1, node="excite"))
    ops, _ = laid_out(net, net.conv(net.b.mul(y, scale), 16, 1, node="d"))
    assert ops == [
        "pad", "conv", "reduce_mean", "conv", "relu", "conv", "sigmoid", "mul", "conv",
        "unpack_channels",
    ]  # fmt: skip


def test_a_classifier_head_needs_no_conversion():
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    y = net.b.relu(net.conv(x, 32, 3, node="c"))
    y = net.b.reduce_mean(y, axes=(2, 3), keepdims=False)
    ops, gain = laid_out(net, net.b.matmul(y, net.weight(32, 10)))
    assert ops == ["pad", "conv", "relu", "reduce_mean", "reshape", "matmul"]
    assert "with 0 conversions" in gain


def test_a_head_with_spare_lanes():
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    y = net.b.reduce_mean(net.conv(x, 24, 3, node="c"), axes=(2, 3), keepdims=False)
    ops, _ = laid_out(net, net.b.matmul(y, net.weight(24, 10)))
    assert ops == ["pad", "conv", "reduce_mean", "unpack_channels", "reshape", "matmul"]


def test_concat_slice_resize_and_pools_work_on_blocks():
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    n, _, h, w = x.type.shape
    a, b = net.conv(x, 32, 3, node="a"), net.conv(x, 24, 3, node="b")
    y = net.b.concat(a, b, axis=1)
    y = net.b.slice(y, starts=(0, 16, 0, 0), sizes=(n, 40, h, w), steps=(1, 1, 1, 1))
    y = net.b.resize(y, shape=(n, 40, 2 * h, 2 * w), scales=(1.0, 1.0, 2.0, 2.0), mode="nearest",
                     coordinate="asymmetric", nearest="floor")  # fmt: skip
    window = {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "dilations": (1, 1)}
    y = net.b.avg_pool(y, **window)
    ops, _ = laid_out(net, net.conv(y, 16, 1, node="c"))
    assert ops.count("pack_channels") == 0
    assert ops.count("unpack_channels") == 1


@pytest.mark.parametrize(
    ("groups", "width", "left"),
    [(2, 32, 2), (3, 24, 1), (4, 16, 1), (8, 32, 2), (32, 128, 8), (5, 20, 1), (4, 96, 2)],
)
def test_groups_are_merged_to_whole_blocks(groups, width, left):
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    y = net.conv(net.conv(x, width, 3, node="a"), 2 * width, 3, groups=groups, node="b")
    graph = net.done(y)
    with same_results(graph, tolerance=1e-5, sizes=SIZES):
        (gain,) = apply(graph, Layout())
    assert gain.startswith("blocked 2 of 2")
    assert [op.attrs["groups"] for op in graph.body.ops if op.name == "conv"] == [1, left]


@pytest.mark.parametrize("shape", [("n", 24, "w"), ("n", 24, "h", "w", 5)])
def test_one_and_three_spatial_axes(shape):
    net = Net()
    x = net.input("x", *shape)
    y = net.b.relu(net.conv(x, 40, 3, node="a"))
    y = net.b.add(y, net.weight(40, *(1,) * (len(shape) - 2)))
    gate = net.b.sigmoid(net.b.reduce_mean(y, axes=tuple(range(2, len(shape)))))
    y = net.b.mul(net.conv(y, 40, 3, groups=40, node="depthwise"), gate)
    ops, gain = laid_out(net, net.conv(y, 16, 1, node="b"))
    assert ops.count("pack_channels") == ops.count("unpack_channels") == 1
    assert gain.startswith("blocked 3 of 3")


def test_a_convolution_of_a_concat_of_broken_blocks_is_a_sum():
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    parts = [net.conv(x, width, 3, node=f"part{width}") for width in (24, 32, 40)]
    y = net.conv(net.b.concat(*parts, axis=1), 24, 3, node="c")
    ops, gain = laid_out(net, y)
    assert "concat" not in ops
    assert ops.count("add") == 2
    assert gain.startswith("blocked 6 of 6 convolutions with 1 conversion")


def test_a_wide_convolution_of_broken_blocks_reads_a_plain_concat():
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    y = net.b.concat(net.conv(x, 24, 3, node="a"), net.conv(x, 32, 3, node="b"), axis=1)
    ops, _ = laid_out(net, net.conv(y, 64, 1, node="c"))
    assert ops.count("unpack_channels") == 3
    assert ops.count("pack_channels") == 1


def test_a_value_read_in_both_forms_is_converted_once():
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    y = net.conv(x, 32, 3, node="c")
    flipped = [net.b.transpose(y, perm=(0, 2, 3, 1)), net.b.transpose(y, perm=(1, 0, 2, 3))]
    ops, _ = laid_out(net, *flipped, net.conv(y, 16, 1, node="d"))
    assert ops.count("unpack_channels") == 2


def test_broadcast_operands_of_every_shape():
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    mask = net.input("mask", "n", 1, "h", "w")
    factor = net.input("factor")
    y = net.conv(x, 32, 3, node="c")
    y = net.b.mul(net.b.add(y, mask), factor)
    y = net.b.add(y, net.weight(1, 32, 1, 1))
    y = net.b.where(net.b.greater(y, net.scalar(0)), y, net.b.mul(y, net.weight(32, 1, 1)))
    ops, _ = laid_out(net, net.conv(y, 16, 1, node="d"))
    assert ops.count("pack_channels") == 0
    assert ops.count("unpack_channels") == 1
    assert "reshape" in ops


@pytest.mark.parametrize(
    "build",
    [
        lambda net, x: net.conv(x, 3, 3, node="few filters"),
        lambda net, x: net.conv(x, 16, 3, groups=16, node="groups"),
        lambda net, x: net.b.conv(
            x, net.b.relu(net.input("w", 16, 32, 1, 1)), strides=(1, 1), pads=(0,) * 4,
            dilations=(1, 1),
        ),
        lambda net, x: net.b.cast(x, dtype=DType.F64),
    ],
)  # fmt: skip
def test_convolutions_that_stay_plain(build):
    net = Net()
    graph = net.done(build(net, net.input("x", "n", 32, "h", "w")))
    assert apply(graph, Layout()) == [""]


def test_convolutions_in_a_branch():
    net = Net()
    x, c = net.input("x", "n", 16, "h", "w"), net.input("c", dtype=DType.BOOL)
    branches = [net.b.block(), net.b.block()]
    for block, name in zip(branches, "ab", strict=True):
        inner = Builder(net.graph, block=block)
        w = inner.constant(net.random.standard_normal((16, 16, 3, 3)).astype(np.float32), name)
        y = inner.conv(x, w, strides=(1, 1), pads=(1,) * 4, dilations=(1, 1))
        inner.yield_([y])
    graph = net.done(net.b.op("if", [c], branches).result)
    with same_results(graph, tolerance=1e-5, sizes=SIZES):
        (gain,) = apply(graph, Layout())
    assert gain.startswith("blocked 2 of 2 convolutions")


def test_rewritten_ops_keep_their_names():
    net = Net()
    y = net.conv(net.input("x", 1, 16, 8, 8), 16, 3, node="layer1.conv")
    net.b.at("layer1.relu")
    graph = net.done(net.b.relu(y))
    apply(graph, Layout())
    nodes = {op.name: op.node for op in graph.body.ops}
    assert nodes["conv"] == nodes["pad"] == "layer1.conv"
    assert nodes["relu"] == "layer1.relu"


def test_packing_of_filters():
    w = np.arange(24 * 20 * 2, dtype=np.float32).reshape(24, 20, 1, 2)
    packed = pack_filters(w, 16, 16)
    assert packed.shape == (2, 2, 1, 2, 16, 16)
    assert packed[1, 1, 0, 1, 3, 7] == w[23, 19, 0, 1]
    assert not packed[1, :, :, :, :, 8:].any()
    assert not packed[:, 1, :, :, 4:].any()
    depthwise = pack_depthwise(w[:20, :1], 16)
    assert depthwise.shape == (2, 1, 2, 16)
    assert depthwise[1, 0, 1, 3] == w[19, 0, 0, 1]
    assert not depthwise[1, :, :, 4:].any()


def test_packing_of_constants():
    c = np.arange(20, dtype=np.float32).reshape(20, 1, 1)
    packed = pack_constant(c, 4, 16, 1.0)
    assert packed.shape == (1, 2, 1, 1, 16)
    assert packed[0, 1, 0, 0].tolist() == [16, 17, 18, 19] + [1.0] * 12
    assert pack_constant(c[..., 0], 3, 16, 0.0).shape == (1, 2, 1, 16)
    assert pack_constant(np.ones((5, 7), np.float32), 4, 16, 0.0).shape == (1, 1, 5, 7, 1)


@pytest.mark.parametrize("seed", range(6))
def test_random_networks(seed):
    """Convolutions of random widths with random ops between them, at several picture sizes."""
    net = Net(seed)
    random = np.random.default_rng(seed)
    values = [net.input("x", "n", int(random.choice([1, 3, 16])), "h", "w", hint=16)]
    for number in range(14):
        net.b.at(f"node{number}")
        x = values[random.integers(max(0, len(values) - 4), len(values))]
        kind = random.integers(6)
        same = [v for v in values if v.type == x.type]
        if kind < 2:
            width = int(random.choice([4, 8, 16, 24, 32]))
            made = net.conv(x, width, int(random.choice([1, 3])), node=f"node{number}")
        elif kind == 2:
            made = net.b.op(random.choice(["relu", "sigmoid", "tanh", "exp"]), [x]).result
            made = net.b.tanh(made)
        elif kind == 3:
            made = net.b.add(x, same[random.integers(len(same))])
        elif kind == 4:
            made = net.b.concat(x, same[random.integers(len(same))], axis=1)
        else:
            made = net.b.mul(x, net.b.sigmoid(net.b.reduce_max(x, axes=(2, 3))))
        values.append(made)
    graph = net.done(values[-1], values[-3])
    with same_results(graph, tolerance=1e-4, sizes=SIZES):
        apply(graph, Layout(), Dce())
    found = run(graph, random_inputs(graph, SIZES[0]))
    assert all(np.isfinite(y).all() for y in found.values())


def test_convolutions_know_the_channels_that_fill_no_block():
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    y = net.conv(net.conv(x, 24, 3, stride=2, node="c1"), 32, 1, node="c2")
    graph = net.done(net.conv(y, 8, 3, node="c3"))
    with same_results(graph, tolerance=1e-5, sizes=SIZES):
        apply(graph, Layout(), Dce())
    assert [op.attrs["spare"] for op in graph.walk() if op.name == "conv"] == [0, 8, 0]
