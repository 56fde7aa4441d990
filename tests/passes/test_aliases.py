"""Aliases against the interpreter: every alias is the very bytes of its place in its base."""

import numpy as np
import pytest

from bireme.ir import evaluate
from bireme.passes import optimise
from bireme.passes.aliases import find_aliases
from bireme.passes.dce import Dce
from bireme.passes.fuse import Fuse
from tests.passes.support import TARGET, Net, apply, random_inputs, run


def checked(graph, sizes=None):
    """Fuses a graph, compares the bytes of all aliases; gives offsets and how many are idle."""
    apply(graph, Dce(), Fuse())
    return compared(graph, sizes)


def compared(graph, sizes=None):
    found = find_aliases(graph)
    arrays = {}
    sizes = dict.fromkeys(graph.symbols, 3) | (sizes or {})
    run(graph, random_inputs(graph, sizes), trace=lambda v, a: arrays.__setitem__(v, a))
    for value, alias in found.places.items():
        assert alias.base not in found.places
        start = evaluate(alias.offset, sizes)
        whole = np.ascontiguousarray(arrays[alias.base]).tobytes()
        part = np.ascontiguousarray(arrays[value]).tobytes()
        assert whole[start : start + len(part)] == part
    return [alias.offset for alias in found.places.values()], len(found.idle)


def test_a_concat_behind_unit_axes():
    net = Net()
    x = net.input("x", 1, 4, "h", 16)
    a, b = net.b.softmax(x), net.b.exp(net.b.softmax(net.b.neg(x)))
    graph = net.done(net.b.softmax(net.b.concat(a, b, axis=1)))
    h = x.type.shape[2]
    assert checked(graph) == ([0, 256 * h], 1)


def test_a_growing_concat_has_one_buffer():
    """As in DenseNet: each concat is the beginning of the next."""
    net = Net()
    y = net.b.softmax(net.input("x", 1, 4, 16))
    for _ in range(3):
        y = net.b.concat(y, net.b.softmax(net.b.slice(y, starts=(0, 0, 0), sizes=(1, 2, 16),
                                                       steps=(1, 1, 1))), axis=1)  # fmt: skip
    graph = net.done(net.b.softmax(y))
    offsets, idle = checked(graph)
    assert idle == 3
    assert sorted(offsets) == [0, 0, 0, 256, 384, 512]
    assert len({a.base for a in find_aliases(graph).places.values()}) == 1


def test_reshapes_between():
    net = Net()
    x = net.input("x", 2, 32)
    a, b = net.b.softmax(x), net.b.log_softmax(x)
    flat = [net.b.reshape(v, shape=(64,)) for v in (a, b)]
    graph = net.done(net.b.softmax(net.b.concat(*flat, axis=0)))
    assert checked(graph) == ([0, 256], 1)


def cut_before_a_pool(starts, sizes, steps=(1, 1, 1, 1)):
    """A pool takes no slice into its kernel, so the slice is a kernel of its own."""
    net = Net()
    y = net.b.softmax(net.input("x", 1, 40, 16, 16))
    part = net.b.slice(y, starts=starts, sizes=sizes, steps=steps)
    pool = {"kernel": (2, 2), "strides": (2, 2), "pads": (0,) * 4, "dilations": (1, 1)}
    return net.done(net.b.max_pool(part, **pool), y)


@pytest.mark.parametrize("start", [0, 3, 20])
def test_a_slice_that_is_a_run(start):
    graph = cut_before_a_pool((0, start, 0, 0), (1, 20, 16, 16))
    assert checked(graph) == ([start * 1024], 1)


@pytest.mark.parametrize(
    ("starts", "sizes", "steps"),
    [
        ((0, 0, 8, 0), (1, 40, 8, 16), (1, 1, 1, 1)),
        ((0, 39, 0, 0), (1, 40, 16, 16), (1, -1, 1, 1)),
        ((0, 0, 0, 0), (1, 20, 16, 16), (1, 2, 1, 1)),
        ((0, 8, 8, 0), (1, 16, 8, 16), (1, 1, 1, 1)),
    ],
)
def test_slices_that_are_not_runs(starts, sizes, steps):
    assert checked(cut_before_a_pool(starts, sizes, steps)) == ([], 0)


def concat_of(build):
    net = Net()
    x = net.input("x", 1, 4, 16)
    outputs = build(net, x)
    return net.done(*(outputs if isinstance(outputs, tuple) else (outputs,)))


@pytest.mark.parametrize(
    "build",
    [
        # an input cannot be stored elsewhere, nor can a constant
        lambda net, x: net.b.softmax(net.b.concat(x, net.b.softmax(x), axis=1)),
        # one value has one place
        lambda net, x: (lambda s: net.b.softmax(net.b.concat(s, s, axis=1)))(net.b.softmax(x)),
        # rows of the parts alternate
        lambda net, x: net.b.softmax(net.b.concat(net.b.softmax(x), net.b.log_softmax(x), axis=2)),
        # an output lies where the caller wants it
        lambda net, x: (lambda s: (s, net.b.concat(s, net.b.log_softmax(x), axis=1)))(
            net.b.softmax(x)
        ),
        # kernels count on aligned operands
        lambda net, x: net.b.softmax(
            net.b.concat(*(net.b.softmax(net.input(f"y{i}", 1, 5, 3)) for i in range(2)), axis=1)
        ),
    ],
)
def test_concats_that_are_work(build):
    assert checked(concat_of(build)) == ([], 0)


def test_a_symbolic_batch_is_no_unit_axis():
    net = Net()
    x = net.input("x", "n", 4, 16)
    graph = net.done(net.b.softmax(net.b.concat(net.b.softmax(x), net.b.log_softmax(x), axis=1)))
    assert checked(graph) == ([], 0)


def test_a_value_has_a_place_in_one_concat_only():
    net = Net()
    x = net.input("x", 1, 4, 16)
    a, b, c = net.b.softmax(x), net.b.log_softmax(x), net.b.softmax(net.b.neg(x))
    graph = net.done(
        net.b.softmax(net.b.concat(a, b, axis=1)), net.b.softmax(net.b.concat(a, c, axis=1))
    )
    assert checked(graph) == ([0, 256], 1)


def test_a_dense_block_of_convolutions():
    net = Net()
    x = net.input("x", 1, 3, 12, 12)
    y = net.b.relu(net.conv(x, 32, 3, node="stem"))
    for layer in range(3):
        z = net.batch_norm(net.b.relu(net.batch_norm(y)))
        z = net.b.relu(net.batch_norm(net.conv(z, 16, 1, node=f"l{layer}.1")))
        y = net.b.concat(y, net.conv(z, 16, 3, node=f"l{layer}.2"), axis=1)
    graph = net.done(net.b.reduce_mean(net.b.relu(net.batch_norm(y)), axes=(2, 3)))
    optimise(graph, TARGET)
    offsets, idle = compared(graph)
    assert idle == 3
    assert len(offsets) == 6
