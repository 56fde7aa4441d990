"""Channel-blocked convolutions as contractions (see `bireme.codegen.templates.contraction`)."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from bireme.codegen.evaluate import Index
from bireme.codegen.templates import contraction
from bireme.codegen.templates.common import Emission, Work, unravel
from bireme.codegen.templates.contraction_form import Form, RowIndex
from bireme.codegen.templates.dot import packed_pairs, single_products
from bireme.codegen.templates.pairs import in_pairs
from bireme.codegen.templates.tiles import COLUMNS
from bireme.codegen.tir import Expr, index
from bireme.ir import Dim, Graph, Op, product
from bireme.passes.chain import is_depthwise

# Weights of so many bytes may still be in the second-level cache when the kernel starts.
_NEAR_BYTES = 256 << 10


def matches(graph: Graph) -> bool:
    """Whether the group is a convolution to blocks of 16 channels, dense, in groups of whole blocks
    or depthwise, without pads.
    """
    anchor = contraction.anchor_of(graph)
    if anchor is None or anchor.name != "conv":
        return False
    attrs = anchor.attrs
    return (
        attrs["out_block"] == COLUMNS
        and len(attrs["strides"]) <= 3
        and not any(attrs["pads"])
        and anchor.operands[1] in graph.inputs
    )


def emit(e: Emission) -> Work:
    """Emits the kernel of a group that `matches`."""
    anchor = contraction.anchor_of(e.graph)
    assert anchor is not None
    form = depthwise if is_depthwise(anchor) else dense
    return contraction.emit(e, form(e, anchor))


def dense(e: Emission, conv: Op) -> Form:
    """Groups are a batch axis: each has blocks of its own, in the operand and in the result."""
    x, w = conv.operands
    batch = conv.result.type.shape[0]
    blocks, in_blocks, *_ = w.type.shape
    kernel = w.type.shape[2 : 2 + len(conv.attrs["strides"])]
    filters = e.arguments[e.graph.inputs.index(w)]
    plain, groups = conv.attrs["in_block"] == 1, conv.attrs["groups"]
    blocks = blocks // groups

    def block_of(batch: Index, block: Expr, blocks: Dim) -> Expr:
        return block if groups == 1 else batch[1] * e.emit.dim(blocks) + block

    def left(batch: Index, block: Expr, row: RowIndex, term: Index) -> Expr:
        in_block, *taps, channel = term
        at = [batch[0], block_of(batch, in_block, in_blocks), *_source(e, conv, row, taps)]
        return e.evaluator.at(x, at if plain else [*at, channel])

    def right(batch: Index, block: Expr, lane: Expr, term: Index) -> Expr:
        return e.emit.load(filters, filters.offset([block_of(batch, block, blocks), *term, lane]))

    def place(batch: Index, block: Expr, row: RowIndex, lane: Expr) -> Index:
        return [batch[0], block_of(batch, block, blocks), *_position(e, conv, row), lane]

    def ahead(block: Expr, term: Expr) -> None:
        lines = e.emit.dim(product(w.type.shape[1:-1]))
        e.emit.prefetch(filters, (block * lines + term) * index(COLUMNS))

    far = w.type.bytes if groups == conv.attrs["pair"] == 1 else 0
    form = Form(
        anchor=conv.result,
        batch=(batch,) if groups == 1 else (batch, groups),
        rows=_rows(e, conv),
        columns=blocks * COLUMNS,
        terms=(in_blocks, *kernel, conv.attrs["in_block"]),
        left=left,
        right=right,
        place=place,
        products=single_products(x.type.dtype),
        spare=conv.attrs["spare"] // conv.attrs["pair"],
        ahead=ahead if isinstance(far, int) and far > _NEAR_BYTES else None,
    )
    if conv.attrs["pair"] == 1:
        return form

    def pairs(batch: Index, block: Expr, _: Expr, term: Index) -> Expr:
        return packed_pairs(filters, [block_of(batch, block, blocks), *term], COLUMNS)

    return in_pairs(e, form, pairs)


def depthwise(e: Emission, conv: Op) -> Form:
    """A convolution of each channel by itself: left elements are vectors."""
    x, w = conv.operands
    batch, blocks, *_ = conv.result.type.shape
    _, *kernel, _ = w.type.shape
    filters = e.arguments[e.graph.inputs.index(w)]
    lanes = tirx.Ramp(index(0), index(1), COLUMNS)

    def left(batch: Index, block: Expr, row: RowIndex, term: Index) -> Expr:
        return e.evaluator.at(x, [*batch, block, *_source(e, conv, row, term), lanes])

    def right(batch: Index, block: Expr, lane: Expr, term: Index) -> Expr:
        return e.emit.load(filters, filters.offset([block, *term, lane]))

    def place(batch: Index, block: Expr, row: RowIndex, lane: Expr) -> Index:
        return [*batch, block, *_position(e, conv, row), lane]

    return Form(
        anchor=conv.result,
        batch=(batch,),
        rows=_rows(e, conv),
        columns=blocks * COLUMNS,
        terms=tuple(kernel),
        left=left,
        right=right,
        place=place,
        unroll=True,
    )


def _along(e: Emission, spatial: Sequence[Dim]) -> int:
    """The spatial axis that positions of a row stand on: the last one, or the last of more than one
    element, which register tiles need, unless a closing `pad` wants rows as they are.
    """
    last = len(spatial) - 1
    if any(v.owner is not None and v.owner.name == "pad" for v in e.graph.outputs):
        return last
    return next((axis for axis in range(last, -1, -1) if spatial[axis] != 1), last)


def _rows(e: Emission, conv: Op) -> tuple[Dim, Dim]:
    """Spatial axes of the result as two: the others together, and that of `_along`."""
    spatial = conv.result.type.shape[2:-1]
    along = _along(e, spatial)
    return product([d for axis, d in enumerate(spatial) if axis != along]), spatial[along]


def _position(e: Emission, conv: Op, row: RowIndex) -> Index:
    """Where a row stands on the spatial axes of the result."""
    spatial = conv.result.type.shape[2:-1]
    along = _along(e, spatial)
    outer = [e.emit.dim(d) for axis, d in enumerate(spatial) if axis != along]
    others = [row[0]] if len(outer) == 1 else unravel(e.emit, row[0], outer)
    return [*others[:along], row[1], *others[along:]]


def _source(e: Emission, conv: Op, row: RowIndex, taps: Index) -> Index:
    """Where in the input a tap of the kernel reads for an output position."""
    strides, dilations = conv.attrs["strides"], conv.attrs["dilations"]
    position = _position(e, conv, row)
    return [
        at * index(stride) + tap * index(dilation)
        for at, stride, tap, dilation in zip(position, strides, taps, dilations, strict=True)
    ]
