"""Constant folding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bireme.ir import OPS, BiremeError, Builder, Fusion, Graph, Op, Value
from bireme.ir.opdef import Array
from bireme.ir.reference import run_op
from bireme.passes.manager import Outcome, Pass, count
from bireme.passes.rewrite import Rule, apply
from bireme.passes.values import static_bytes, weight_name
from bireme.targets.description import Description

_FOLDABLE = tuple(
    name
    for name, op in OPS.items()
    if op.regions == 0 and name != "constant" and op.fusion is not Fusion.STATE
)


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Computes, with the NumPy reference, what depends on constants alone.

    Before::

        %0 = constant {name = "scale"}
        %1 = transpose(%0) {perm = [1, 0]}
        %2 = matmul(%x, %1)

    After::

        %0 = constant {name = "scale.1"}
        %1 = matmul(%x, %0)

    A result is kept only when it is small (`limit_bytes`) or at most twice as large as the
    constants it comes from, so that `expand` and `iota` do not turn into megabytes of weights. A
    folded weight takes its name from the largest constant that went into it. An op whose reference
    rejects its operands (an index out of range) is left for run time to report.
    """

    name: ClassVar[str] = "fold-constants"

    limit_bytes: int = 1 << 14

    def run(self, graph: Graph, _description: Description, /) -> Outcome:
        used = apply(graph, [Rule(_FOLDABLE, self._fold), Rule(("if",), _take_branch)])
        folded = sum(used.values())
        return Outcome(folded > 0, f"folded {count(folded, 'op')}" if folded else "")

    def _fold(self, op: Op, b: Builder) -> Sequence[Value] | None:
        inputs = [v.constant for v in op.operands]
        arrays = [a for a in inputs if a is not None]
        if len(arrays) < len(inputs) or not all(v.type.is_static for v in op.results):
            return None
        if any(not isinstance(d, int) for d in op.attrs.get("values", ())):
            return None
        size = sum(static_bytes(v.type) for v in op.results)
        if size > max(self.limit_bytes, 2 * sum(a.nbytes for a in arrays)):
            return None
        results = _evaluate(op, arrays)
        if results is None:
            return None
        stem = _name_of_largest(op)
        return [b.constant(array, stem) for array in results]


def _evaluate(op: Op, inputs: Sequence[Array]) -> list[Array] | None:
    """The op's results by its reference; None where it rejects the operands."""
    try:
        found = run_op(op.name, inputs, op.attrs)
    except (BiremeError, IndexError, ValueError, ZeroDivisionError):
        return None
    results = []
    for value, array in zip(op.results, found, strict=True):
        array = np.ascontiguousarray(np.asarray(array)).reshape(value.type.static_shape)
        if array.dtype != value.type.dtype.numpy:
            return None
        results.append(array)
    return results


def _name_of_largest(op: Op) -> str:
    if not op.operands:
        return op.node or op.name
    return weight_name(max(op.operands, key=lambda v: static_bytes(v.type)))


def _take_branch(op: Op, _b: Builder) -> Sequence[Value] | None:
    """An `if` on a constant becomes the branch taken."""
    condition = op.operands[0].constant
    if condition is None:
        return None
    taken = op.blocks[0 if bool(condition) else 1]
    yields = taken.yields
    for inner in taken.ops:
        inner.move_before(op)
    return yields
