import numpy as np
import pytest

from bireme.ir import Builder, DType
from bireme.passes.dce import Dce
from bireme.passes.fold_batch_norm import FoldBatchNorm
from bireme.passes.layout import Layout
from bireme.passes.simplify import Simplify
from tests.passes.support import Net, apply, listing, names, same_results


def test_conv_and_batch_norm_become_conv_and_bias():
    net = Net()
    x = net.input("x", "n", 3, 8, 8)
    y = net.batch_norm(net.conv(x, 4, node="stem"))
    graph = net.done(y)
    assert listing(graph).startswith("%0 = conv(x, stem.w)\n%1 = batch_norm(%0, scale, bias,")
    with same_results(graph, tolerance=1e-6):
        gains = apply(graph, FoldBatchNorm(), Dce())
    assert gains[0] == "folded 1 batch norm, moved 1 scale into weights"
    assert listing(graph) == "%0 = conv(x, stem.w.1)\n%1 = add(%0, bias.1)\n-> %1"
    assert graph.weights["bias.1"].shape == (4, 1, 1)
    assert apply(graph, FoldBatchNorm()) == [""]


def test_the_folded_op_names_both_places():
    net = Net()
    y = net.conv(net.input("x", 1, 3, 8, 8), 4, node="conv1")
    net.b.at("bn1")
    graph = net.done(net.batch_norm(y))
    apply(graph, FoldBatchNorm())
    conv, add = [op for op in graph.body.ops if op.name != "constant"]
    assert (conv.node, add.node) == ("conv1, bn1", "bn1")


def test_a_bias_between_them_is_scaled_too():
    net = Net()
    y = net.conv(net.input("x", "n", 3, 8, 8), 4, node="c")
    y = net.b.add(net.weight(4, 1, 1, name="c.bias"), y)
    graph = net.done(net.batch_norm(y))
    with same_results(graph, tolerance=1e-6):
        apply(graph, FoldBatchNorm())
    assert names(graph.body) == ["conv", "add", "add"]


def test_grouped_and_depthwise_convolutions():
    net = Net()
    x = net.input("x", 2, 8, 6, 6)
    y = net.batch_norm(net.conv(x, 8, groups=8, node="depthwise"))
    graph = net.done(net.batch_norm(net.conv(y, 4, groups=2, node="grouped")))
    with same_results(graph, tolerance=1e-6):
        apply(graph, FoldBatchNorm())
    assert names(graph.body) == ["conv", "add", "conv", "add"]


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolutions(groups):
    net = Net()
    x = net.input("x", 2, 4, 5, 5)
    w = net.weight(4, 6 // groups, 3, 3)
    y = net.b.conv_transpose(
        x, w, strides=(2, 2), pads=(1, 1, 1, 1), dilations=(1, 1), groups=groups,
        output_padding=(0, 0),
    )  # fmt: skip
    graph = net.done(net.batch_norm(y))
    with same_results(graph, tolerance=1e-6):
        apply(graph, FoldBatchNorm())
    assert names(graph.body) == ["conv_transpose", "add"]


def test_a_matrix_product_takes_a_scale_of_its_columns():
    net = Net()
    y = net.b.matmul(net.input("x", "n", 5), net.weight(5, 4, name="fc"))
    graph = net.done(net.b.mul(net.weight(4, name="scale"), net.b.add(y, net.weight(4))))
    with same_results(graph, tolerance=1e-6):
        apply(graph, FoldBatchNorm())
    assert names(graph.body) == ["matmul", "add"]


@pytest.mark.parametrize("axis", [0, 1])
def test_a_scale_along_other_axes_stays(axis):
    net = Net()
    y = net.b.matmul(net.input("x", 4, 5), net.weight(5, 4))
    scale = net.weight(4, 1) if axis == 0 else net.weight(4)
    graph = net.done(net.b.mul(y, scale))
    with same_results(graph, tolerance=1e-6):
        apply(graph, FoldBatchNorm())
    assert names(graph.body) == (["matmul", "mul"] if axis == 0 else ["matmul"])


def test_a_result_that_is_read_elsewhere_keeps_its_weights():
    net = Net()
    y = net.conv(net.input("x", 1, 3, 8, 8), 4, node="c")
    graph = net.done(net.batch_norm(y), y)
    with same_results(graph, tolerance=1e-6):
        apply(graph, FoldBatchNorm())
    assert names(graph.body) == ["conv", "mul", "add"]


def test_a_scale_that_makes_the_result_larger_stays():
    net = Net()
    y = net.b.matmul(net.input("x", 1, 5), net.weight(5, 1))
    graph = net.done(net.b.mul(y, net.weight(4)))
    with same_results(graph, tolerance=1e-6):
        apply(graph, FoldBatchNorm())
    assert names(graph.body) == ["matmul", "mul"]


def test_statistics_that_are_not_constant_stay():
    net = Net()
    x, mean = net.input("x", 1, 3, 4, 4), net.input("mean", 3)
    y = net.b.batch_norm(x, net.weight(3), net.weight(3), mean, net.positive(3))
    graph = net.done(y)
    assert apply(graph, FoldBatchNorm()) == [""]


def test_two_normalisations_in_a_row_become_one():
    net = Net()
    x = net.input("x", 2, 4, 3, 3)
    y = net.batch_norm(net.batch_norm(net.b.relu(x)))
    graph = net.done(y)
    with same_results(graph, tolerance=1e-5):
        apply(graph, FoldBatchNorm(), Simplify())
    assert names(graph.body) == ["relu", "mul", "add"]


def test_packed_weights_are_left_alone():
    net = Net()
    x = net.input("x", 2, 16, 4, 4)
    y = net.conv(x, 16, 1, node="c")
    graph = net.done(y)
    apply(graph, Layout())
    unpack = graph.outputs[0].owner
    blocked = unpack.operands[0]
    b = Builder(graph, before=unpack)
    unpack.set_operand(0, b.mul(blocked, b.constant(np.float32(2))))
    assert apply(graph, FoldBatchNorm()) == [""]


def test_integers_are_left_alone():
    net = Net()
    x = net.input("x", 2, 3, dtype=DType.I32)
    y = net.b.matmul(x, net.b.constant(np.ones((3, 2), np.int32)))
    graph = net.done(net.b.mul(y, net.scalar(3, np.int32)))
    assert apply(graph, FoldBatchNorm()) == [""]
