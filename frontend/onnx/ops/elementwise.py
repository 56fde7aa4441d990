"""Arithmetic, comparison, logic and casts."""

from __future__ import annotations

from functools import reduce

from bireme.frontend.onnx.emit import Tensor
from bireme.frontend.onnx.node import Converter, Node
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, DType


def unary(name: str) -> Converter:
    """An operator that is one op of the dialect on its first input."""
    return lambda n: getattr(n.b, name)(n[0])


def _binary(name: str) -> Converter:
    return lambda n: getattr(n.b, name)(n[0], n[1])


def _variadic(name: str) -> Converter:
    def convert(n: Node) -> Tensor:
        values = [n[i] for i in range(len(n.inputs))]
        return reduce(lambda a, b: getattr(n.b, name)(a, b), values)

    return convert


def _mean(n: Node) -> Tensor:
    total = _variadic("add")(n)
    assert isinstance(total, Tensor)
    return n.b.div(total, float(len(n.inputs)))


def _abs(n: Node) -> Tensor:
    return n.b.abs(n[0]) if n[0].dtype.is_signed else n[0]


def _sign(n: Node) -> Tensor:
    if n[0].dtype.is_signed:
        return n.b.sign(n[0])
    return n.b.cast(n.b.greater(n[0], 0), dtype=n[0].dtype)


def _is_inf(n: Node) -> Tensor:
    positive, negative = n.flag("detect_positive", True), n.flag("detect_negative", True)
    return n.b.is_inf(n[0], positive=positive, negative=negative)


def _mod(n: Node) -> Tensor:
    fmod = n.flag("fmod")
    if n[0].dtype.is_float and not fmod and n.opset < 28:
        raise BiremeError("BM1006", "attribute 'fmod' must be 1 for floating-point inputs")
    return n.b.mod(n[0], n[1], fmod=fmod)


def _pow(n: Node) -> Tensor:
    base, exponent = n[0], n[1]
    if base.dtype is exponent.dtype:
        return n.b.pow(base, exponent)
    if base.dtype.is_float or exponent.dtype.is_integer:
        return n.b.pow(base, n.b.cast(exponent, dtype=base.dtype))
    wide = n.b.pow(n.b.cast(base, dtype=DType.F64), n.b.cast(exponent, dtype=DType.F64))
    return n.b.cast(wide, dtype=base.dtype)


def _bit_shift(n: Node) -> Tensor:
    left = n.choice("direction", "", ("LEFT", "RIGHT")) == "LEFT"
    return n.b.shift_left(n[0], n[1]) if left else n.b.shift_right(n[0], n[1])


def _clip_attributes(n: Node) -> Tensor:
    x = n[0]
    if n.has("min"):
        x = n.b.maximum(x, n.number("min"))
    if n.has("max"):
        x = n.b.minimum(x, n.number("max"))
    return x


def _clip(n: Node) -> Tensor:
    x, least, most = n[0], n.get(1), n.get(2)
    for bound in (least, most):
        if bound is not None and bound.rank != 0:
            raise BiremeError("BM1006", f"a bound must be a scalar: {bound.type}")
    if least is not None:
        x = n.b.maximum(x, least)
    return x if most is None else n.b.minimum(x, most)


def cast(n: Node, x: Tensor, dtype: DType) -> Tensor:
    """`x` with another element type."""
    return x if x.dtype is dtype else n.b.cast(x, dtype=dtype)


def _cast(n: Node) -> Tensor:
    return _converted(n, n.dtype("to"))


def _cast_like(n: Node) -> Tensor:
    return _converted(n, n[1].dtype)


def _converted(n: Node, dtype: DType) -> Tensor:
    """The first input as another type, by the attributes that matter to floats of 8 bits."""
    saturate, mode = n.flag("saturate", True), n.text("round_mode", "up")
    if n[0].dtype is dtype:
        return n[0]
    return n.b.cast(n[0], dtype=dtype, saturate=saturate, round_mode=mode)


def _bit_cast(n: Node) -> Tensor:
    x, dtype = n[0], n.dtype("to")
    if x.dtype.value_bits != dtype.value_bits:
        raise BiremeError("BM1006", f"{x.dtype.label} and {dtype.label} differ in width")
    return x if x.dtype is dtype else n.b.bitcast(x, dtype=dtype)


TABLE: Table = {
    "Abs": _abs,
    "Acos": unary("acos"),
    "Acosh": unary("acosh"),
    "Add": _binary("add"),
    "And": _binary("logical_and"),
    "Asin": unary("asin"),
    "Asinh": unary("asinh"),
    "Atan": unary("atan"),
    "Atanh": unary("atanh"),
    "BitCast": _bit_cast,
    "BitShift": _bit_shift,
    "BitwiseAnd": _binary("bitwise_and"),
    "BitwiseNot": unary("bitwise_not"),
    "BitwiseOr": _binary("bitwise_or"),
    "BitwiseXor": _binary("bitwise_xor"),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": unary("ceil"),
    "Clip": ((6, _clip_attributes), (11, _clip)),
    "Cos": unary("cos"),
    "Cosh": unary("cosh"),
    "Div": _binary("div"),
    "Equal": _binary("equal"),
    "Erf": unary("erf"),
    "Exp": unary("exp"),
    "Floor": unary("floor"),
    "Greater": _binary("greater"),
    "GreaterOrEqual": _binary("greater_equal"),
    "Identity": lambda n: n[0],
    "IsInf": _is_inf,
    "IsNaN": unary("is_nan"),
    "Less": _binary("less"),
    "LessOrEqual": _binary("less_equal"),
    "Log": unary("log"),
    "Max": _variadic("maximum"),
    "Mean": _mean,
    "Min": _variadic("minimum"),
    "Mod": _mod,
    "Mul": _binary("mul"),
    "Neg": unary("neg"),
    "Not": unary("logical_not"),
    "Or": _binary("logical_or"),
    "Pow": _pow,
    "Reciprocal": unary("reciprocal"),
    "Round": unary("round"),
    "Sign": _sign,
    "Sin": unary("sin"),
    "Sinh": unary("sinh"),
    "Sqrt": unary("sqrt"),
    "Sub": _binary("sub"),
    "Sum": _variadic("add"),
    "Tan": unary("tan"),
    "Where": lambda n: n.b.where(n[0], n[1], n[2]),
    "Xor": _binary("logical_xor"),
}
