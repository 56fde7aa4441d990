"""Common-subexpression elimination."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bireme.ir import Block, Fusion, Graph, Op, Value
from bireme.ir.opdef import Array
from bireme.passes.manager import Outcome, Pass, count
from bireme.targets.description import Description


@dataclass(frozen=True)
class Cse(Pass):
    """Computes equal expressions once, and keeps equal constants once.

    Before::

        %0 = exp(%x)
        %1 = exp(%x)
        %2 = add(%0, %1)

    After::

        %0 = exp(%x)
        %1 = add(%0, %0)

    A region sees the expressions of the blocks around it, not those of its siblings. Ops that hold
    regions are left alone, and so is what gives another result each time. The first of equal
    expressions stays, with its own source location.
    """

    name: ClassVar[str] = "cse"

    def run(self, graph: Graph, _description: Description, /) -> Outcome:
        removed = _merge(graph.body, _Seen())
        return Outcome(removed > 0, f"merged {count(removed, 'op')}" if removed else "")


@dataclass
class _Seen:
    """Expressions available at a place; `outer` are those of the blocks around it."""

    expressions: dict[Hashable, Op] = field(default_factory=dict)
    outer: _Seen | None = None

    def find(self, key: Hashable) -> Op | None:
        scope: _Seen | None = self
        while scope is not None:
            if key in scope.expressions:
                return scope.expressions[key]
            scope = scope.outer
        return None


def _merge(block: Block, seen: _Seen) -> int:
    removed = 0
    for op in block.ops:
        if op.blocks:
            # A kernel's region is isolated: it must not reach for values around it.
            outer = None if op.name == "kernel" else seen
            removed += sum(_merge(inner, _Seen(outer=outer)) for inner in op.blocks)
            continue
        if op.definition.fusion is Fusion.STATE:
            continue
        key = _key(op)
        first = seen.find(key)
        if first is None:
            seen.expressions[key] = op
            continue
        op.replace_with(first.results)
        removed += 1
    return removed


def _key(op: Op) -> Hashable:
    """Equal for ops that compute the same."""
    if op.name == "constant":
        (result,) = op.results
        array = result.constant
        assert array is not None
        return ("constant", result.type.dtype, result.type.shape, _Bytes(array))
    operands: list[Value] = op.operands
    names: Hashable = tuple(v.mlir for v in operands)
    if op.definition.commutative and operands[0] != operands[1]:
        names = frozenset(v.mlir for v in operands)
    attributes = tuple((name, op.mlir.attributes[name]) for name in sorted(op.mlir.attributes))
    return (op.name, names, attributes, tuple(v.mlir.type for v in op.results))


class _Bytes:
    """An array as a dictionary key: equal when every bit is. Large ones are hashed by a sample."""

    def __init__(self, array: Array) -> None:
        self._array = array
        flat = array.reshape(-1)
        step = max(1, flat.size // 256)
        self._hash = hash(flat[::step].tobytes())

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Bytes):
            return NotImplemented
        mine, theirs = self._array, other._array
        return mine is theirs or bool(np.array_equal(_bits(mine), _bits(theirs)))


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
