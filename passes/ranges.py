"""Bounds of values that hold whatever the inputs are: interval arithmetic through a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bireme.ir import Graph, Op, Value
from bireme.ir.opdef import Array


@dataclass(frozen=True)
class Interval:
    """Every element of a tensor that is a number lies in [low, high]."""

    low: float
    high: float

    @property
    def largest(self) -> float:
        """Bound of the magnitude."""
        return max(abs(self.low), abs(self.high))

    def union(self, other: Interval) -> Interval:
        return Interval(min(self.low, other.low), max(self.high, other.high))


UNKNOWN = Interval(-math.inf, math.inf)
_ZERO = Interval(0.0, 0.0)
# The least value of x * Φ(x), rounded away from zero.
_GELU_LOW = -0.171


def ranges(graph: Graph) -> dict[Value, Interval]:
    """An interval for every value outside of control flow; inputs may be anything."""
    found: dict[Value, Interval] = {}
    for op in graph.body.ops:
        if not op.results:
            continue
        given = [found.get(v, UNKNOWN) for v in op.operands]
        rule = _RULES.get(op.name)
        made = rule(op, given) if rule is not None else UNKNOWN
        # Integers may wrap around, other than where they are only moved.
        trusted = rule in (_constant, _same) or op.results[0].type.dtype.is_float
        known = trusted and not math.isnan(made.low) and not math.isnan(made.high)
        for value in op.results:
            found[value] = made if known else UNKNOWN
    return found


# --- rules ----------------------------------------------------------------------------------------

Rule = Callable[[Op, list[Interval]], Interval]


def _constant(op: Op, _: list[Interval]) -> Interval:
    array = op.result.constant
    if array is None or array.size == 0:
        return UNKNOWN
    return _extent(array)


def _extent(array: Array) -> Interval:
    wide = array.astype(np.float64)
    low, high = float(np.nanmin(wide)), float(np.nanmax(wide))
    return Interval(low, high) if not np.isnan(wide).all() else UNKNOWN


def _same(_: Op, given: list[Interval]) -> Interval:
    return given[0]


def _any_of(_: Op, given: list[Interval]) -> Interval:
    total = given[0]
    for each in given[1:]:
        total = total.union(each)
    return total


def _padded(op: Op, given: list[Interval]) -> Interval:
    if op.attrs["mode"] != "constant":
        return given[0]
    return given[0].union(given[1] if len(given) > 1 else _ZERO)


def _with_zero(_: Op, given: list[Interval]) -> Interval:
    return given[0].union(_ZERO)


def _within(low: float, high: float) -> Rule:
    return lambda _op, _given: Interval(low, high)


def _monotonic(function: Callable[[float], float]) -> Rule:
    def rule(_: Op, given: list[Interval]) -> Interval:
        (x,) = given[:1]
        return Interval(_safe(function, x.low), _safe(function, x.high))

    return rule


def _safe(function: Callable[[float], float], x: float) -> float:
    try:
        return function(x)
    except (OverflowError, ValueError):
        return math.inf


def _products(a: Interval, b: Interval) -> Interval:
    # An infinite bound times zero: the other factor may be anything, the product is zero or NaN.
    ends = [0.0 if 0 in (x, y) else x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    return Interval(min(ends), max(ends))


def _add(_: Op, given: list[Interval]) -> Interval:
    a, b = given
    return Interval(a.low + b.low, a.high + b.high)


def _sub(_: Op, given: list[Interval]) -> Interval:
    a, b = given
    return Interval(a.low - b.high, a.high - b.low)


def _mul(op: Op, given: list[Interval]) -> Interval:
    if op.operands[0] == op.operands[1]:
        return Interval(0.0, given[0].largest ** 2)
    return _products(*given)


def _div(_: Op, given: list[Interval]) -> Interval:
    a, b = given
    if b.low <= 0 <= b.high:
        return UNKNOWN
    return _products(a, Interval(1 / b.high, 1 / b.low))


def _abs(_: Op, given: list[Interval]) -> Interval:
    return Interval(0.0, given[0].largest)


def _neg(_: Op, given: list[Interval]) -> Interval:
    return Interval(-given[0].high, -given[0].low)


def _maximum(_: Op, given: list[Interval]) -> Interval:
    return Interval(max(x.low for x in given), max(x.high for x in given))


def _minimum(_: Op, given: list[Interval]) -> Interval:
    return Interval(min(x.low for x in given), min(x.high for x in given))


def _choice(_: Op, given: list[Interval]) -> Interval:
    return given[1].union(given[2])


def _normalised(first: Callable[[Op], int]) -> Rule:
    """Of n numbers, none is further from their mean than √n standard deviations; `first` gives the
    first axis that is normalised over.
    """

    def rule(op: Op, given: list[Interval]) -> Interval:
        sizes = op.operands[0].type.shape[first(op) :]
        known = [size for size in sizes if isinstance(size, int)]
        if len(known) < len(sizes):
            return UNKNOWN
        scale = given[1].largest if len(given) > 1 else 1.0
        shift = given[2] if len(given) > 2 else _ZERO
        most = math.sqrt(math.prod(known)) * scale
        return Interval(shift.low - most, shift.high + most)

    return rule


def _cast(op: Op, given: list[Interval]) -> Interval:
    return given[0] if op.result.type.dtype.is_float else UNKNOWN


def _contraction(op: Op, given: list[Interval]) -> Interval:
    """Sums of magnitudes of a constant right operand, over all but its columns."""
    weights = op.operands[1].constant
    if weights is None:
        depth = op.operands[0].type.shape[-1]
        if op.name != "matmul" or not isinstance(depth, int):
            return UNKNOWN
        most = depth * given[0].largest * given[1].largest
    else:
        most = given[0].largest * _column_sum(op, np.abs(weights.astype(np.float64)))
    return Interval(-most, most) if not math.isnan(most) else UNKNOWN


def _column_sum(op: Op, weights: Array) -> float:
    if op.name == "matmul":
        inner = 1 if op.attrs["block"] > 1 else -2
        return float(weights.sum(axis=inner).max(initial=0.0))
    if op.name != "conv" or op.attrs["winograd"]:
        return math.inf
    rank = len(op.attrs["strides"])
    if op.attrs["out_block"] == 1:
        return float(weights.sum(axis=tuple(range(1, rank + 2))).max(initial=0.0))
    return float(weights.sum(axis=tuple(range(1, weights.ndim - 1))).max(initial=0.0))


_RULES: Mapping[str, Rule] = {
    "constant": _constant,
    **dict.fromkeys(
        (
            "expand", "gather", "gather_elements", "gather_nd", "max_pool",
            "reduce_max", "reduce_mean", "reduce_min", "reshape", "reverse_sequence", "slice",
            "tile", "transpose", "unpack_channels",
        ),
        _same,
    ),
    "concat": _any_of,
    "pad": _padded,
    **dict.fromkeys(("avg_pool", "pack_channels"), _with_zero),
    "cast": _cast,
    "relu": _monotonic(lambda x: max(x, 0.0)),
    "exp": _monotonic(math.exp),
    "sqrt": lambda _, given: Interval(0.0, math.sqrt(max(given[0].high, 0.0))),
    **dict.fromkeys(("random_uniform", "sigmoid", "softmax"), _within(0.0, 1.0)),
    "random_normal": _within(-9.0, 9.0),
    **dict.fromkeys(("cos", "erf", "sign", "sin", "tanh"), _within(-1.0, 1.0)),
    "gelu": lambda _, given: Interval(_GELU_LOW, max(given[0].high, 0.0)),
    "log_softmax": lambda _op, _given: Interval(-math.inf, 0.0),
    "abs": _abs,
    "neg": _neg,
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "maximum": _maximum,
    "minimum": _minimum,
    "where": _choice,
    **dict.fromkeys(("group_norm", "instance_norm"), _normalised(lambda _: 1)),
    **dict.fromkeys(("layer_norm", "rms_norm"), _normalised(lambda op: int(op.attrs["axis"]))),
    **dict.fromkeys(("conv", "matmul"), _contraction),
}  # fmt: skip
