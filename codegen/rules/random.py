"""Random numbers: Philox4x32-10 and what distributions make of its words (ir/ops/random.py)."""

from __future__ import annotations

import math

from tvm import tirx

from bireme.codegen import math as math32
from bireme.codegen.evaluate import Evaluator, Index, Rule
from bireme.codegen.rules.pointwise import convert
from bireme.codegen.rules.transcendental import from_library
from bireme.codegen.tir import Emitter, Expr, cast, const, match, scalar_type
from bireme.ir import DType, Op
from bireme.ir.ops.random import SIGNIFICAND
from bireme.ir.philox import MULTIPLIERS, ROUNDS, WEYL

Words = tuple[Expr, ...]


def _like(value: float, x: Expr) -> Expr:
    """A constant of the type and lanes of `x`."""
    return match(const(value, scalar_type(x)), x)[0]


def _halves(x: Expr) -> Words:
    """Low and high word of a 64-bit integer."""
    return cast(x, "uint32"), cast(tirx.shift_right(x, _like(32, x)), "uint32")


def _product(emit: Emitter, x: Expr, factor: int) -> Words:
    """High and low word of a product."""
    wide = cast(x, "uint64")
    low, high = _halves(emit.opaque(wide * _like(factor, wide)))
    return emit.opaque(high), emit.opaque(low)


def _round_key(emit: Emitter, word: Expr, weyl: int, number: int) -> Expr:
    """The key's word in a round; calculated in int64, as sums of uint32 must not wrap in TVM."""
    wide = cast(word, "int64")
    total = emit.opaque(wide + _like(number * weyl & 0xFFFFFFFF, wide))
    return emit.opaque(cast(tirx.bitwise_and(total, _like(0xFFFFFFFF, total)), "uint32"))


def _philox(emit: Emitter, counter: Words, key: Words) -> Words:
    """Four words for a counter of four and a key of two; the key may have fewer lanes."""
    x0, x1, x2, x3 = counter
    for number in range(ROUNDS):
        k0, k1 = (
            match(_round_key(emit, word, weyl, number), x0)[0]
            for word, weyl in zip(key, WEYL, strict=True)
        )
        high0, low0 = _product(emit, x0, MULTIPLIERS[0])
        high1, low1 = _product(emit, x2, MULTIPLIERS[1])
        x0 = emit.opaque(tirx.bitwise_xor(tirx.bitwise_xor(high1, x1), k0))
        x2 = emit.opaque(tirx.bitwise_xor(tirx.bitwise_xor(high0, x3), k1))
        x1, x3 = low1, low0
    return x0, x1, x2, x3


def _words(e: Evaluator, op: Op, at: Index) -> Words:
    """The four words for an element."""
    position, key = (e.broadcast_at(v, at) for v in op.operands)
    low, high = _halves(e.emit.opaque(cast(match(position, key)[0], "uint64")))
    zero = _like(0, low)
    return _philox(e.emit, (low, high, zero, zero), _halves(e.emit.opaque(key)))


def _share(emit: Emitter, low: Expr, high: Expr, dtype: str, bits: int, half: bool = False) -> Expr:
    """The highest `bits` of two words as a share of 1; with `half`, plus half of the last bit."""
    if bits > 32:
        wide = cast(high, "uint64")
        wide = tirx.shift_left(wide, _like(32, wide)) + cast(low, "uint64")
        top = cast(tirx.shift_right(wide, _like(64 - bits, wide)), "int64")
    else:
        # Signed integers become floats in one instruction.
        top = cast(tirx.shift_right(high, _like(32 - bits, high)), "int32")
    number = emit.opaque(cast(emit.opaque(top), dtype))
    if half:
        number = emit.opaque(number + _like(0.5, number))
    return emit.opaque(number * _like(2.0**-bits, number))


def _uniform(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    high, low, *_ = _words(e, op, at)
    dtype = op.attrs["dtype"]
    kind = "float64" if dtype is DType.F64 else "float32"
    return _share(e.emit, low, high, kind, SIGNIFICAND[dtype])


def _normal(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    emit, words = e.emit, _words(e, op, at)
    if op.attrs["dtype"] is DType.F64:
        first = _share(emit, words[1], words[0], "float64", 53, half=True)
        turns = _share(emit, words[3], words[2], "float64", 53)
        logarithm = from_library("log", emit, first)
        cosine = from_library("cos", emit, emit.bind(turns * _like(2 * math.pi, turns)))
        return tirx.sqrt(logarithm * _like(-2.0, logarithm)) * cosine
    first = _share(emit, words[1], words[0], "float32", 31, half=True)
    turns = _share(emit, words[3], words[2], "float32", 24)
    logarithm = emit.bind(math32.log(emit, first))
    radius = emit.bind(tirx.sqrt(logarithm * _like(-2.0, logarithm)))
    return convert(radius * math32.cos_turns(emit, turns), op.attrs["dtype"])


RULES: dict[str, Rule] = {"random_uniform": _uniform, "random_normal": _normal}
