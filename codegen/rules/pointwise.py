"""Rules of element-wise ops: a function of the operands' elements, in their compute types."""

from __future__ import annotations

import math
from collections.abc import Callable

from tvm import tirx

from bireme.codegen.evaluate import Evaluator, Index, Rule
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.rules import transcendental as t
from bireme.codegen.rules.narrow import from_narrow, to_narrow
from bireme.codegen.tir import (
    Expr,
    cast,
    compute,
    const,
    from_storage,
    match,
    reinterpret,
    scalar_type,
    select,
    storage,
    to_storage,
)
from bireme.ir import DType, Op


def _rule(function: Callable[..., Expr]) -> Rule:
    """A rule from a function of the operands' elements, all with the same lanes."""

    def rule(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
        operands = match(*(evaluator.broadcast_at(v, at) for v in op.operands))
        return function(*operands, **op.attrs)

    return rule


def _emitting(function: Callable[..., Expr]) -> Rule:
    """The same for functions that name intermediate values; they take the emitter first."""

    def rule(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
        operands = match(*(evaluator.broadcast_at(v, at) for v in op.operands))
        return function(evaluator.emit, *operands, **op.attrs)

    return rule


def _cast(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    (value,), dtype = op.operands, op.attrs["dtype"]
    x, source = e.broadcast_at(value, at), value.type.dtype
    if source is dtype:
        return x
    if source.is_narrow:
        x = e.emit.bind(from_narrow(x, source))
    if dtype.is_narrow:
        return to_narrow(e.emit, x, dtype, op.attrs["saturate"], op.attrs["round_mode"])
    return convert(x, dtype)


def _bitcast(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    (value,), dtype = op.operands, op.attrs["dtype"]
    bits = to_storage(e.broadcast_at(value, at), value.type.dtype)
    return from_storage(reinterpret(bits, storage(dtype)), dtype)


def convert(x: Expr, dtype: DType) -> Expr:
    """Conversion; results in half precision are rounded here, not only when they are stored."""
    source, target = scalar_type(x), compute(dtype)
    if dtype is DType.BOOL:
        return x if source == "bool" else a.unequal(x, a.like(0, x))
    if dtype in (DType.F16, DType.BF16):
        return from_storage(to_storage(cast(x, target), dtype), dtype)
    if source.startswith("float") and dtype.is_integer and dtype.bits < 32:
        return cast(cast(x, "int32"), target)
    if source.startswith("float") and dtype is DType.U32:
        return cast(cast(x, "int64"), target)
    return cast(x, target)


def _is_inf(x: Expr, positive: bool, negative: bool) -> Expr:
    plus, minus = a.equal(x, a.like(math.inf, x)), a.equal(x, a.like(-math.inf, x))
    if positive and negative:
        return tirx.Or(plus, minus)
    return plus if positive else minus if negative else match(const(False, "bool"), x)[0]


def _boolean(function: Callable[[Expr, Expr], Expr]) -> Callable[[Expr, Expr], Expr]:
    """A comparison; booleans are compared as 0 and 1."""

    def compare(x: Expr, y: Expr) -> Expr:
        if scalar_type(x) == "bool":
            x, y = cast(x, "uint8"), cast(y, "uint8")
        return function(x, y)

    return compare


def _float_or(floats: Callable[..., Expr], others: Callable[..., Expr]) -> Callable[..., Expr]:
    """One function for floats and one for integers."""

    def either(*operands: Expr, **attrs: bool) -> Expr:
        is_float = scalar_type(operands[-1]).startswith("float")
        return (floats if is_float else others)(*operands, **attrs)

    return either


def _parameter(e: Evaluator, op: Op, number: int, at: Index) -> Expr:
    """The scale or zero point for an element."""
    value = op.operands[number]
    return e.at(value, [at[op.attrs["axis"] % len(at)]] if value.type.rank else [])


def _quantize(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x, scale = e.at(op.operands[0], at), _parameter(e, op, 1, at)
    x, scale = match(cast(x, scalar_type(scale)), scale)
    steps = e.emit.bind(tirx.nearbyint(x / scale))
    # Far enough to saturate with any zero point, near enough to add it without an error.
    steps = a.minimum(a.maximum(steps, a.like(-(2.0**18), steps)), a.like(2.0**18, steps))
    steps, zero = match(steps, cast(_parameter(e, op, 2, at), scalar_type(steps)))
    shifted = e.emit.bind(steps + zero)
    dtype = op.result.type.dtype
    least, most = dtype.limits
    shifted = a.minimum(a.maximum(shifted, a.like(least, shifted)), a.like(most, shifted))
    return cast(cast(shifted, "int32"), compute(dtype))


def _dequantize(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x = e.at(op.operands[0], at)
    # The difference of 32-bit integers may need more than 32 bits.
    wide = "int64" if scalar_type(x) == "int32" else "int32"
    x = cast(x, wide)
    if len(op.operands) == 3:
        x, zero = match(x, cast(_parameter(e, op, 2, at), wide))
        x = x - zero
    scale = _parameter(e, op, 1, at)
    x, scale = match(cast(x, scalar_type(scale)), scale)
    return x * scale


RULES: dict[str, Rule] = {
    "quantize": _quantize,
    "dequantize": _dequantize,
    "neg": _rule(a.negative),
    "abs": _rule(_float_or(tirx.abs, a.integer_abs)),
    "sign": _rule(a.sign),
    "relu": _rule(lambda x: select(x < a.like(0, x), a.like(0, x), x)),
    "ceil": _rule(tirx.ceil),
    "floor": _rule(tirx.floor),
    "round": _rule(tirx.nearbyint),
    "sqrt": _rule(tirx.sqrt),
    "rsqrt": _rule(lambda x: a.like(1, x) / tirx.sqrt(x)),
    "reciprocal": _rule(lambda x: a.like(1, x) / x),
    "logical_not": _rule(lambda x: a.equal(cast(x, "uint8"), a.like(0, cast(x, "uint8")))),
    "bitwise_not": _rule(tirx.bitwise_not),
    "is_nan": _rule(tirx.isnan),
    "is_inf": _rule(_is_inf),
    "bitcast": _bitcast,
    "cast": _cast,
    "add": _rule(a.add),
    "sub": _rule(a.subtract),
    "mul": _rule(a.multiply),
    "div": _emitting(_float_or(lambda emit, x, y: x / y, a.integer_divide)),
    "mod": _emitting(_float_or(t.modulo, a.integer_modulo)),
    "pow": _emitting(_float_or(t.power, a.integer_power)),
    "minimum": _rule(a.minimum),
    "maximum": _rule(a.maximum),
    "logical_and": _rule(tirx.And),
    "logical_or": _rule(tirx.Or),
    "logical_xor": _rule(_boolean(a.unequal)),
    "bitwise_and": _rule(tirx.bitwise_and),
    "bitwise_or": _rule(tirx.bitwise_or),
    "bitwise_xor": _rule(tirx.bitwise_xor),
    "shift_left": _rule(a.shift_left),
    "shift_right": _rule(a.shift_right),
    "equal": _rule(_boolean(a.equal)),
    "not_equal": _rule(_boolean(a.unequal)),
    "less": _rule(_boolean(lambda x, y: x < y)),
    "less_equal": _rule(_boolean(lambda x, y: x <= y)),
    "greater": _rule(_boolean(lambda x, y: x > y)),
    "greater_equal": _rule(_boolean(lambda x, y: x >= y)),
    "where": _rule(select),
    **{name: _emitting(function) for name, function in t.FUNCTIONS.items()},
}
