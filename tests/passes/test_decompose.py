import pytest

from bireme.passes.decompose import Decompose
from tests.passes.support import Net, apply, listing, names, same_results

SIZES = ({"n": 1}, {"n": 3})


def test_group_norm_is_a_layer_norm_of_rows():
    net = Net()
    x = net.input("x", "n", 8, 3, 5)
    y = net.b.group_norm(x, net.weight(8, name="scale"), net.weight(8, name="bias"), groups=2)
    graph = net.done(y)
    with same_results(graph, tolerance=1e-5, sizes=SIZES):
        assert apply(graph, Decompose()) == ["broke down 1 op (channel-norm 1)"]
    assert listing(graph, "shape", "axis") == "\n".join([
        "%0 = reshape(x, shape=(n, 2, 60))",
        "%1 = layer_norm(%0, axis=2)",
        "%2 = reshape(%1, shape=(n, 8, 3, 5))",
        "%3 = reshape(scale, shape=(8, 1, 1))",
        "%4 = mul(%2, %3)",
        "%5 = reshape(bias, shape=(8, 1, 1))",
        "%6 = add(%4, %5)",
        "-> %6",
    ])  # fmt: skip


def test_instance_norm_at_symbolic_sizes():
    net = Net()
    x = net.input("x", "n", 4, "h", 5)
    graph = net.done(net.b.instance_norm(x, net.weight(4), net.weight(4), epsilon=1e-3))
    sizes = ({"n": 1, "h": 3}, {"n": 2, "h": 8})
    with same_results(graph, tolerance=1e-5, sizes=sizes):
        apply(graph, Decompose())
    assert "instance_norm" not in names(graph.body)


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
        apply(graph, Decompose())
    assert names(graph.body) == ["conv", "reshape", "transpose", "reshape"]


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
