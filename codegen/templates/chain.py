"""A depthwise convolution behind another convolution, in one kernel.

A task calculates some channel blocks of the first convolution, for the rows that a band of the
result needs, into scratch memory that the second-level cache holds, with the zeros that a `pad`
puts around them; then the depthwise convolution reads them there. Channels do not meet in a
depthwise convolution, so nothing is calculated twice but the rows that two bands share.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from bireme.codegen.abi import workspace_view
from bireme.codegen.evaluate import Index
from bireme.codegen.parameters import Space
from bireme.codegen.templates import contraction
from bireme.codegen.templates.common import Emission, Work, estimate, unravel
from bireme.codegen.templates.contraction import Kernel
from bireme.codegen.templates.contraction_form import Form, Parameters, RowIndex, tile_of, up_to
from bireme.codegen.templates.convolution import dense, depthwise
from bireme.codegen.templates.tiles import COLUMNS, Tile, fits
from bireme.codegen.tir import Expr, const, index, plus
from bireme.ir import Dim, Fusion, Graph, ceildiv, maximum
from bireme.passes.chain import GROUPS, Link, chain_of, divide, link_of
from bireme.targets.description import InstructionSet

# Bytes of the first convolution's operand that its column tiles walk through one after the other.
_SLAB_BYTES = 128 << 10


def _link(graph: Graph) -> Link | None:
    """The two convolutions when the group is one that this template can emit."""
    anchors = [op for op in graph.body.ops if op.definition.fusion is Fusion.CONTRACTION]
    if len(anchors) != 2:
        return None
    link = link_of(anchors[1])
    if link is None or link.first != anchors[0] or not contraction.ends_with(graph, link.second):
        return None
    return link if all(op.operands[1] in graph.inputs for op in anchors) else None


def matches(graph: Graph) -> bool:
    """Whether the group is a dense convolution, element-wise ops, perhaps a `pad` with zeros, a
    depthwise convolution, and element-wise ops.
    """
    return _link(graph) is not None


def emit(e: Emission) -> Work:
    """Emits the kernel of a group that `matches`."""
    link = _link(e.graph)
    assert link is not None
    return _Chained(e, link).emit()


def space(link: Link, first: Form, second: Form, level: InstructionSet) -> Space[Parameters]:
    """A task takes `chunk` rows of the result and `group` column blocks; `rows` × `blocks` is the
    register tile of the first convolution.
    """
    division = divide(chain_of(link, estimate))
    tile = tile_of(first, level, division.group)
    return Space(
        Parameters(division.rows, division.group, tile.rows, tile.blocks),
        {
            "chunk": up_to(second.rows[0], (1, 2, 4, 7, 14, 28, 56), division.rows),
            "group": up_to(first.blocks, GROUPS, division.group),
            "rows": up_to(first.rows[1], range(1, level.registers), tile.rows),
            "blocks": up_to(first.blocks, (1, 2, 4), tile.blocks),
        },
        lambda p: p.blocks <= p.group and fits(level, Tile(p.rows, p.blocks)),
        frozenset({"chunk", "group"}),
    )


class _First(Kernel):
    """The first convolution; its results go to scratch memory."""

    chained: _Chained

    def _epilogue(self) -> int:
        between = contraction.downstream(self.anchor)
        return len([op for op in between if op.result.type.shape == self.form.anchor.type.shape])

    def _borders(self, batch: Index, first: Expr, count: Expr, span: tuple[Expr, ...]) -> None:
        """Nothing: the scratch memory is cleared around a band before."""

    def _element(self, batch: Index, block: Expr, row: RowIndex, lane: Expr, total: Expr) -> None:
        e, form, middle = self.e, self.form, self.chained.link.middle
        where = form.place(batch, block, row, lane)
        with e.emit.scope():
            e.evaluator.define(form.anchor, lambda _: total)
            self.chained.keep(where, e.evaluator.at(middle, where))


class _Chained:
    """The loops over tasks, being emitted."""

    def __init__(self, e: Emission, link: Link) -> None:
        self.e, self.link = e, link
        first, second = dense(e, link.first), depthwise(e, link.second)
        self.parameters = e.choose(space(link, first, second, e.level))
        self.first = _First(e, first, self.parameters)
        self.first.chained = self
        tile = tile_of(second, e.level, 1)
        of_second = Parameters(self.parameters.chunk, self.parameters.group, tile.rows, 1)
        self.second = Kernel(e, second, of_second)
        self.rows = chain_of(link, estimate).rows_read(self.parameters.chunk)
        self.spill = maximum(self.first.spill_bytes(), self.second.spill_bytes())
        dtype = link.middle.type.dtype
        self.lines = workspace_view(e.emit, e.workspace, e.emit.dim(self.spill), dtype)
        self.width = e.emit.dim(self._positions())
        self.block: Expr = index(0)
        self.top: Expr = index(0)

    def emit(self) -> Work:
        e, emit, link, parameters = self.e, self.e.emit, self.link, self.parameters
        batch, blocks, height, *_ = link.second.result.type.shape
        bands, groups = ceildiv(height, parameters.chunk), ceildiv(blocks, parameters.group)
        sizes = [emit.dim(batch), emit.dim(bands), emit.dim(groups)]
        chunk, group = index(parameters.chunk), index(parameters.group)
        stride = index(link.second.attrs["strides"][0])
        of_first, above = emit.dim(link.middle.type.shape[2]), index(link.border[0])
        with emit.loop("task", e.end - e.begin, start=e.begin) as task:
            number, band, column_group = unravel(emit, task, sizes)
            self.block = emit.bind(column_group * group, "block")
            count = emit.bind(tirx.min(group, emit.dim(blocks) - self.block), "blocks")
            first = emit.bind(band * chunk, "first")
            last = emit.bind(tirx.min(first + chunk, emit.dim(height)), "last")
            # Rows count from the first one of the border.
            self.top = emit.bind(first * stride, "top")
            reach = index(chain_of(link, estimate).reach)
            end = emit.bind((last - index(1)) * stride + reach, "end")
            begin = emit.bind(tirx.max(self.top - above, index(0)), "begin")
            until = emit.bind(tirx.max(tirx.min(end - above, of_first), begin), "until")
            self._clear(count, begin + above - self.top, until + above - self.top, end - self.top)
            self._first_of(number, count, begin, until)
            e.evaluator.define(link.second.operands[0], self._kept)
            span = (first, last, index(0), emit.dim(link.second.result.type.shape[3]))
            self.second.work_on([number], self.block, count, span)
        line = self._positions() * (COLUMNS * link.middle.type.dtype.bytes)
        scratch = line * (self.rows * parameters.group) + self.spill
        return Work(batch * bands * groups, scratch)

    def _first_of(self, batch: Expr, count: Expr, begin: Expr, until: Expr) -> None:
        """Calculates rows [begin, until) of the first convolution, few enough at a time for their
        operand to stay near while all column tiles of the task read it.
        """
        emit, chain = self.e.emit, chain_of(self.link, estimate)
        width = emit.dim(self.link.middle.type.shape[3])
        slab = max(1, _SLAB_BYTES * chain.between // max(1, chain.operand_bytes))
        if slab >= self.rows or self.parameters.group <= self.first.tile.blocks:
            span = (begin, until, index(0), width)
            self.first.work_on([batch], self.block, count, span)
            return
        slabs = emit.opaque(tirx.truncdiv(until - begin + index(slab - 1), index(slab)), "slabs")
        with emit.loop("slab", slabs) as number:
            start = emit.bind(begin + number * index(slab))
            span = (start, emit.bind(tirx.min(start + index(slab), until)), index(0), width)
            self.first.work_on([batch], self.block, count, span)

    def _positions(self) -> Dim:
        """Positions in a row of scratch memory, those of the border included."""
        _, left, _, right = self.link.border
        return self.link.middle.type.shape[3] + (left + right)

    def keep(self, where: Sequence[Expr], value: Expr) -> None:
        """Stores what stands at an index of `middle`."""
        above, left, *_ = self.link.border
        batch, block, row, position, lane = where
        at = [batch, block, row + index(above), position + index(left), lane]
        self.e.emit.store(self.lines, self._offset(at), value)

    def _kept(self, at: Index) -> Expr:
        return self.e.emit.load(self.lines, self._offset(at))

    def _offset(self, at: Sequence[Expr]) -> Expr:
        """Where in scratch an element of what the second convolution reads stands."""
        _, block, row, position, lane = at
        line = (block - self.block) * index(self.rows) + (row - self.top)
        return plus((line * self.width + position) * index(COLUMNS), lane)

    def _clear(self, count: Expr, begin: Expr, until: Expr, end: Expr) -> None:
        """Zeroes the border around rows [begin, until) of the scratch memory's [0, end)."""
        emit = self.e.emit
        _, left, _, right = self.link.border
        if not any(self.link.border):
            return
        vector = tirx.Ramp(index(0), index(1), COLUMNS)
        begin, until, end = (emit.bind(row) for row in (begin, until, end))
        inner = emit.bind(self.width - index(right))

        def clear(line: Expr, start: Expr, stop: Expr) -> None:
            with emit.loop("x", emit.bind(stop - start), start=start) as x:
                offset = plus((line * self.width + x) * index(COLUMNS), vector)
                emit.store(self.lines, offset, const(0.0, "float32"))

        with emit.loop("border", count) as block:
            base = emit.bind(block * index(self.rows))
            with emit.loop("row", begin) as row:
                clear(base + row, index(0), self.width)
            with emit.loop("row", emit.bind(until - begin), start=begin) as row:
                clear(base + row, index(0), index(left))
                clear(base + row, inner, self.width)
            with emit.loop("row", emit.bind(end - until), start=until) as row:
                clear(base + row, index(0), self.width)
