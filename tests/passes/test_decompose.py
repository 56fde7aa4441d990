import pytest

from bireme.passes.decompose import Decompose
from tests.passes.support import Net, apply, listing, names, same_results

SIZES = ({"n": 1}, {"n": 3})


def test_normalisations_that_are_kernels_stay():
    net = Net()
    x = net.input("x", "n", 8, 3, 5)
    y = net.b.group_norm(x, net.weight(8), net.weight(8), groups=2)
    y = net.b.softmax(net.b.instance_norm(y, net.weight(8), net.weight(8)), axis=1)
    assert apply(net.done(y), Decompose()) == [""]


@pytest.mark.parametrize("shape", [("n", 4), ("n", 4, 6), ("n", 4, 2, 3)])
def test_batch_norm_with_statistics_of_its_own(shape):
    net = Net()
    x = net.input("x", *shape)
    variance = net.b.exp(net.input("v", 4))
    mean = net.input("m", 4)
    graph = net.done(net.b.batch_norm(x, net.weight(4), net.weight(4), mean, variance))
    with same_results(graph, tolerance=1e-5, sizes=SIZES):
        apply(graph, Decompose())
    assert "batch_norm" not in names(graph.body)


def conv_transpose(net, x, w, stride, **attrs):
    rank = x.type.rank - 2
    defaults = {
        "strides": (stride,) * rank, "pads": (0,) * 2 * rank, "dilations": (1,) * rank,
        "output_padding": (0,) * rank, "groups": 1,
    }  # fmt: skip
    return net.b.conv_transpose(x, w, **{**defaults, **attrs})


def test_a_transposed_convolution_of_patches_is_a_product():
    net = Net()
    x = net.input("x", "n", 5, 3, "w")
    graph = net.done(conv_transpose(net, x, net.weight(5, 4, 2, 2, name="up"), 2))
    with same_results(graph, tolerance=1e-6, sizes=({"n": 1, "w": 2}, {"n": 2, "w": 7})):
        gains = apply(graph, Decompose())
    assert gains == ["broke down 1 op (conv-transpose 1)"]
    assert listing(graph, "shape", "perm") == "\n".join([
        "%0 = conv(x, up.1)",
        "%1 = reshape(%0, shape=(n, 4, 2, 2, 3, w))",
        "%2 = transpose(%1, perm=(0, 1, 4, 2, 5, 3))",
        "%3 = reshape(%2, shape=(n, 4, 6, 2*w))",
        "-> %3",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "stride", "attrs"),
    [
        ((2, 2), 1, {}),
        ((4, 4), 2, {"pads": (1, 1, 1, 1)}),
        ((3, 3), 2, {"pads": (1, 1, 1, 1), "output_padding": (1, 1)}),
        ((3, 2), 3, {"output_padding": (2, 0)}),
        ((1, 1), 2, {"output_padding": (1, 0)}),
        ((5, 1), 4, {"pads": (0, 0, 7, 2)}),
        ((3, 3), 1, {"pads": (2, 3, 1, 2)}),
        ((3, 2), 2, {"dilations": (2, 3), "pads": (1, 0, 0, 2)}),
        ((3, 3), 2, {"groups": 3, "strides": (3, 2), "pads": (0, 2, 1, 0)}),
        ((5,), 2, {"pads": (3, 0)}),
        ((16,), 8, {"pads": (4, 4), "groups": 2}),
        ((3, 2, 4), 2, {"strides": (1, 3, 2), "pads": (1, 0, 1, 2, 0, 0)}),
    ],
)
def test_transposed_convolutions(kernel, stride, attrs):
    net = Net()
    x = net.input("x", "n", 6, *["h", "w", "d"][: len(kernel)])
    w = net.weight(6, 4, *kernel)
    graph = net.done(conv_transpose(net, x, w, stride, **attrs))
    sizes = ({"n": 1, "h": 5, "w": 6, "d": 3}, {"n": 2, "h": 9, "w": 4, "d": 8})
    with same_results(graph, tolerance=1e-6, sizes=sizes):
        apply(graph, Decompose())
    assert "conv_transpose" not in names(graph.body)


def test_filters_that_the_model_calculates_stay():
    net = Net()
    x, w = net.input("x", 1, 5, 4, 4), net.input("w", 5, 4, 2, 2)
    assert apply(net.done(conv_transpose(net, x, w, 2)), Decompose()) == [""]
