"""Rules of element-wise ops: a function of the operands' elements, in their compute types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from bireme.codegen.evaluate import Evaluator, Index, Rule
from bireme.codegen.tir import Expr, cast, compute, const, match, scalar_type, select
from bireme.ir import Op


def _rule(function: Callable[..., Expr]) -> Rule:
    """A rule from a function of the operands' elements, all with the same lanes."""

    def rule(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
        return function(*match(*(evaluator.broadcast_at(v, at) for v in op.operands)))

    return rule


def _wrapping(function: Callable[[Expr, Expr], Expr]) -> Callable[[Expr, Expr], Expr]:
    """Arithmetic on signed integers that wraps around: TVM marks signed overflow as impossible."""

    def wrapped(x: Expr, y: Expr) -> Expr:
        dtype = scalar_type(x)
        if not dtype.startswith("int"):
            return function(x, y)
        return cast(function(cast(x, f"u{dtype}"), cast(y, f"u{dtype}")), dtype)

    return wrapped


def zero_like(x: Expr) -> Expr:
    (zero, _) = match(const(0, scalar_type(x)), x)
    return zero


RULES: dict[str, Rule] = {
    "add": _rule(_wrapping(lambda x, y: x + y)),
    "sub": _rule(_wrapping(lambda x, y: x - y)),
    "mul": _rule(_wrapping(lambda x, y: x * y)),
    "relu": _rule(lambda x: tirx.max(x, zero_like(x))),
}
