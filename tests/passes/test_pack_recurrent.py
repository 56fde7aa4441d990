import numpy as np
import pytest

from bireme.ir import DType
from bireme.passes.fold_constants import FoldConstants
from bireme.passes.pack_recurrent import GATES, PackRecurrent
from tests.passes.support import Net, apply, same_results

ACTIVATIONS = {"lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh"), "rnn": ("tanh",)}
SIZES = ({"n": 1, "s": 1}, {"n": 3, "s": 5})


def layer(net, name, hidden, weight, **attrs):
    """A bidirectional layer whose weights `weight(name, *shape)` gives; its op."""
    rows = GATES[name] * hidden
    x = net.input("x", "s", "n", 5)
    shapes = {"w": (2, rows, 5), "r": (2, rows, hidden), "b": (2, 2 * rows)}
    operands = [x, *(weight(key, *shape) for key, shape in shapes.items())]
    states = [net.input("h", 2, "n", hidden), net.input("c", 2, "n", hidden)]
    operands += states[: 2 if name == "lstm" else 1]
    kinds = ACTIVATIONS[name] * 2
    return net.b.op(name, operands, direction="bidirectional", activations=kinds, **attrs)


CASES = [("lstm", {}), ("gru", {}), ("gru", {"linear_before_reset": True}), ("rnn", {})]


@pytest.mark.parametrize(("name", "attrs"), CASES)
@pytest.mark.parametrize("hidden", [16, 21])
def test_constant_weights_are_packed_once(name, attrs, hidden):
    net = Net()
    weight = lambda key, *shape: net.weight(*shape, name=key)  # noqa: E731
    op = layer(net, name, hidden, weight, **attrs)
    graph = net.done(*op.results)
    with same_results(graph, sizes=SIZES, tolerance=1e-6):
        assert apply(graph, PackRecurrent()) == ["packed 1 recurrent layer"]
        apply(graph, FoldConstants())
    packed = graph.outputs[0].owner
    blocks = -(-hidden // 16)
    assert packed.operands[2].constant.shape == (2, blocks, hidden, GATES[name], 16)
    assert apply(graph, PackRecurrent()) == [""]


def test_weights_that_are_inputs_are_packed_in_the_run():
    net = Net()
    op = layer(net, "gru", 21, lambda key, *shape: net.input(key, *shape))
    graph = net.done(*op.results)
    with same_results(graph, sizes=SIZES, tolerance=1e-6):
        apply(graph, PackRecurrent())
    assert graph.outputs[0].owner.attrs["block"] == 16


def test_units_that_do_not_exist_are_zero():
    net = Net()
    op = layer(net, "rnn", 3, lambda key, *shape: net.weight(*shape, name=key))
    graph = net.done(*op.results)
    apply(graph, PackRecurrent(), FoldConstants())
    packed = graph.outputs[0].owner.operands[1].constant
    assert packed.shape == (2, 1, 1, 5, 16)
    np.testing.assert_array_equal(packed[..., 3:], 0)


def test_biases_of_16_bits_are_added_in_32():
    net = Net()
    op = layer(net, "rnn", 16, lambda key, *shape: net.weight(*shape, name=key))
    half = [net.b.cast(v, dtype=DType.F16) for v in op.operands]
    graph = net.done(*net.b.op("rnn", half, **op.attrs).results)
    with same_results(graph, sizes=SIZES):
        apply(graph, PackRecurrent())
    assert graph.outputs[0].owner.operands[3].type.dtype is DType.F32
