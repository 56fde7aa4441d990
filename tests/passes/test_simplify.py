"""Each rule of simplify: what it makes of a small graph, which still computes the same."""

import numpy as np
import pytest

from bireme.ir import DType
from bireme.passes.dce import Dce
from bireme.passes.simplify import Simplify
from tests.passes.support import Net, apply, listing, names, run, same_results


def check(net, outputs, expected, *attrs, tolerance=0.0, sizes=({},)):
    """Simplifies a graph with these outputs; compares its listing and its results."""
    graph = net.done(*outputs)
    with same_results(graph, tolerance=tolerance, sizes=sizes):
        apply(graph, Simplify(), Dce())
    assert listing(graph, *attrs) == expected
    assert apply(graph, Simplify()) == [""]


# --- arithmetic -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
@pytest.mark.parametrize(
    ("op", "number", "swapped"),
    [
        ("add", 0, False), ("add", 0, True), ("sub", 0, False), ("mul", 1, False), ("mul", 1, True),
        ("div", 1, False), ("pow", 1, False),
    ],
)  # fmt: skip
def test_neutral_operands_vanish(op, number, swapped, dtype):
    net = Net()
    x = net.input("x", "n", 3, dtype=DType.of(dtype))
    operands = [x, net.scalar(number, dtype)]
    check(net, [net.b.op(op, operands[::-1] if swapped else operands).result], "-> x")


def test_a_neutral_operand_that_broadcasts_stays():
    net = Net()
    x = net.input("x", 3)
    zeros = net.b.constant(np.zeros((2, 3), np.float32), "zeros")
    check(net, [net.b.add(x, zeros)], "%0 = add(x, zeros)\n-> %0")


def test_multiplying_a_float_by_zero_is_not_zero():
    net = Net()
    y = net.b.mul(net.b.log(net.input("x", 3)), net.scalar(0))
    check(net, [y], "%0 = log(x)\n%1 = mul(%0, scalar)\n-> %1")


@pytest.mark.parametrize("op", ["neg", "abs", "relu", "floor", "round"])
def test_ops_that_undo_or_repeat_themselves(op):
    net = Net()
    twice = net.b.op(op, [net.b.op(op, [net.input("x", 4)]).result]).result
    check(net, [twice], "-> x" if op == "neg" else f"%0 = {op}(x)\n-> %0")


def test_abs_of_neg():
    net = Net()
    check(net, [net.b.abs(net.b.neg(net.input("x", 4)))], "%0 = abs(x)\n-> %0")


def test_logical_identities():
    net = Net()
    x = net.input("x", 4, dtype=DType.BOOL)
    y = net.b.logical_and(x, net.scalar(True, np.bool_))
    y = net.b.logical_or(y, net.scalar(False, np.bool_))
    check(net, [net.b.logical_not(net.b.logical_not(y))], "-> x")


BOTH = "both casts stay"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ((DType.F32, DType.F32), "-> x"),
        ((DType.F32, DType.F64, DType.F32), "-> x"),
        ((DType.F32, DType.F16, DType.F32), BOTH),
        ((DType.I8, DType.I32, DType.I64), "%0 = cast(x, dtype=int64)\n-> %0"),
        ((DType.I32, DType.F64, DType.I32), "-> x"),
        ((DType.I64, DType.F64, DType.I64), BOTH),
        ((DType.U8, DType.I8, DType.U8), BOTH),
        ((DType.I16, DType.F32, DType.F64), "%0 = cast(x, dtype=float64)\n-> %0"),
        ((DType.I16, DType.F16, DType.F64), BOTH),
        ((DType.F16, DType.BF16, DType.F32), BOTH),
        ((DType.BOOL, DType.F32, DType.I32), "%0 = cast(x, dtype=int32)\n-> %0"),
        ((DType.BF16, DType.F32, DType.F64), "%0 = cast(x, dtype=float64)\n-> %0"),
    ],
)  # fmt: skip
def test_cast_chains(path, expected):
    net = Net()
    value = net.input("x", 4, dtype=path[0])
    for dtype in path[1:]:
        value = net.b.cast(value, dtype=dtype)
    if expected is BOTH:
        expected = f"%0 = cast(x, dtype={path[1]!r})\n%1 = cast(%0, dtype={path[2]!r})\n-> %1"
    check(net, [value], expected, "dtype")


def test_decided_selections():
    net = Net()
    x, y = net.input("x", 4), net.input("y", 4)
    c = net.input("c", 4, dtype=DType.BOOL)
    yes = net.b.constant(np.ones(4, np.bool_))
    check(net, [net.b.where(yes, x, y), net.b.where(c, y, y)], "-> x, y")


def test_constants_of_a_chain_are_combined():
    net = Net()
    x = net.input("x", "n", 3)
    y = net.b.sub(net.b.add(x, net.weight(3, name="a")), net.weight(3, name="c"))
    y = net.b.mul(net.weight(1, name="d"), net.b.mul(y, net.weight(3, name="e")))
    check(
        net, [y], "%0 = add(x, a.1)\n%1 = mul(%0, e.1)\n-> %1", tolerance=1e-6,
        sizes=({"n": 1}, {"n": 5}),
    )  # fmt: skip


def test_integer_constants_are_combined_exactly():
    net = Net()
    x = net.input("x", 3, dtype=DType.U8)
    y = net.b.add(net.b.add(x, net.scalar(200, np.uint8)), net.scalar(100, np.uint8))
    check(net, [y], "%0 = add(x, scalar.2)\n-> %0")


def test_constants_that_would_grow_stay_apart():
    net = Net()
    x = net.input("x", 64, 64)
    y = net.b.add(net.b.add(x, net.weight(64, 1, name="a")), net.weight(64, name="c"))
    check(net, [y], "%0 = add(x, a)\n%1 = add(%0, c)\n-> %1")


@pytest.mark.parametrize(
    ("divisor", "dtype", "op"),
    [
        (4.0, np.float32, "mul"),
        (-0.125, np.float64, "mul"),
        (3.0, np.float32, "div"),
        (4.0, np.float16, "div"),
        (0.0, np.float32, "div"),
        (2.0**-149, np.float32, "div"),
        (3e38, np.float32, "div"),
        (3, np.int32, "div"),
    ],
)
def test_division_becomes_multiplication_where_the_inverse_is_exact(divisor, dtype, op):
    net = Net()
    y = net.b.div(net.input("x", 5, dtype=DType.of(dtype)), net.scalar(divisor, dtype))
    graph = net.done(y)
    with same_results(graph, tolerance=0.0):
        apply(graph, Simplify())
    assert names(graph.body) == [op]


def test_products_of_constants_do_not_leave_the_range():
    net = Net()
    x = net.input("x", 4)
    large, small = np.full(4, 1e30, np.float32), np.full(4, 1e-30, np.float32)
    up = net.b.mul(net.b.mul(x, net.b.constant(large)), net.b.constant(large))
    down = net.b.mul(net.b.mul(x, net.b.constant(small)), net.b.constant(small))
    zero = net.b.mul(net.b.mul(x, net.scalar(0)), net.b.constant(large))
    graph = net.done(up, down, zero)
    apply(graph, Simplify())
    assert names(graph.body) == ["mul"] * 5


@pytest.mark.parametrize(("power", "ops"), [(2, ["mul"]), (3, ["mul", "mul"]), (2.5, ["pow"])])
def test_small_powers_become_products(power, ops):
    net = Net()
    graph = net.done(net.b.pow(net.input("x", 5), net.scalar(power)))
    with same_results(graph, tolerance=1e-6):
        apply(graph, Simplify())
    assert names(graph.body) == ops


def test_maximum_with_zero_is_relu():
    net = Net()
    x, u = net.input("x", 4), net.input("u", 4, dtype=DType.U8)
    relu, stays = net.b.maximum(net.scalar(0), x), net.b.maximum(u, net.scalar(0, np.uint8))
    check(net, [relu, stays], "%0 = relu(x)\n%1 = maximum(u, scalar.1)\n-> %0, %1")


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38, 1e-42, 1.0, -1.0, 0.5, 2.5]


def every_float_rule():
    """One graph that most rules on floats apply to."""
    net = Net()
    x = net.input("x", len(SPECIAL))
    b, two, three = net.b, net.scalar(2), net.scalar(3)
    return net.done(
        b.add(x, net.scalar(0)), b.sub(x, net.scalar(0)), b.mul(net.scalar(1), x),
        b.div(x, net.scalar(1)), b.pow(x, net.scalar(1)), b.neg(b.neg(x)), b.relu(b.relu(x)),
        b.abs(b.neg(x)), b.cast(b.cast(x, dtype=DType.F64), dtype=DType.F32), b.sub(x, three),
        b.div(x, two), b.pow(x, two), b.pow(x, three), b.maximum(x, net.scalar(0)),
        b.minimum(b.minimum(x, three), two), b.maximum(b.maximum(x, three), two),
        b.mul(b.mul(x, three), two), b.floor(b.floor(x)),
    )  # fmt: skip


def test_infinities_and_nans_are_kept():
    graph = every_float_rule()
    x = {"x": np.array(SPECIAL, np.float32)}
    before = run(graph, x)
    (gain,) = apply(graph, Simplify())
    assert gain.startswith("applied ")
    after = run(graph, x)
    for name, expected in before.items():
        np.testing.assert_array_equal(np.isnan(after[name]), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(after[name]), np.isinf(expected))
        np.testing.assert_allclose(after[name], expected, rtol=1e-6)


# --- shapes ---------------------------------------------------------------------------------------


def test_moves_that_do_nothing():
    net = Net()
    x = net.input("x", "n", 3)
    n = x.type.shape[0]
    y = net.b.transpose(net.b.reshape(x, shape=(n, 3)), perm=(0, 1))
    y = net.b.slice(y, starts=(0, 0), sizes=(n, 3), steps=(1, 1))
    y = net.b.tile(net.b.expand(y, shape=(n, 3)), repeats=(1, 1))
    y = net.b.concat(net.b.pad(y, before=(0, 0), after=(0, 0)), axis=1)
    check(net, [y], "-> x")


def test_reversing_a_whole_axis_is_something():
    net = Net()
    y = net.b.slice(net.input("x", 3), starts=(2,), sizes=(3,), steps=(-1,))
    check(net, [y], "%0 = slice(x)\n-> %0")


def test_reshapes_and_transposes_merge():
    net = Net()
    x = net.input("x", 2, 3, 4)
    y = net.b.reshape(net.b.reshape(x, shape=(6, 4)), shape=(24,))
    z = net.b.transpose(net.b.transpose(x, perm=(1, 2, 0)), perm=(1, 0, 2))
    back = net.b.transpose(net.b.transpose(x, perm=(1, 2, 0)), perm=(2, 0, 1))
    check(
        net, [y, z, back],
        "%0 = reshape(x, shape=(24,))\n%1 = transpose(x, perm=(2, 1, 0))\n-> %0, %1, x",
        "shape", "perm",
    )  # fmt: skip


def test_moving_unit_axes_is_a_view():
    net = Net()
    y = net.b.transpose(net.input("x", "n", 1, 5, 1), perm=(1, 0, 3, 2))
    check(net, [y], "%0 = reshape(x, shape=(1, n, 1, 5))\n-> %0", "shape")


def test_slices_merge():
    net = Net()
    x = net.input("x", 20)
    y = net.b.slice(x, starts=(17,), sizes=(6,), steps=(-3,))
    y = net.b.slice(y, starts=(1,), sizes=(2,), steps=(2,))
    check(
        net, [y], "%0 = slice(x, starts=(14,), sizes=(2,), steps=(-6,))\n-> %0",
        "starts", "sizes", "steps",
    )  # fmt: skip


def test_pads_merge_when_they_fill_alike():
    net = Net()
    x = net.input("x", 3)
    same = net.b.pad(net.b.pad(x, before=(1,), after=(0,)), net.scalar(0), before=(2,), after=(4,))
    other = net.b.pad(net.b.pad(x, before=(1,), after=(0,)), net.scalar(7), before=(2,), after=(4,))
    graph = net.done(same, other)
    with same_results(graph):
        apply(graph, Simplify())
    assert names(graph.body) == ["pad"] * 3


def test_zeros_around_a_convolution_are_its_padding():
    net = Net()
    x = net.input("x", 1, 3, 6, 6)
    pad = net.b.pad(x, before=(0, 0, 1, 0), after=(0, 0, 0, 2))
    check(
        net, [net.conv(pad, 2, 3, pad=1, node="c")],
        "%0 = conv(x, c.w, pads=(2, 1, 1, 3))\n-> %0", "pads",
    )  # fmt: skip


@pytest.mark.parametrize("value", [1.0, None])
def test_other_paddings_of_a_convolution_stay(value):
    net = Net()
    x = net.input("x", 1, 2, 6, 6)
    if value is None:
        pad = net.b.pad(x, before=(0, 1, 0, 0), after=(0, 0, 0, 0))
    else:
        pad = net.b.pad(x, net.scalar(value), before=(0, 0, 1, 1), after=(0, 0, 1, 1))
    graph = net.done(net.conv(pad, 2, 3, pad=1, node="c"))
    assert apply(graph, Simplify()) == [""]


def test_an_expand_that_the_op_does_by_itself_vanishes():
    net = Net()
    x, y = net.input("x", "n", 3), net.input("y", 3)
    n = x.type.shape[0]
    spread = net.b.expand(y, shape=(n, 3))
    check(net, [net.b.mul(spread, x), net.b.neg(spread)], "\n".join([
        "%0 = expand(y)", "%1 = mul(y, x)", "%2 = neg(%0)", "-> %1, %2",
    ]))  # fmt: skip


def test_concats_flatten():
    net = Net()
    x, y = net.input("x", 2, 3), net.input("y", 2, 3)
    inner = net.b.concat(x, y, axis=1)
    across = net.b.concat(x, x, axis=0)
    y2 = net.b.concat(y, across, axis=0)
    check(net, [net.b.concat(inner, x, axis=1), y2], "\n".join([
        "%0 = concat(y, x, x)", "%1 = concat(x, y, x)", "-> %1, %0",
    ]))  # fmt: skip


def test_reducing_unit_axes_is_a_view():
    net = Net()
    x = net.input("x", "n", 1, 4, 1)
    gone = net.b.reduce_max(x, axes=(1, 3), keepdims=False)
    kept = net.b.reduce_mean(x, axes=(1,))
    check(net, [gone, kept], "%0 = reshape(x)\n-> %0, x")


@pytest.mark.parametrize(("index", "start"), [(0, 0), (-1, 3), ([2], 2)])
def test_gathering_one_known_row_is_a_slice(index, start):
    net = Net()
    x = net.input("x", "n", 4)
    y = net.b.gather(x, net.b.constant(np.asarray(index, np.int64)), axis=1)
    shape = "(n,)" if np.ndim(index) == 0 else None
    expected = f"%0 = slice(x, starts=(0, {start}))\n"
    expected += f"%1 = reshape(%0, shape={shape})\n-> %1" if shape else "-> %0"
    check(net, [y], expected, "starts", "shape")


@pytest.mark.parametrize("axis", [0, 1])
def test_gathering_a_row_that_may_not_exist_stays(axis):
    net = Net()
    x = net.input("x", "n", 4)
    y = net.b.gather(x, net.b.constant(np.asarray(0 if axis == 0 else 4)), axis=axis)
    graph = net.done(y)
    assert apply(graph, Simplify()) == [""]


@pytest.mark.parametrize(("pool", "reduction"), [("avg_pool", "mean"), ("max_pool", "max")])
def test_a_pool_over_the_whole_picture_is_a_reduction(pool, reduction):
    net = Net()
    x = net.input("x", "n", 3, 4, 5)
    window = {"strides": (1, 1), "pads": (0,) * 4, "dilations": (1, 1)}
    y = net.b.op(pool, [x], kernel=(4, 5), **window).result
    part = net.b.op(pool, [x], kernel=(4, 4), **window).result
    check(
        net, [y, part],
        f"%0 = reduce_{reduction}(x, axes=(2, 3))\n%1 = {pool}(x)\n-> %0, %1", "axes",
        tolerance=1e-6,
    )  # fmt: skip


# --- sinking --------------------------------------------------------------------------------------


def test_transposes_meet_behind_element_wise_ops():
    net = Net()
    x = net.input("x", 2, 3, 4)
    y = net.b.transpose(x, perm=(0, 2, 1))
    y = net.b.mul(net.b.relu(y), net.weight(4, 1, name="scale"))
    y = net.b.add(net.weight(3, name="bias"), y)
    y = net.b.transpose(y, perm=(0, 2, 1))
    graph = net.done(y)
    with same_results(graph):
        apply(graph, Simplify(), Dce())
    assert names(graph.body) == ["relu", "mul", "add"]


def test_a_bias_moves_before_a_reshape():
    net = Net()
    x = net.input("x", "n", 6, 5)
    n = x.type.shape[0]
    y = net.b.reshape(net.b.matmul(x, net.weight(5, 4)), shape=(n, 2, 3, 4))
    y = net.b.add(y, net.weight(4, name="bias"))
    check(net, [y], "\n".join([
        "%0 = matmul(x, w)", "%1 = add(%0, bias.1)", "%2 = reshape(%1)", "-> %2",
    ]))  # fmt: skip


def test_a_constant_that_the_reshape_would_split_stays_behind():
    net = Net()
    x = net.input("x", 2, 12)
    y = net.b.add(net.b.reshape(x, shape=(2, 3, 4)), net.weight(3, 1, name="c"))
    check(net, [y], "%0 = reshape(x)\n%1 = add(%0, c)\n-> %1")


def test_the_same_move_of_both_operands_is_done_once():
    net = Net()
    x, y = net.input("x", 2, 3), net.input("y", 2, 3)
    moved = [net.b.transpose(v, perm=(1, 0)) for v in (x, y)]
    check(net, [net.b.less(*moved)], "%0 = less(x, y)\n%1 = transpose(%0)\n-> %1")


def test_a_moved_value_that_is_read_elsewhere_stays():
    net = Net()
    moved = net.b.transpose(net.input("x", 2, 3), perm=(1, 0))
    check(net, [moved, net.b.exp(moved)], "%0 = transpose(x)\n%1 = exp(%0)\n-> %0, %1")


# --- recognising ----------------------------------------------------------------------------------


def spelt_layer_norm(net, x, *, power, root, axes=(-1,)):
    axes = tuple(a % x.type.rank for a in axes)
    centred = net.b.sub(x, net.b.reduce_mean(x, axes=axes))
    square = net.b.pow(centred, net.scalar(2)) if power else net.b.mul(centred, centred)
    shifted = net.b.add(net.b.reduce_mean(square, axes=axes), net.scalar(1e-5))
    if root == "div":
        return net.b.div(centred, net.b.sqrt(shifted))
    if root == "rsqrt":
        return net.b.mul(net.b.rsqrt(shifted), centred)
    if root == "one over":
        return net.b.mul(centred, net.b.div(net.scalar(1), net.b.sqrt(shifted)))
    return net.b.mul(centred, net.b.reciprocal(net.b.sqrt(shifted)))


@pytest.mark.parametrize("power", [True, False])
@pytest.mark.parametrize("root", ["div", "rsqrt", "reciprocal", "one over"])
def test_layer_norm_is_recognised(power, root):
    net = Net()
    x = net.input("x", "n", 4, 6)
    y = spelt_layer_norm(net, x, power=power, root=root)
    y = net.b.add(net.b.mul(net.weight(6, name="scale"), y), net.weight(6, name="bias"))
    check(
        net, [y], "%0 = layer_norm(x, scale, bias, axis=2)\n-> %0", "axis", tolerance=1e-5,
        sizes=({"n": 1}, {"n": 3}),
    )  # fmt: skip


def test_layer_norm_over_several_axes_and_with_bias_only():
    net = Net()
    x = net.input("x", 2, 4, 6)
    y = spelt_layer_norm(net, x, power=True, root="div", axes=(-2, -1))
    check(
        net, [net.b.add(y, net.weight(6, name="bias"))],
        "%0 = layer_norm(x, constant, bias, axis=1)\n-> %0", "axis", tolerance=1e-5,
    )  # fmt: skip


def test_a_norm_over_the_leading_axis_stays_spelt_out():
    net = Net()
    x = net.input("x", 4, 6)
    y = spelt_layer_norm(net, x, power=False, root="div", axes=(0,))
    graph = net.done(y)
    with same_results(graph, tolerance=1e-6):
        apply(graph, Simplify())
    assert "layer_norm" not in names(graph.body)


def test_rms_norm_is_recognised():
    net = Net()
    x = net.input("x", "n", 6)
    square = net.b.reduce_mean(net.b.mul(x, x), axes=(1,))
    y = net.b.mul(x, net.b.rsqrt(net.b.add(square, net.scalar(1e-6))))
    check(
        net, [net.b.mul(y, net.weight(6, name="scale"))],
        "%0 = rms_norm(x, scale, epsilon=9.999999974752427e-07)\n-> %0", "epsilon", tolerance=1e-5,
    )  # fmt: skip


def test_softmax_is_recognised():
    net = Net()
    x = net.input("x", 2, 5, 3)
    power = net.b.exp(net.b.sub(x, net.b.reduce_max(x, axes=(1,))))
    y = net.b.div(power, net.b.reduce_sum(power, axes=(1,)))
    check(net, [y], "%0 = softmax(x, axis=1)\n-> %0", "axis", tolerance=1e-6)


def test_gelu_is_recognised_in_any_order():
    net = Net()
    x = net.input("x", 7)
    inner = net.b.add(net.scalar(1), net.b.erf(net.b.div(x, net.scalar(np.sqrt(2.0)))))
    other = net.b.add(net.b.erf(net.b.mul(x, net.scalar(np.sqrt(0.5)))), net.scalar(1))
    first = net.b.mul(net.b.mul(x, inner), net.scalar(0.5))
    second = net.b.mul(net.b.mul(net.scalar(0.5), x), other)
    graph = net.done(first, second)
    with same_results(graph, tolerance=1e-6):
        apply(graph, Simplify(), Dce())
    assert names(graph.body) == ["gelu", "gelu"]


@pytest.mark.parametrize("swapped", [False, True])
def test_hard_swish_does_not_divide(swapped):
    net = Net()
    x, top = net.input("x", 40), net.scalar(6)
    low = net.b.relu(net.b.add(net.scalar(3), x) if swapped else net.b.add(x, net.scalar(3)))
    gate = net.b.minimum(top, low) if swapped else net.b.minimum(low, top)
    product = net.b.mul(gate, x) if swapped else net.b.mul(x, gate)
    graph = net.done(net.b.div(product, net.scalar(6)))
    with same_results(graph, tolerance=1e-6):
        apply(graph, Simplify(), Dce())
    assert "div" not in names(graph.body)


@pytest.mark.parametrize(("top", "other"), [(5, False), (6, True)])
def test_something_like_hard_swish_divides(top, other):
    net = Net()
    x, y = net.input("x", 40), net.input("y", 40)
    low = net.b.relu(net.b.add(y if other else x, net.scalar(3)))
    product = net.b.mul(x, net.b.minimum(low, net.scalar(top)))
    graph = net.done(net.b.div(product, net.scalar(6)))
    apply(graph, Simplify())
    assert "div" in names(graph.body)


def test_something_like_gelu_stays():
    net = Net()
    x, y = net.input("x", 7), net.input("y", 7)
    inner = net.b.add(net.scalar(1), net.b.erf(net.b.div(x, net.scalar(np.sqrt(2.0)))))
    graph = net.done(net.b.mul(net.b.mul(y, inner), net.scalar(0.5)))
    apply(graph, Simplify())
    assert "gelu" not in names(graph.body)
