"""Channel-blocked convolutions as contractions (see `bireme.codegen.templates.contraction`)."""

from __future__ import annotations

from tvm import tirx

from bireme.codegen.evaluate import Index
from bireme.codegen.templates import contraction
from bireme.codegen.templates.common import Emission, Work
from bireme.codegen.templates.contraction import Form, RowIndex
from bireme.codegen.templates.tiles import COLUMNS
from bireme.codegen.tir import Expr, index
from bireme.ir import Graph, Op


def matches(graph: Graph) -> bool:
    """Whether the group is a 2-D convolution to blocks of 16 channels, dense or depthwise, without
    pads.
    """
    anchor = contraction.anchor_of(graph)
    if anchor is None or anchor.name != "conv":
        return False
    attrs = anchor.attrs
    dense = anchor.operands[1].type.rank == 6 and attrs["groups"] == 1
    depthwise = anchor.operands[1].type.rank == 4
    return (
        attrs["out_block"] == COLUMNS
        and len(attrs["strides"]) == 2
        and (dense or depthwise)
        and not any(attrs["pads"])
        and anchor.operands[1] in graph.inputs
    )


def emit(e: Emission) -> Work:
    """Emits the kernel of a group that `matches`."""
    anchor = contraction.anchor_of(e.graph)
    assert anchor is not None
    depthwise = anchor.operands[1].type.rank == 4
    return contraction.emit(e, _depthwise(e, anchor) if depthwise else _dense(e, anchor))


def _dense(e: Emission, conv: Op) -> Form:
    x, w = conv.operands
    batch, blocks, height, width, _ = conv.result.type.shape
    _, in_blocks, kernel_y, kernel_x, inner, _ = w.type.shape
    filters = e.arguments[e.graph.inputs.index(w)]
    plain = conv.attrs["in_block"] == 1

    def left(batch: Index, block: Expr, row: RowIndex, term: Index) -> Expr:
        in_block, ky, kx, channel = term
        at = [*batch, in_block, *_source(conv, row, ky, kx)]
        return e.evaluator.at(x, at if plain else [*at, channel])

    def right(batch: Index, block: Expr, lane: Expr, term: Index) -> Expr:
        return e.emit.load(filters, filters.offset([block, *term, lane]))

    return Form(
        anchor=conv.result,
        batch=(batch,),
        rows=(height, width),
        columns=blocks * COLUMNS,
        terms=(in_blocks, kernel_y, kernel_x, inner),
        left=left,
        right=right,
        place=_place,
    )


def _depthwise(e: Emission, conv: Op) -> Form:
    x, w = conv.operands
    batch, blocks, height, width, _ = conv.result.type.shape
    _, kernel_y, kernel_x, _ = w.type.shape
    filters = e.arguments[e.graph.inputs.index(w)]
    lanes = tirx.Ramp(index(0), index(1), COLUMNS)

    def left(batch: Index, block: Expr, row: RowIndex, term: Index) -> Expr:
        return e.evaluator.at(x, [*batch, block, *_source(conv, row, *term), lanes])

    def right(batch: Index, block: Expr, lane: Expr, term: Index) -> Expr:
        return e.emit.load(filters, filters.offset([block, *term, lane]))

    return Form(
        anchor=conv.result,
        batch=(batch,),
        rows=(height, width),
        columns=blocks * COLUMNS,
        terms=(kernel_y, kernel_x),
        left=left,
        right=right,
        place=_place,
        unroll=True,
    )


def _place(batch: Index, block: Expr, row: RowIndex, lane: Expr) -> Index:
    return [*batch, block, row[0], row[1], lane]


def _source(conv: Op, row: RowIndex, ky: Expr, kx: Expr) -> Index:
    """Where in the input a tap of the kernel reads for an output position."""
    strides, dilations = conv.attrs["strides"], conv.attrs["dilations"]
    return [
        at * index(stride) + tap * index(dilation)
        for at, stride, tap, dilation in zip(row, strides, (ky, kx), dilations, strict=True)
    ]
