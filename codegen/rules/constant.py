"""Rules of ops without operands: what their elements are as expressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import tirx

from bireme.codegen.evaluate import Evaluator, Index, Rule
from bireme.codegen.index import lanes_in, plus, times, widen
from bireme.codegen.tir import Expr, cast, compute, const, index, is_int, match, select
from bireme.ir import BiremeError, DType, Op

# The largest constant that is written into code; larger ones are arguments of a kernel.
MOST_ELEMENTS = 16


def _constant(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    value, dtype = op.result, op.attrs["dtype"]
    array = value.constant
    assert array is not None
    if array.size > MOST_ELEMENTS:
        raise BiremeError(
            "BM3004", f"a constant of {array.size} elements must be an argument", where=value.label
        )
    flat: Expr = index(0)
    for size, i in zip(array.shape, at, strict=True):
        flat = plus(times(flat, size), i)
    if dtype.is_narrow:
        array = array.view(np.uint8)
    return _pick(flat, [_number(x, dtype) for x in array.ravel()], lanes_in(at))


def _number(x: Any, dtype: DType) -> Expr:
    kind = compute(dtype)
    number = bool(x) if dtype is DType.BOOL else float(x) if kind.startswith("float") else int(x)
    return const(number, kind)


def _pick(i: Expr, values: Sequence[Expr], lanes: int) -> Expr:
    """`values[i]`."""
    if is_int(i) or len(values) == 1:
        chosen = values[int(i) if is_int(i) else 0]
        return widen(chosen, lanes)
    found = values[0]
    for number, value in enumerate(values[1:], 1):
        place, wanted = match(i, index(number))
        found = select(tirx.EQ(place, wanted), value, found)
    return found


def _iota(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    axis = op.attrs["axis"]
    if axis is None:
        i: Expr = index(0)
        for size, place in zip(e.shape(op.result), at, strict=True):
            i = plus(times(i, size), place)
    else:
        i = at[axis % len(at)]
    return widen(cast(i, compute(op.attrs["dtype"])), lanes_in(at))


def _dim_values(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    return _pick(at[0], [e.emit.dim(d) for d in op.attrs["values"]], lanes_in(at))


RULES: dict[str, Rule] = {"constant": _constant, "iota": _iota, "dim_values": _dim_values}
