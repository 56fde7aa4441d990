"""Winograd's form for channel-blocked 3×3 convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bireme.ir import Builder, DType, Graph, Op, evaluate
from bireme.ir.opdef import Array
from bireme.ir.winograd import TAPS, transform_filters
from bireme.passes.convolution_form import DIRECT, Convolution, choose_form
from bireme.passes.layout import pack_filters
from bireme.passes.manager import Outcome, Pass
from bireme.passes.values import typical_sizes, weight_name
from bireme.targets.description import Description


@dataclass(frozen=True)
class Winograd(Pass):
    """Calculates 3×3 convolutions by Winograd's minimal filtering where that is faster.

    Before, with blocks of 16 channels::

        %2 = conv(%1, %w) {in_block = 16, out_block = 16}     // %w [4, 4, 3, 3, 16, 16]

    After, with tiles of 4×4 outputs::

        %2 = conv(%1, %w) {in_block = 16, out_block = 16, winograd = 4}    // [4, 6, 6, 4, 16, 16]

    `convolution_form` chooses at the typical sizes of symbols. Filters are transformed when the
    model is compiled. In float32 alone, because the transforms round: convolutions that
    `precision` reduced stay direct.
    """

    name: ClassVar[str] = "winograd"

    def run(self, graph: Graph, _description: Description, /) -> Outcome:
        sizes = typical_sizes(graph)
        for op in list(graph.walk()):
            tile = winograd_tile(op, sizes)
            if tile != DIRECT:
                _transform(op, tile)
        tiles = [op.attrs["winograd"] for op in graph.walk() if op.name == "conv"]
        forms = [f"{tiles.count(m)} as Winograd F({m}×{m})" for m in sorted({*tiles} - {DIRECT})]
        return Outcome(bool(forms), ", ".join(forms))


def winograd_tile(op: Op, sizes: Mapping[str, int], rate: int = 1) -> int:
    """Outputs along a side of the fastest Winograd tile of a convolution, or DIRECT where that is
    faster or there is no other form. `rate` is how many times as many products as of float32 a
    direct convolution calculates in a time.
    """
    if op.name != "conv" or op.attrs["winograd"] or op.attrs["pair"] > 1:
        return DIRECT
    x, w = op.operands
    attrs = op.attrs
    everywhere = {*attrs["strides"], *attrs["dilations"], attrs["groups"]} == {1}
    blocked = attrs["in_block"] == attrs["out_block"] > 1
    if not everywhere or not blocked or w.constant is None or x.type.dtype is not DType.F32:
        return DIRECT
    if w.type.rank != 6 or w.type.shape[2:4] != (TAPS, TAPS):
        return DIRECT
    batch, blocks, *area, block = (evaluate(d, sizes) for d in op.result.type.shape)
    channels = w.type.static_shape[1] * block - attrs["spare"]
    return choose_form(Convolution(channels, blocks * block, batch, *area), rate)


def _transform(op: Op, tile: int) -> None:
    x, w = op.operands
    assert w.constant is not None
    b = Builder(op.graph, before=op)
    weights = unpack_filters(w.constant)
    filters = b.constant(pack_winograd(weights, tile, op.attrs["out_block"]), weight_name(w))
    op.replace_with(b.op("conv", [x, filters], **{**op.attrs, "winograd": tile}).results)


def unpack_filters(packed: Array) -> Array:
    """`[O/ob, C/ib, *K, ib, ob]` as `[O, C, *K]`, the zeros of unfilled blocks included."""
    blocks, in_blocks, *kernel, in_block, out_block = packed.shape
    moved = np.moveaxis(packed, (-1, -2), (1, 3))
    return moved.reshape(blocks * out_block, in_blocks * in_block, *kernel)


def pack_winograd(weights: Array, tile: int, block: int) -> Array:
    """`[O, C, 3, 3]` transformed for tiles of `tile` outputs: `[O/b, n, n, C/b, b, b]`."""
    packed = pack_filters(transform_filters(weights, tile), block, block)
    return np.ascontiguousarray(np.moveaxis(packed, 1, 3))
