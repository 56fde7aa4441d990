"""Element types and tensor types, and their way through MLIR and back."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bireme.ir import BiremeError, DType, TensorType, symbol
from bireme.ir._mlir import ir
from bireme.ir.dialect import new_context
from bireme.ir.dtypes import ANY, FLOATS, INTEGERS, NARROW, NUMERIC, WIDE

CONTEXT = new_context()
DIMS = st.one_of(
    st.integers(0, 1 << 40),
    st.sampled_from([symbol("n"), symbol("seq") * 2 + 1, symbol("n") // 3, symbol("n") % 8]),
)
TYPES = st.builds(TensorType, st.sampled_from(DType), st.lists(DIMS, max_size=5).map(tuple))


@given(TYPES)
def test_types_round_trip_through_mlir(tensor: TensorType) -> None:
    with CONTEXT, ir.Location.unknown():
        assert TensorType.from_mlir(tensor.to_mlir()) == tensor


@given(TYPES)
def test_types_round_trip_through_text(tensor: TensorType) -> None:
    with CONTEXT, ir.Location.unknown():
        assert TensorType.from_mlir(ir.Type.parse(str(tensor.to_mlir()))) == tensor


@pytest.mark.parametrize("dtype", DType, ids=lambda d: d.label)
def test_every_name_of_an_element_type_is_understood(dtype: DType) -> None:
    assert DType.of(dtype) is dtype
    assert DType.of(dtype.label) is dtype
    assert DType.of(dtype.numpy) is dtype
    assert DType.of(dtype.numpy.type) is dtype
    assert DType.of(np.zeros(2, dtype.numpy)) is dtype
    assert DType.of(dtype.numpy.type(0)) is dtype
    assert dtype.numpy.itemsize == dtype.bytes
    assert repr(dtype) == dtype.label


def test_groups_of_element_types() -> None:
    assert set(NUMERIC) == set(WIDE) - {DType.BOOL}
    assert set(ANY) == set(WIDE) | set(NARROW)
    assert set(WIDE).isdisjoint(NARROW)
    assert set(INTEGERS) | set(FLOATS) == set(NUMERIC)
    assert not DType.BOOL.is_integer
    assert not DType.BOOL.is_float
    assert not DType.BOOL.is_signed
    assert not DType.U8.is_signed
    assert DType.BF16.is_signed
    assert DType.of(ml_dtypes.bfloat16) is DType.BF16


@pytest.mark.parametrize("value", ["float8", np.complex64, np.datetime64, object, "O", 3])
def test_other_element_types_are_refused(value: object) -> None:
    with pytest.raises(BiremeError, match="expected one of bool, int8,") as caught:
        DType.of(value)
    assert caught.value.code == "BM2003"


def test_sizes_of_a_type() -> None:
    n = symbol("n")
    tensor = TensorType(DType.F16, (2, n, 3))
    assert tensor.rank == 3
    assert tensor.elements == 6 * n
    assert tensor.bytes == 12 * n
    assert tensor.symbols == {"n"}
    assert not tensor.is_static
    assert str(tensor) == "float16[2, n, 3]"
    assert tensor.with_shape([1]) == TensorType(DType.F16, (1,))
    assert tensor.with_dtype(DType.BOOL).dtype is DType.BOOL
    assert TensorType(DType.I8, (2, 3)).static_shape == (2, 3)


def test_static_shape_of_a_symbolic_type() -> None:
    with pytest.raises(BiremeError) as caught:
        _ = TensorType(DType.F32, (symbol("n"), 3)).static_shape
    assert caught.value.code == "BM1007"
    assert caught.value.detail == "float32[n, 3] has sizes known only at run time"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("i32", "is not a tensor"),
        ("tensor<*xf32>", "is not a tensor"),
        ("tensor<?xf32>", "a dynamic size has no name"),
        ("tensor<2xf8E3M4>", "f8E3M4"),
        ("tensor<2xcomplex<f32>>", "complex<f32>"),
        ('tensor<?xf32, ["n", "3"]>', "the encoding's length is not the rank"),
        ('tensor<?xf32, "n">', "is not a tensor"),
        ("tensor<?xf32, [3]>", "is not a tensor"),
    ],
)
def test_foreign_types_are_refused(text: str, reason: str) -> None:
    with CONTEXT, pytest.raises(BiremeError) as caught:
        TensorType.from_mlir(ir.Type.parse(text))
    assert caught.value.code == "BM2008"
    assert reason in caught.value.detail


def test_a_size_and_its_text_must_agree() -> None:
    with CONTEXT, pytest.raises(BiremeError, match="size 3 is called n") as caught:
        TensorType.from_mlir(ir.Type.parse('tensor<3xf32, ["n"]>'))
    assert caught.value.code == "BM2008"
