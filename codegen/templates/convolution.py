"""Channel-blocked convolution as a contraction (see `bireme.codegen.templates.contraction`)."""

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
    """Whether the group is a 2-D convolution to blocks of 16 channels, not depthwise, without pads."""
    anchor = contraction.anchor_of(graph)
    if anchor is None or anchor.name != "conv":
        return False
    attrs = anchor.attrs
    return (
        attrs["out_block"] == COLUMNS
        and len(attrs["strides"]) == 2
        and attrs["groups"] == 1
        and anchor.operands[1].type.rank == 6
        and not any(attrs["pads"])
        and anchor.operands[1] in graph.inputs
    )


def emit(e: Emission) -> Work:
    anchor = contraction.anchor_of(e.graph)
    assert anchor is not None
    return contraction.emit(e, _form(e, anchor))


def _form(e: Emission, conv: Op) -> Form:
    x, w = conv.operands
    stride_y, stride_x = (index(s) for s in conv.attrs["strides"])
    step_y, step_x = (index(d) for d in conv.attrs["dilations"])
    batch, blocks, height, width, _ = conv.result.type.shape
    _, in_blocks, kernel_y, kernel_x, inner, _ = w.type.shape
    filters = e.arguments[e.graph.inputs.index(w)]
    lanes = tirx.Ramp(index(0), index(1), COLUMNS)
    plain = conv.attrs["in_block"] == 1

    def left(batch: Index, row: RowIndex, term: Index) -> Expr:
        block, ky, kx, channel = term
        at = [*batch, block, row[0] * stride_y + ky * step_y, row[1] * stride_x + kx * step_x]
        return e.evaluator.at(x, at if plain else [*at, channel])

    def right(batch: Index, block: Expr, term: Index) -> Expr:
        in_block, ky, kx, channel = term
        return e.emit.load(filters, filters.offset([block, in_block, ky, kx, channel, lanes]))

    def place(batch: Index, block: Expr, row: RowIndex, lane: Expr) -> Index:
        return [*batch, block, row[0], row[1], lane]

    return Form(
        anchor=conv.result,
        batch=(batch,),
        rows=(height, width),
        columns=blocks * COLUMNS,
        terms=(in_blocks, kernel_y, kernel_x, inner),
        left=left,
        right=right,
        place=place,
    )
