"""Moves reshapes and transposes behind element-wise ops, where they meet others and cancel.

What makes the moved value can then fuse with the element-wise op. All rules are exact.
"""

from __future__ import annotations

import numpy as np

from bireme.ir import Builder, Fusion, Op, Value
from bireme.ir.ops import OPS
from bireme.passes.rewrite import Rule, rule
from bireme.passes.values import producer_for_one, weight_name

_UNARY = tuple(n for n, o in OPS.items() if o.fusion is Fusion.POINTWISE and len(o.operands) == 1)
_BINARY = tuple(n for n, o in OPS.items() if o.fusion is Fusion.POINTWISE and len(o.operands) == 2)


def _again(move: Op, value: Value, b: Builder) -> Value:
    return b.op(move.name, [value], **move.attrs).result


@rule(*_UNARY)
def _move_behind_unary(op: Op, b: Builder) -> Value | None:
    move = producer_for_one(op.operands[0], "reshape", "transpose")
    if move is None:
        return None
    return _again(move, b.op(op.name, move.operands, **op.attrs).result, b.at([move, op]))


@rule(*_BINARY)
def _same_move_behind_binary(op: Op, b: Builder) -> Value | None:
    """Both operands were moved in the same way from the same shape."""
    moves = [producer_for_one(v, "reshape", "transpose") for v in op.operands]
    x, y = moves
    if x is None or y is None or x.name != y.name or x.attrs != y.attrs:
        return None
    if x.operands[0].type.shape != y.operands[0].type.shape:
        return None
    inner = b.op(op.name, [x.operands[0], y.operands[0]], **op.attrs).result
    return _again(x, inner, b)


@rule(*_BINARY)
def _move_behind_constant(op: Op, b: Builder) -> Value | None:
    """The other operand is a constant that can be moved back when the model is compiled."""
    for index, value in enumerate(op.operands):
        other = op.operands[1 - index]
        move = producer_for_one(value, "reshape", "transpose")
        if move is None or value.type.shape != op.result.type.shape or other.constant is None:
            continue
        back = _moved_back(move, other, b)
        if back is None:
            continue
        operands = [move.operands[0], back]
        inner = b.op(op.name, operands if index == 0 else operands[::-1], **op.attrs).result
        return _again(move, inner, b.at([move, op]))
    return None


def _moved_back(move: Op, constant: Value, b: Builder) -> Value | None:
    """The constant as it broadcasts against the operand of `move`; None when it cannot."""
    array = constant.constant
    assert array is not None
    if array.size == 1:
        return constant if array.ndim == 0 else b.constant(array.reshape(()), weight_name(constant))
    before, after = move.operands[0].type.shape, move.result.type.shape
    if move.name == "reshape":
        # A constant along the trailing axes that the reshape does not touch.
        kept = 0
        while kept < min(len(before), len(after)) and before[-1 - kept] == after[-1 - kept]:
            kept += 1
        varies = [i for i, n in enumerate(reversed(array.shape)) if n != 1]
        if max(varies) >= kept:
            return None
        trimmed = array.reshape(array.shape[-kept:] if array.ndim > kept else array.shape)
        return b.constant(trimmed, weight_name(constant))
    full = array.reshape((1,) * (len(after) - array.ndim) + array.shape)
    inverse = np.argsort(move.attrs["perm"])
    return b.constant(np.ascontiguousarray(full.transpose(inverse)), weight_name(constant))


RULES: list[Rule] = [_move_behind_unary, _same_move_behind_binary, _move_behind_constant]
