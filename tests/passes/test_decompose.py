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
    defaults = {"pads": (0,) * 4, "dilations": (1, 1), "output_padding": (0, 0), "groups": 1}
    return net.b.conv_transpose(x, w, strides=(stride, stride), **{**defaults, **attrs})


def test_a_transposed_convolution_of_patches_is_a_product():
    net = Net()
    x = net.input("x", "n", 5, 3, "w")
    graph = net.done(conv_transpose(net, x, net.weight(5, 4, 2, 2, name="up"), 2))
    with same_results(graph, tolerance=1e-6, sizes=({"n": 1, "w": 2}, {"n": 2, "w": 7})):
        gains = apply(graph, Decompose())
    assert gains == ["broke down 1 op (conv-transpose-without-overlap 1)"]
    assert listing(graph, "shape", "perm") == "\n".join([
        "%0 = conv(x, up.1)",
        "%1 = reshape(%0, shape=(n, 4, 2, 2, 3, w))",
        "%2 = transpose(%1, perm=(0, 1, 4, 2, 5, 3))",
        "%3 = reshape(%2, shape=(n, 4, 6, 2*w))",
        "-> %3",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("stride", "attrs"),
    [
        (1, {}),
        (2, {"pads": (0, 0, 1, 0)}),
        (2, {"output_padding": (1, 0)}),
        (2, {"dilations": (2, 2)}),
    ],
)
def test_other_transposed_convolutions_stay(stride, attrs):
    net = Net()
    x = net.input("x", 1, 5, 4, 4)
    graph = net.done(conv_transpose(net, x, net.weight(5, 4, 2, 2), stride, **attrs))
    assert apply(graph, Decompose()) == [""]


def test_windows_on_one_axis_get_a_second():
    net = Net()
    x = net.input("x", "n", 4, "w")
    w = net.weight(6, 2, 3)
    y = net.b.conv(x, w, strides=(2,), pads=(1, 0), dilations=(2,), groups=2)
    window = {"strides": (1,), "pads": (0, 1), "dilations": (1,), "kernel": (2,)}
    y = net.b.avg_pool(net.b.max_pool(y, **window), count_include_pad=True, **window)
    graph = net.done(y)
    with same_results(graph, tolerance=1e-6, sizes=({"n": 1, "w": 9}, {"n": 2, "w": 30})):
        apply(graph, Decompose())
    assert names(graph.body) == [
        "reshape", "conv", "reshape", "reshape", "max_pool", "reshape", "reshape", "avg_pool",
        "reshape",
    ]  # fmt: skip
    assert apply(graph, Decompose()) == [""]


def test_a_pool_with_indices_stays():
    net = Net()
    pool = {"kernel": (2,), "strides": (1,), "pads": (0, 0), "dilations": (1,)}
    graph = net.done(*net.b.max_pool(net.input("x", 1, 2, 5), indices=True, **pool))
    assert apply(graph, Decompose()) == [""]
