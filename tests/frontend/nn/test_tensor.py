"""Tensors: NumPy's operators, PyTorch's element types, indexing with sizes that are symbols."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bireme.frontend import nn
from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.frontend.nn.indexing import plan
from bireme.ir import OPS, BiremeError, DType, SymbolRange, evaluate, reference, symbol

Array = np.ndarray[Any, Any]
X = np.random.default_rng(0).standard_normal((3, 4, 5), np.float32)


class Function(nn.Module):
    """A function of one tensor as a module."""

    def __init__(self, function: Callable[[nn.Tensor], nn.Tensor]) -> None:
        self.function = function

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        return self.function(x)


def run_traced(function: Callable[[nn.Tensor], nn.Tensor], x: Array, *shape: Any) -> Array:
    graph = nn.trace(Function(function), {"x": nn.Spec(shape or x.shape, x.dtype)})
    return reference.run(graph, {"x": x})["output"]


CASES: list[tuple[Callable[[nn.Tensor], nn.Tensor], Array]] = [
    (lambda x: x + 1, X + 1),
    (lambda x: 1 - x, 1 - X),
    (lambda x: X * x, X * X),
    (lambda x: 2 / (x + 9), 2 / (X + 9)),
    (lambda x: -abs(x), -np.abs(X)),
    (lambda x: (x < 0) | (x >= 1), (X < 0) | (X >= 1)),
    (lambda x: x.sum(), X.sum()),
    (lambda x: x.mean(-1, keepdims=True), X.mean(-1, keepdims=True)),
    (lambda x: x.max((0, 2)), X.max((0, 2))),
    (lambda x: (x > 0).any(1), (X > 0).any(1)),
    (lambda x: (x > -9).all(), (X > -9).all()),
    (lambda x: x.argmax(1), X.argmax(1)),
    (lambda x: x.reshape(-1, 10), X.reshape(-1, 10)),
    (lambda x: x.reshape((5, 12)), X.reshape(5, 12)),
    (lambda x: x.flatten(1), X.reshape(3, 20)),
    (lambda x: x.unsqueeze(-1).squeeze(3), X),
    (lambda x: x.permute(2, 0, -2), X.transpose(2, 0, 1)),
    (lambda x: x.transpose(0, -1), X.swapaxes(0, 2)),
    (lambda x: x.T, X.T),
    (lambda x: x[:1].expand(3, -1, 5), np.broadcast_to(X[:1], (3, 4, 5))),
    (lambda x: x @ x.transpose(1, 2), X @ X.swapaxes(1, 2)),
    (lambda x: x[1], X[1]),
    (lambda x: x[..., -1], X[..., -1]),
    (lambda x: x[:, None, 1:3, ::2], X[:, None, 1:3, ::2]),
    (lambda x: x[::-1, ::-2], X[::-1, ::-2]),
    (lambda x: x[:, np.array([[2, 0], [1, -1]])], X[:, np.array([[2, 0], [1, -1]])]),
    (lambda x: F.pad(x, [(0, 0), (1, 2), (0, 3)], value=2.5), np.pad(
        X, [(0, 0), (1, 2), (0, 3)], constant_values=2.5)),
    (lambda x: F.pad(x, [(0, 0), (1, 2), (3, 0)], "reflect"), np.pad(
        X, [(0, 0), (1, 2), (3, 0)], "reflect")),
    (lambda x: F.where(x > 0, x, 0.0), np.where(X > 0, X, 0)),
    (lambda x: F.clip(x, -0.5, 0.5), X.clip(-0.5, 0.5)),
    (lambda x: F.tile(x, (1, 2, 1)), np.tile(X, (1, 2, 1))),
    (lambda x: F.take(x, np.array([1, 1]), axis=-1), X.take([1, 1], -1)),
    (lambda x: F.take_along_axis(x, x.argmax(1, True), 1), X.max(1, keepdims=True)),
    (lambda x: F.full(x.shape, 3, "int8") + F.zeros((5,), "int8"), np.full(X.shape, 3, np.int8)),
    (lambda x: F.arange(x.shape[1]), np.arange(4)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CASES)))
@pytest.mark.parametrize("shape", [(3, 4, 5), ("a", 4, 5), (3, "b", "c")], ids=str)
def test_values_are_numpys(number: int, shape: tuple[int | str, ...]) -> None:
    """Eager and traced; sums may differ by their order."""
    function, wanted = CASES[number]
    for found in (function(nn.Tensor(X)).numpy(), run_traced(function, X, *shape)):
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("i + 1", "int32"),
        ("i + 1.5", "float32"),
        ("b + 1", "int64"),
        ("h + 1.5", "float16"),
        ("h + i", "float16"),
        ("h * s", "float16"),
        ("h + f", "float32"),
        ("i / 2", "float32"),
        ("i // 2", "int32"),
        ("i == 2", "bool"),
        ("i + l", "int64"),
        ("-i", "int32"),
        ("i & 3", "int32"),
    ],
)
def test_element_types_follow_pytorch(expression: str, kind: str) -> None:
    names = {"i": "int32", "l": "int64", "b": "bool", "h": "float16", "f": "float32"}
    values = {k: nn.Tensor(np.ones(2), v) for k, v in names.items()}
    assert eval(expression, {**values, "s": np.float64(2.0)}).dtype is DType.of(kind)


def test_what_a_tensor_is_made_of() -> None:
    assert nn.Tensor([1.0, 2.0]).dtype is DType.F32
    assert nn.Tensor([1, 2]).dtype is DType.I64
    assert nn.Tensor(np.zeros(2)).dtype is DType.F64
    array = np.zeros(3, np.float32)
    assert nn.Tensor(array).numpy() is array
    assert np.asarray(nn.Tensor(array)).dtype == np.float32
    with pytest.raises(BiremeError, match="BM2003"):
        nn.Tensor(["text"])


def test_eager_tensors_behave_as_numbers() -> None:
    value = nn.Tensor([2, 0])
    assert bool(value[0])
    assert not value[1]
    assert [10, 20, 30][value[0]] == 30
    assert float(value[0]) == 2.0
    assert len(value) == 2
    assert [int(v) for v in value] == [2, 0]


slices = st.builds(
    slice,
    st.none() | st.integers(-7, 7),
    st.none() | st.integers(-7, 7),
    st.none() | st.sampled_from([1, 2, 3, -1, -2]),
)


@given(part=slices, size=st.integers(1, 9), static=st.booleans())
def test_a_slice_is_pythons_for_every_size(part: slice, size: int, static: bool) -> None:
    """Start, length and step from symbols give what Python gives for the number."""
    backwards = part.step is not None and part.step < 0
    assume(static or not backwards or part.start is part.stop is None)
    steps = plan(part, (size if static else symbol("n"),), {"n": SymbolRange(1)})
    wanted = range(*part.indices(size))
    start, length = (evaluate(d, {"n": size}) for d in (steps.starts[0], steps.sizes[0]))
    assert length == len(wanted)
    if length:
        assert [start + i * steps.steps[0] for i in range(length)] == list(wanted)


def test_ranges_of_symbols_keep_slices_simple() -> None:
    n = symbol("n")
    tail = plan(slice(1, None), (n,), {"n": SymbolRange(1)})
    assert (tail.starts, tail.sizes) == ([1], [n - 1])
    head = plan(slice(0, n), (512,), {"n": SymbolRange(1, 512)})
    assert (head.starts, head.sizes) == ([0], [n])
    assert plan(slice(0, n), (511,), {"n": SymbolRange(1, 512)}).sizes != [n]
    unbounded = plan(slice(1, None), (n,), {})
    assert evaluate(unbounded.sizes[0], {"n": 0}) == 0


@pytest.mark.parametrize(
    ("index", "detail"),
    [
        (5, "index 5 is outside an axis of size 3"),
        ((0, 0, 0, 0), "4 indices for 3 axes"),
        ((np.array([0]), np.array([0])), "two tensors stand in one index"),
        (X > 0, "an index of type bool.*nn.functional.where"),
        ("a", "an index of type str"),
    ],
)
def test_indices_that_are_refused(index: Any, detail: str) -> None:
    with pytest.raises(BiremeError, match=rf"BM1006 at .*test_tensor\.py:\d+.*{detail}"):
        nn.Tensor(X)[index]


def test_symbolic_sizes_are_numbers_in_expressions() -> None:
    x = np.ones((6, 4), np.float32)
    graph = nn.trace(Function(lambda t: t.sum(0) / t.shape[0]), {"x": nn.Spec(("n", 4))})
    np.testing.assert_array_equal(reference.run(graph, {"x": x})["output"], np.ones(4))


def test_any_op_of_the_table_can_be_called_by_name() -> None:
    """`F.op` needs no wrapper, so a new op is usable at once."""
    assert F.op("reduce_prod", np.array([2.0, 3.0]), axes=(0,)).item() == 6.0
    with pytest.raises(BiremeError, match="BM2002"):
        F.op("softmax", np.ones(3, np.float32), axes=(0,))


def test_pointwise_functions_document_themselves_from_the_table() -> None:
    assert F.tanh.__doc__ == OPS["tanh"].doc
    assert F.tanh.__name__ == "tanh"


def test_integers_become_floats_where_only_floats_are_taken() -> None:
    assert F.exp(np.array([0, 1])).dtype is DType.F32
    assert F.relu(np.array([-1, 1])).dtype is DType.I64
