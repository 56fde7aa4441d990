"""Shape arithmetic is done while importing: it leaves attributes, not ops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bireme.frontend.onnx import load
from bireme.ir import BiremeError
from tests.frontend.onnx.support import model, onnxruntime_run, op_names, random, run, shape_of


def test_reshape_by_computed_shape_becomes_an_attribute() -> None:
    graph = load(
        model("""g (float[N, 3, H, W] x) => (float[A, B] y)
        <int64[1] minus = {-1}, int64 zero = {0}, int64[1] axis = {0}> {
            s = Shape(x)
            n = Gather<axis = 0>(s, zero)
            n1 = Unsqueeze(n, axis)
            t = Concat<axis = 0>(n1, minus)
            y = Reshape(x, t)
        }""")
    )
    assert op_names(graph) == ["reshape"]
    assert shape_of(graph) == "N, 3*H*W"


def test_broadcast_shape_of_exporters_is_decided() -> None:
    graph = load(
        model("""g (float[N, 1] x, float[N, M] like) => (float[A, B] y)
        <int64[1] minus = {-1}, int64[2] given = {-1, -1}> {
            s = Shape(like)
            unset = Equal(given, minus)
            t = Where(unset, s, given)
            y = Expand(x, t)
        }""")
    )
    assert op_names(graph) == ["expand"]
    assert shape_of(graph) == "N, M"


def test_sizes_in_floating_point_stay_exact() -> None:
    graph = load(
        model("""g (float[N, C, H, W] x) => (float[A, B, D, E] y)
        <int64[1] two = {2}, int64[1] four = {4}, int64[1] zero = {0},
         float[1] factor = {2.0}, float[0] none = {}> {
            s = Shape(x)
            hw = Slice(s, two, four)
            f = Cast<to = 1>(hw)
            scaled = Mul(f, factor)
            down = Floor(scaled)
            i = Cast<to = 7>(down)
            nc = Slice(s, zero, two)
            size = Concat<axis = 0>(nc, i)
            y = Resize<mode = "nearest">(x, none, none, size)
        }""")
    )
    assert op_names(graph) == ["resize"]
    assert shape_of(graph) == "N, C, 2*H, 2*W"


def test_slice_to_the_end_keeps_the_symbol() -> None:
    graph = load(
        model("""g (float[N, T] x) => (float[N, U] y, float[N, V] z)
        <int64[1] one = {1}, int64[1] end = {9223372036854775807}, int64[1] minus = {-1}> {
            y = Slice(x, one, end, one)
            z = Slice(x, minus, end, one)
        }""")
    )
    assert shape_of(graph, 0) == "N, T - 1"
    assert shape_of(graph, 1) == "N, 1"


def test_size_used_as_data_becomes_dim_values() -> None:
    source = model("""g (float[N] x) => (float y) <float[1] zero = {0.0}, int64[0] scalar = {}> {
        s = Shape(x)
        f = Cast<to = 1>(s)
        sum = ReduceSum<keepdims = 0>(x)
        mean = Div(sum, f)
        y = Reshape(mean, scalar)
    }""")
    graph = load(source)
    assert "dim_values" in op_names(graph)
    for length in (1, 5):
        x = random(length)
        np.testing.assert_allclose(run(graph, {"x": x})["y"], x.mean(), rtol=1e-5)


def test_attention_mask_of_symbolic_length() -> None:
    source = model("""g (float[B, T] x) => (bool[T, T] mask) <int64 zero = {0}, int64 one = {1}> {
        s = Shape<start = 1>(x)
        shape = Concat<axis = 0>(s, s)
        ones = ConstantOfShape<value = int64[1] {1}>(shape)
        lower = Trilu<upper = 0>(ones)
        mask = Cast<to = 9>(lower)
    }""")
    found = run(source, {"x": random(2, 4)})["mask"]
    np.testing.assert_array_equal(found, np.tril(np.ones((4, 4), bool)))


def test_range_over_a_symbol() -> None:
    source = model("""g (float[N] x) => (int64[N] y)
    <int64 zero = {0}, int64 one = {1}, int64[0] none = {}> {
        s = Shape(x)
        n = Reshape(s, none)
        y = Range(zero, n, one)
    }""")
    graph = load(source)
    assert shape_of(graph) == "N"
    np.testing.assert_array_equal(run(graph, {"x": random(6)})["y"], np.arange(6))


def test_unnamed_and_odd_names_become_symbols() -> None:
    proto = model("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    for name, symbol in (("p2o.Dim.0", "p2o_Dim_0"), ("?", "x_0"), ("if", "_if"), ("", "x_0")):
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = name
        assert shape_of(load(proto)) == symbol


def test_question_marks_are_different_sizes() -> None:
    proto = model("g (float[N, M] x) => (float[N, M] y) { y = Relu(x) }")
    for dim in proto.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_param = "?"
    assert shape_of(load(proto)) == "x_0, x_1"


def test_made_up_name_is_not_the_models_own() -> None:
    proto = model("g (float[x_1, M] x) => (float[x_1, M] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = ""
    assert shape_of(load(proto)) == "x_1, x_1_2"


def test_names_that_become_equal_stay_apart() -> None:
    proto = model("g (float[N, M] x) => (float[N, M] y) { y = Relu(x) }")
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_param, dims[1].dim_param = "a.b", "a-b"
    assert shape_of(load(proto)) == "a_b, a_b_2"


def test_dims_fix_and_bound_sizes() -> None:
    source = model("g (float[batch, seq] x) => (float[batch, seq] y) { y = Relu(x) }")
    graph = load(source, dims={"batch": 2, "seq": range(1, 129)})
    assert shape_of(graph) == "2, seq"
    assert (graph.symbols["seq"].least, graph.symbols["seq"].most) == (1, 128)


@pytest.mark.parametrize("dims", [{"b": 1}, {"batch": -1}, {"batch": range(0)}, {"batch": "3"}])
def test_wrong_dims_are_refused(dims: dict[str, Any]) -> None:
    source = model("g (float[batch] x) => (float[batch] y) { y = Relu(x) }")
    with pytest.raises(BiremeError) as error:
        load(source, dims=dims)
    assert error.value.code == "BM6002"


def test_constants_freeze_an_input() -> None:
    source = model("g (float[N, 4] x, int64[2] shape) => (float[A, B] y) { y = Reshape(x, shape) }")
    graph = load(source, constants={"shape": np.array([-1, 2])})
    assert graph.input_names == ["x"]
    assert shape_of(graph) == "2*N, 2"


@pytest.mark.parametrize(
    ("constants", "code"),
    [
        ({"shape": np.array([1, 2, 3])}, "BM6003"),
        ({"shape": np.array([1.0, 2.0])}, "BM6003"),
        ({"form": np.array([1, 2])}, "BM6002"),
    ],
)
def test_wrong_constants_are_refused(constants: dict[str, np.ndarray], code: str) -> None:
    source = model("g (float[N, 4] x, int64[2] shape) => (float[A, B] y) { y = Reshape(x, shape) }")
    with pytest.raises(BiremeError) as error:
        load(source, constants=constants)
    assert error.value.code == code


def test_same_padding_of_a_symbolic_size() -> None:
    source = model("""g (float[1, 1, H, W] x, float[1, 1, 3, 3] w) => (float[A, B, C, D] y) {
        y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, w)
    }""")
    graph = load(source)
    for size in (7, 8):
        y = run(graph, {"x": random(1, 1, size, size), "w": random(1, 1, 3, 3)})["y"]
        assert y.shape == (1, 1, 4, 4)


DIVIDED = """g (float[N] x) => (float[M] y) <int64[1] three = {3}, int64[1] four = {4}> {
    n = Shape(x)
    less = Sub(n, three)
    quarter = Div(less, four)
    rest = Mod<fmod = 1>(less, four)
    sizes = Sub(quarter, rest)
    zero = ConstantOfShape(n)
    dim = Cast<to = 1>(sizes)
    y = Add(zero, dim)
}"""


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 9])
def test_sizes_are_divided_towards_zero(size: int) -> None:
    graph = load(model(DIVIDED))
    found = run(graph, {"x": random(size)})["y"]
    whole = int((size - 3) / 4)
    assert found.tolist() == [whole - (size - 3 - 4 * whole)] * size


def test_a_window_says_how_small_its_input_can_be() -> None:
    """Exporters compute the size of a convolution's result a second time, by themselves."""
    graph = load(
        model("""g (float[N, 1, L] x, float[2, 1, 3] w) => (float[A, B] y)
        <int64[1] three = {-3}, int64[1] one = {1}, int64[1] two = {2}> {
            c = Conv<strides = [2]>(x, w)
            l = Shape<start = 2>(x)
            n = Shape<end = 1>(x)
            less = Add(l, three)
            half = Div(less, two)
            count = Add(half, one)
            shape = Concat<axis = 0>(n, two, count)
            y = Reshape(c, shape)
        }""")
    )
    assert op_names(graph) == ["conv"]
    assert graph.symbols["L"].least == 3


def test_a_window_in_a_branch_says_nothing_of_the_input() -> None:
    graph = load(
        model("""g (float[1, 1, L] x, float[1, 1, 3] w, bool c) => (float[1, 1, 1] y) {
            y = If(c) <
                then_branch = g1 () => (float[1, 1, 1] a) {
                    d = Conv(x, w)
                    a = GlobalMaxPool(d)
                },
                else_branch = g2 () => (float[1, 1, 1] b) { b = GlobalMaxPool(x) }
            >
        }""")
    )
    assert graph.symbols["L"].least == 1


@pytest.mark.parametrize("length", [16, 17, 40])
def test_short_time_transform_of_any_length(length: int) -> None:
    proto = model("""g (float[N, T, 1] x) => (float[N, F, B, 2] y)
    <int64 step = {5}, float[16] window = {0,1,2,3,4,5,6,7,7,6,5,4,3,2,1,0}, int64 size = {16}> {
        y = STFT(x, step, window, size)
    }""")
    x = random(2, length, 1)
    np.testing.assert_allclose(
        run(proto, {"x": x})["y"], onnxruntime_run(proto, {"x": x})["y"], rtol=1e-4, atol=1e-4
    )
