"""A contraction of bfloat16 elements as one of pairs of them (see `templates.dot`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tvm import tirx

from bireme.codegen.evaluate import Index
from bireme.codegen.templates.common import Emission
from bireme.codegen.templates.contraction_form import Form, RowIndex
from bireme.codegen.templates.dot import pair, pair_products
from bireme.codegen.tir import Expr, const, index, select
from bireme.ir import ceildiv

# Pairs of the right operand, where they stand together in memory: as `Form.right`.
Right = Callable[[Index, Expr, Expr, Index], Expr]


def in_pairs(e: Emission, form: Form, right: Right | None = None) -> Form:
    """The form with two steps of the last loop of its sum in one.

    Where that loop has an odd number of steps, the last one's second half is zero, on both sides.
    """
    *outer, inner = form.terms

    def halves(term: Index, element: Callable[[Index], Expr]) -> Expr:
        *before, step = term
        first = e.emit.bind(step * index(2))
        second = first + index(1)
        if isinstance(inner, int) and inner % 2 == 0:
            return pair(element([*before, first]), element([*before, second]))
        size = e.emit.dim(inner)
        inside = e.emit.opaque(second < size)
        high = element([*before, e.emit.bind(tirx.min(second, size - index(1)))])
        return pair(element([*before, first]), select(inside, high, const(0.0, "float32")))

    def left(batch: Index, block: Expr, row: RowIndex, term: Index) -> Expr:
        return halves(term, lambda at: form.left(batch, block, row, at))

    def gathered(batch: Index, block: Expr, lane: Expr, term: Index) -> Expr:
        return halves(term, lambda at: form.right(batch, block, lane, at))

    return replace(
        form,
        terms=(*outer, ceildiv(inner, 2)),
        left=left,
        right=right or gathered,
        products=pair_products(e.level),
    )
