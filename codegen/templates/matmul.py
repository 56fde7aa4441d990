"""Matrix product as a contraction (see `bireme.codegen.templates.contraction`)."""

from __future__ import annotations

from bireme.codegen.evaluate import Index
from bireme.codegen.templates import contraction, packed
from bireme.codegen.templates.common import Emission, Work, estimate
from bireme.codegen.templates.contraction_form import Form, RowIndex
from bireme.codegen.templates.dot import packed_pairs, single_products
from bireme.codegen.templates.pairs import in_pairs
from bireme.codegen.templates.tiles import COLUMNS
from bireme.codegen.tir import Expr, index, match
from bireme.ir import Dim, DType, Graph, Op, Value

# With fewer rows than this, gathering columns first costs more than it saves.
_ROWS_WORTH_GATHERING = 4
# From what sizes on a packed product is blocked for the caches.
_LARGE_DEPTH = 256
_LARGE_COLUMNS = 128


def matches(graph: Graph) -> bool:
    """Whether the group is a float matrix product and ops on its result."""
    anchor = contraction.anchor_of(graph)
    if anchor is None or anchor.name != "matmul":
        return False
    return anchor.attrs["block"] in (1, COLUMNS)


def emit(e: Emission) -> Work:
    """Emits the kernel of a group that `matches`."""
    anchor = contraction.anchor_of(e.graph)
    assert anchor is not None
    form = _form(e, anchor)
    if _is_large(anchor):
        return packed.emit(e, form, anchor.operands[1])
    return contraction.emit(e, form)


def _is_large(matmul: Op) -> bool:
    """Whether blocking for the caches is worth what copying rows costs; pairs take half the space
    and gain nothing.
    """
    *_, rows, columns = matmul.result.type.shape
    depth = matmul.operands[0].type.shape[-1]
    return (
        matmul.attrs["block"] > 1
        and matmul.attrs["pair"] == 1
        and isinstance(depth, int)
        and depth >= _LARGE_DEPTH
        and estimate(columns) >= _LARGE_COLUMNS
        and estimate(rows) >= packed.LEAST_ROWS
    )


def _form(e: Emission, matmul: Op) -> Form:
    a, b = matmul.operands
    *batch_sizes, rows, columns = matmul.result.type.shape
    packed = matmul.attrs["block"] > 1

    def left(batch: Index, block: Expr, row: RowIndex, term: Index) -> Expr:
        return e.evaluator.at(a, [*_batch_of(a, batch), row[1], *term])

    def right(batch: Index, block: Expr, lane: Expr, term: Index) -> Expr:
        if packed:
            return e.evaluator.at(b, [block, *term, lane])
        start, wide = match(block * index(COLUMNS), lane)
        return e.evaluator.at(b, [*_batch_of(b, batch), *term, start + wide])

    def place(batch: Index, block: Expr, row: RowIndex, lane: Expr) -> Index:
        start, wide = match(block * index(COLUMNS), lane)
        return [*batch, row[1], start + wide]

    few = isinstance(rows, int) and rows < _ROWS_WORTH_GATHERING
    ragged = not isinstance(columns, int) or columns % COLUMNS != 0
    form = Form(
        anchor=matmul.result,
        batch=tuple(batch_sizes),
        rows=(1, rows),
        columns=columns,
        terms=(a.type.shape[-1],),
        left=left,
        right=right,
        place=place,
        gather_right=not packed and (ragged or not few),
        turns=_is_turned(b) and a.type.dtype is DType.F32,
        products=single_products(a.type.dtype),
    )
    if a.type.dtype is not DType.BF16 or (packed and matmul.attrs["pair"] == 1):
        return form
    if not packed:
        return in_pairs(e, form)
    pairs = e.arguments[e.graph.inputs.index(b)]
    return in_pairs(
        e, form, lambda _, block, __, term: packed_pairs(pairs, [block, *term], COLUMNS)
    )


def _is_turned(b: Value) -> bool:
    """Whether the elements of a column follow each other in memory."""
    owner = b.owner
    if owner is None or owner.name != "transpose":
        return False
    return bool(owner.attrs["perm"][-2] == b.type.rank - 1)


def _batch_of(operand: Value, batch: Index) -> Index:
    """The batch index of an operand whose batch axes may be fewer or of size 1."""
    sizes: tuple[Dim, ...] = operand.type.shape[:-2]
    own = batch[len(batch) - len(sizes) :]
    return [index(0) if size == 1 else at for size, at in zip(sizes, own, strict=True)]
