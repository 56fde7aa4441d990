"""Type rules on drawn shapes: against NumPy, and with symbols in place of the sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bireme.ir import OPS, Array, BiremeError, Dim, DType, Fusion, TensorType, evaluate, symbol
from bireme.ir.opdef import Constraint
from bireme.ir.reference import run_op
from tests.ir.cases import CASES, Case

SIZES = st.integers(0, 5)
SHAPES = st.lists(SIZES, max_size=4).map(tuple)
# size, start, stop, step
SLICED_AXES = st.tuples(
    st.integers(1, 6),
    st.integers(-9, 9),
    st.integers(-9, 9),
    st.sampled_from([-3, -2, -1, 1, 2, 3]),
)


def infer(op: str, shapes: Sequence[tuple[Dim, ...]], **attrs: Any) -> tuple[Dim, ...]:
    definition = OPS[op]
    types = [TensorType(DType.F32, shape) for shape in shapes]
    return definition.result_types(types, definition.complete(attrs))[0].shape


@given(SHAPES, SHAPES)
def test_broadcasting_is_numpys(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(BiremeError, match="broadcast of axis"):
            infer("add", [a, b])
        return
    assert infer("add", [a, b]) == expected


@given(SHAPES, SHAPES, st.data())
def test_symbolic_broadcasting(a: tuple[int, ...], b: tuple[int, ...], data: st.DataObject) -> None:
    """Where its constraints hold, symbols give the shape that the sizes give."""
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        return
    values: dict[str, int] = {}

    def named(shape: tuple[int, ...], prefix: str) -> tuple[Dim, ...]:
        dims: list[Dim] = []
        for axis, size in enumerate(shape):
            if data.draw(st.booleans()):
                values[f"{prefix}{axis}"] = size
                dims.append(symbol(f"{prefix}{axis}"))
            else:
                dims.append(size)
        return tuple(dims)

    types = [TensorType(DType.F32, named(a, "a")), TensorType(DType.F32, named(b, "b"))]
    constraints: list[Constraint] = []
    found = OPS["add"].result_types(types, {}, (), constraints)[0].shape
    if all(evaluate(c.a, values) == evaluate(c.b, values) for c in constraints):
        assert tuple(evaluate(d, values) for d in found) == expected
    else:
        # Only a symbol that turns out to be 1 breaks them: sizes are taken not to be.
        assert 1 in values.values()


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.randoms())
def test_reshape_of_symbols_is_proved(sizes: list[int], random: Any) -> None:
    """A shape whose symbols are only moved about has as many elements, without a constraint."""
    dims: list[Dim] = [symbol(f"s{i}") for i in range(len(sizes))]
    shuffled = random.sample(dims, len(dims))
    constraints: list[Constraint] = []
    definition = OPS["reshape"]
    tensor = TensorType(DType.F32, tuple(dims))
    definition.result_types([tensor], {"shape": tuple(shuffled)}, (), constraints)
    assert constraints == []
    with pytest.raises(BiremeError, match="elements of"):
        infer("reshape", [tuple(sizes)], shape=(*sizes, 7))


@given(st.lists(SLICED_AXES, min_size=1, max_size=3))
def test_slices_are_numpys(axes: list[tuple[int, int, int, int]]) -> None:
    shape = tuple(size for size, *_ in axes)
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    ranges = [range(size)[start:stop:step] for size, start, stop, step in axes]
    expected = x[tuple(slice(*bounds) for _, *bounds in axes)]
    attrs = {
        "starts": tuple(r.start for r in ranges),
        "sizes": tuple(len(r) for r in ranges),
        "steps": tuple(r.step for r in ranges),
    }
    (found,) = run_op("slice", [x], attrs)
    np.testing.assert_array_equal(found, expected)


@given(SHAPES, st.data())
def test_pads_are_numpys(shape: tuple[int, ...], data: st.DataObject) -> None:
    mode = data.draw(st.sampled_from(["constant", "edge", "reflect", "wrap"]))
    most = {"reflect": -1, "wrap": 0}.get(mode)
    widths = [
        data.draw(st.tuples(*[st.integers(0, 3 if most is None else max(n + most, 0))] * 2))
        for n in shape
    ]
    assume(mode == "constant" or all(n or not any(w) for n, w in zip(shape, widths, strict=True)))
    x = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    attrs = {"before": [b for b, _ in widths], "after": [a for _, a in widths], "mode": mode}
    (found,) = run_op("pad", [x], attrs)
    np.testing.assert_array_equal(found, np.pad(x, widths, mode=mode) if shape else x)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.lists(SIZES, max_size=3), st.data())
def test_gathers_are_numpys(shape: list[int], index_shape: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    size = shape[axis]
    flat = data.draw(
        st.lists(
            st.integers(-size, size - 1), min_size=(n := int(np.prod(index_shape))), max_size=n
        )
    )
    indices = np.array(flat, np.int64).reshape(index_shape)
    (found,) = run_op("gather", [x, indices], {"axis": axis})
    np.testing.assert_array_equal(found, np.take(x, indices, axis))


# --- what the fusion kinds promise --------------------------------------------------------------


def cases_of(kind: Fusion) -> list[Case]:
    return [c for c in CASES if OPS[c.op].fusion is kind and all(x.size for x in c.inputs)]


def flipped(x: Array, place: tuple[int, ...]) -> Array:
    """`x` with one element changed."""
    changed = x.copy()
    changed[place] = ~x[place] if x.dtype == np.bool_ else x[place] + 1
    return changed


@pytest.mark.parametrize("case", cases_of(Fusion.POINTWISE), ids=lambda c: c.label)
def test_pointwise_results_depend_on_one_element(case: Case) -> None:
    (before,) = run_op(case.op, case.inputs, case.attrs)
    x = case.inputs[0]
    place = tuple(n - 1 for n in x.shape)
    (after,) = run_op(case.op, [flipped(x, place), *case.inputs[1:]], case.attrs)
    # Where the broadcast operand reads the element that was changed.
    mask = np.zeros(x.shape, np.bool_)
    mask[place] = True
    untouched = ~np.broadcast_to(mask, before.shape)
    np.testing.assert_array_equal(before[untouched], after[untouched])


_MOVING = [c for c in cases_of(Fusion.INJECTIVE) if c.attrs.get("mode") not in {"linear", "cubic"}]


@pytest.mark.parametrize("case", _MOVING, ids=lambda c: c.label)
def test_injective_results_are_elements_of_the_operands(case: Case) -> None:
    (result,) = run_op(case.op, case.inputs, case.attrs)
    filling = [0] if case.op in {"pad", "pack_channels"} else []
    known = np.concatenate([np.ravel(x).astype(np.float64) for x in case.inputs] + [filling])
    assert np.isin(result.astype(np.float64), known).all()


@pytest.mark.parametrize("case", cases_of(Fusion.VIEW), ids=lambda c: c.label)
def test_view_results_are_the_same_elements_in_order(case: Case) -> None:
    (result,) = run_op(case.op, case.inputs, case.attrs)
    np.testing.assert_array_equal(result.ravel(), case.inputs[0].ravel())


COMMUTATIVE = [c for c in CASES if OPS[c.op].commutative]


@pytest.mark.parametrize("case", COMMUTATIVE, ids=lambda c: c.label)
def test_commutative_ops_are(case: Case) -> None:
    (found,) = run_op(case.op, case.inputs, case.attrs)
    (swapped,) = run_op(case.op, case.inputs[::-1], case.attrs)
    np.testing.assert_array_equal(found, swapped)


def test_the_rest_is_not_commutative() -> None:
    """A binary op that is not declared so has operands for which it is not."""
    x, y = np.array([3, 1]), np.array([1, 2])
    for definition in OPS.values():
        if definition.fusion is Fusion.POINTWISE and len(definition.operands) == 2:
            integers = all(DType.I64 in operand.dtypes for operand in definition.operands)
            if integers and not definition.commutative:
                a, b = run_op(definition.name, [x, y]), run_op(definition.name, [y, x])
                assert not np.array_equal(a[0], b[0]), definition.name
