"""What the comparison of random graphs accepts, refuses and leaves out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings

from bireme.ir import Builder, DType, Graph, TensorType, Value
from tests.random.example import Example, Fill
from tests.random.graphs import examples
from tests.random.judge import assert_agrees, expectations

_SETTINGS = settings(
    max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def example(dtype: DType, make: str, fill: Fill) -> Example:
    """`y = make(x)` of 5 elements."""
    graph = Graph("random")
    x = graph.add_input("x", TensorType(dtype, (5,)))
    y: Value = Builder(graph).op(make, [x]).result
    graph.set_outputs({"y": y})
    return Example(graph.text(), {"x": fill}, ({},), 0)


def test_integers_must_be_equal() -> None:
    wanted = expectations(example(DType.I8, "neg", Fill(dtype="int8")), {})["y"]
    assert_agrees("y", wanted.array.copy(), wanted)
    with pytest.raises(AssertionError):
        assert_agrees("y", wanted.array + np.int8(1), wanted)


@pytest.mark.parametrize("off", [np.float32(1e-3), np.float32("nan"), np.float32("inf")])
def test_floats_must_be_near_and_special_where_expected(off: np.float32) -> None:
    wanted = expectations(example(DType.F32, "exp", Fill()), {})["y"]
    assert wanted.judged.all()
    assert_agrees("y", wanted.array * np.float32(1 + 1e-6), wanted)
    with pytest.raises(AssertionError):
        assert_agrees("y", wanted.array + off, wanted)


def test_shape_and_type_must_agree() -> None:
    wanted = expectations(example(DType.F32, "neg", Fill()), {})["y"]
    for found in (wanted.array[:4], wanted.array.astype(np.float64)):
        with pytest.raises(AssertionError):
            assert_agrees("y", found, wanted)


def test_nan_and_infinity_are_judged() -> None:
    wanted = expectations(example(DType.F32, "neg", Fill("special")), {})["y"]
    assert wanted.judged.all()


def test_amplified_rounding_is_not_judged() -> None:
    graph = Graph("random")
    x = graph.add_input("x", TensorType(DType.F32, (5,)))
    b = Builder(graph)
    large = b.constant(np.float32(1e6), "w")
    graph.set_outputs({"y": b.sub(b.add(b.tanh(x), large), large)})
    fills = {"x": Fill(), "w": Fill("full", 1000000)}
    wanted = expectations(Example(graph.text(), fills, ({},), 0), {})["y"]
    assert not wanted.judged.any()


@seed(1)
@_SETTINGS
@given(examples())
def test_what_is_printed_makes_the_example_again(made: Example) -> None:
    names = {"Example": Example, "Fill": Fill}
    assert eval(repr(made), names) == made
    assert made.graph().text() == made.text


def test_nearly_everything_is_judged() -> None:
    judged, total = [], []

    @seed(2)
    @_SETTINGS
    @given(examples())
    def count(made: Example) -> None:
        for sizes in made.sizes:
            for wanted in expectations(made, sizes).values():
                judged.append(int(wanted.judged.sum()))
                total.append(wanted.judged.size)

    count()
    assert sum(total) > 1000
    assert sum(judged) > 0.98 * sum(total)
