"""Matrix product and convolution in float arithmetic: a register-tiled kernel over packed columns.

Both are the same sum: an output at (row, column) adds up products of an element of the left
operand, which depends on the row, and one of the right operand, which depends on the column.
Columns come in blocks of 16 that stand together in memory. The loops are, from outside in: tasks (a
run of rows times a group of column blocks), column tiles, row tiles, the terms of the sum, and the
tile itself, written out so that its accumulators stay in registers. Elementwise ops that follow are
applied to the accumulators before they are stored; a zero `pad` at the end becomes a store into the
inner part of a larger result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tvm import tirx

from bireme.codegen.abi import workspace_view
from bireme.codegen.evaluate import Index
from bireme.codegen.templates.common import Emission, Work, unravel
from bireme.codegen.templates.contraction_form import (
    Form,
    Parameters,
    RowIndex,
    parts_of,
    space,
    tile_of,
)
from bireme.codegen.templates.tiles import COLUMNS, Tile, last_heights
from bireme.codegen.templates.vectors import turned
from bireme.codegen.tir import Buffer, Emitter, Expr, const, index, match
from bireme.ir import Dim, DType, Fusion, Graph, Op, Value, ceildiv, maximum, product

# An epilogue of so many ops is a loop over the rows of a tile, a shorter one is written out.
_LONG_EPILOGUE = 5
# Sums of so many terms may be written out.
_SHORT_SUM = 32
# Up to so many rows a kernel for any number has tiles of their own.
_FEW_ROWS = 4


def emit(e: Emission, form: Form) -> Work:
    """Emits the kernel of a contraction and its epilogue."""
    return Kernel(e, form, e.choose(space(form, e.level))).emit()


class Kernel:
    """A contraction's loops, being emitted."""

    def __init__(self, e: Emission, form: Form, parameters: Parameters) -> None:
        self.e, self.form, self.parameters = e, form, parameters
        self.emit_ = e.emit
        self.tile = Tile(parameters.rows, min(parameters.blocks, parameters.group))
        self.anchor = form.anchor.owner
        self._panel: Buffer | None = None
        if form.gather_right:
            held = form.products.dtype
            self._panel = workspace_view(e.emit, e.workspace, index(0), held)
        at = e.emit.dim(self._panel_bytes())
        self._spill = workspace_view(e.emit, e.workspace, at, DType.F32)

    def _for_few_rows(self, most: int = _FEW_ROWS) -> dict[int, Kernel]:
        """Kernels with wide tiles for tasks of 1 to `most` rows, where only run time knows the
        number: such a product is bound by how fast the columns are read.
        """
        form = self.form
        if form.rows[0] != 1 or isinstance(form.rows[1], int) or form.gather_right or form.unroll:
            return {}
        made = {}
        for rows in range(1, most + 1):
            few = replace(form, rows=(1, rows))
            tile = tile_of(few, self.e.level, self.parameters.group)
            made[rows] = Kernel(
                self.e, few, replace(self.parameters, rows=tile.rows, blocks=tile.blocks)
            )
        return made

    def _scratch_with(self, others: Mapping[int, Kernel]) -> Dim:
        """Scratch for whichever of these kernels a task is done by."""
        scratch = self._scratch_bytes()
        for kernel in others.values():
            scratch = maximum(scratch, kernel._scratch_bytes())
        return scratch

    def _scratch_bytes(self) -> Dim:
        return self._panel_bytes() + self.spill_bytes()

    def spill_bytes(self) -> Dim:
        """Scratch for the sums of a tile."""
        return self.tile.rows * self.tile.blocks * COLUMNS * 4

    def _panel_bytes(self) -> Dim:
        """Scratch for the gathered right elements of a column tile."""
        return self.form.depth * (self.tile.blocks * COLUMNS * 4) if self.form.gather_right else 0

    def emit(self) -> Work:
        e, form, parameters = self.e, self.form, self.parameters
        emit = self.emit_
        batch_sizes = [emit.dim(d) for d in form.batch]
        row_count, position_count = emit.dim(form.rows[0]), emit.dim(form.rows[1])
        full = form.rows[0] != 1
        chunk = index(parameters.chunk)
        parts = parts_of(form, parameters.chunk)
        column_groups = ceildiv(form.blocks, parameters.group)
        chunks, groups = emit.dim(parts), emit.dim(column_groups)
        blocks = emit.dim(form.blocks)
        few_rows = self._for_few_rows()
        with emit.loop("task", e.end - e.begin, start=e.begin) as task:
            *batch, part, column_group = unravel(emit, task, [*batch_sizes, chunks, groups])
            group = index(parameters.group)
            first_block = emit.bind(column_group * group, "block")
            count = emit.bind(tirx.min(group, blocks - first_block), "blocks")
            first = emit.bind(part * chunk, "first")
            if full:
                last = emit.bind(tirx.min(first + chunk, row_count), "last")
                span = (first, last, index(0), position_count)
            else:
                last = emit.bind(tirx.min(first + chunk, position_count), "last")
                span = (index(0), index(1), first, last)
            rows = emit.bind(last - first, "rows")
            with emit.when(rows > index(max(few_rows)) if few_rows else None):
                self._columns(batch, first_block, count, span)
            for number, kernel in few_rows.items():
                with emit.when(rows == index(number)):
                    kernel._columns(batch, first_block, count, span)
            self._borders(batch, first_block, count, span)
        return Work(product(form.batch) * parts * column_groups, self._scratch_with(few_rows))

    def work_on(self, batch: Index, first: Expr, count: Expr, span: tuple[Expr, ...]) -> None:
        """Calculates `count` column blocks from `first` on of the rows and positions of a span."""
        self._columns(batch, first, count, span)
        self._borders(batch, first, count, span)

    def _columns(self, batch: Index, first: Expr, count: Expr, span: tuple[Expr, ...]) -> None:
        """All column tiles of a task: whole ones, single blocks, then the incomplete block."""
        emit, width = self.emit_, self.tile.blocks
        columns = self.form.columns
        ragged = not (isinstance(columns, int) and columns % COLUMNS == 0)
        whole = count
        if ragged:
            full_blocks = emit.dim(columns // COLUMNS)
            whole = emit.bind(tirx.max(tirx.min(count, full_blocks - first), index(0)), "whole")
        tiles = emit.bind(tirx.truncdiv(whole, index(width)), "tiles")
        if _value(tiles) != 0:
            with emit.loop("tile", tiles) as tile:
                self._rows(batch, emit.bind(first + tile * index(width)), width, span, None)
        if width > 1:
            rest = emit.bind(whole - tiles * index(width), "rest")
            if _value(rest) != 0:
                with emit.loop("single", rest) as single:
                    at = emit.bind(first + tiles * index(width) + single)
                    self._rows(batch, at, 1, span, None)
        if ragged:
            with emit.when(whole < count):
                lanes = emit.dim(columns - columns // COLUMNS * COLUMNS)
                self._rows(batch, emit.bind(first + whole), 1, span, lanes)

    def _rows(
        self, batch: Index, block: Expr, width: int, span: tuple[Expr, ...], lanes: Expr | None
    ) -> None:
        """All row tiles of a task for one column tile."""
        emit, height = self.emit_, self.tile.rows
        self._gather(batch, block, width, lanes)
        first_row, last_row, first, last = span
        with emit.loop("row", emit.bind(last_row - first_row), start=first_row) as row:
            count = emit.bind(last - first, "count")
            tiles = emit.bind(tirx.truncdiv(count, index(height)), "tiles")
            if _value(tiles) != 0:
                with emit.loop("rows", tiles) as tile:
                    at = emit.bind(first + tile * index(height))
                    self._tile(batch, block, row, at, Tile(height, width), lanes, None, tile)
            left = emit.bind(count - tiles * index(height), "left")
            if _value(left) == 0:
                return
            at = emit.bind(first + tiles * index(height))
            known = self._left_over(left)
            for exact in known or ():
                with emit.when(left == index(exact)):
                    self._tile(batch, block, row, at, Tile(exact, width), lanes, None, tiles)
            if known is not None:
                return
            # Of the heights for the last tile the least that is enough.
            least = 0
            for most in self._last_heights():
                with emit.when(tirx.all(left > index(least), left <= index(most))):
                    self._tile(batch, block, row, at, Tile(most, width), lanes, left, tiles)
                least = most

    def _last_heights(self) -> list[int]:
        """Heights of the last tile of a row whose length only run time knows."""
        return [self.tile.rows] if self.form.unroll else last_heights(self.tile.rows)

    def _left_over(self, left: Expr) -> set[int] | None:
        """Rows that the last tile of a task may have, when that is known."""
        if _value(left) is not None:
            return {int(left)}
        positions, height, chunk = self.form.rows[1], self.tile.rows, self.parameters.chunk
        if not isinstance(positions, int):
            return None
        ends = {positions % chunk % height}
        if positions > chunk:
            ends.add(chunk % height)
        return ends - {0}

    def _tile(
        self,
        batch: Index,
        block: Expr,
        row: Expr,
        first: Expr,
        tile: Tile,
        lanes: Expr | None,
        rows: Expr | None,
        number: Expr,
    ) -> None:
        """Register tile `number` of a row. With `rows` only that many rows exist, with `lanes`
        columns.
        """
        emit, form, products = self.emit_, self.form, self.form.products
        vector = tirx.Ramp(index(0), index(1), COLUMNS)
        sums = [
            [emit.registers("sum", DType.F32, COLUMNS) for _ in range(tile.blocks)]
            for _ in range(tile.rows)
        ]
        for line in sums:
            for register in line:
                emit.store(register, vector, const(0.0, "float32"))
        at = [emit.bind(first + index(i)) for i in range(tile.rows)]
        # Rows that do not exist read what the last one reads; nothing of them is stored.
        read = at
        if rows is not None:
            final = emit.bind(first + rows - index(1))
            read = [emit.bind(tirx.min(i, final)) for i in at]
        blocks = [emit.bind(block + index(j)) for j in range(tile.blocks)]

        def accumulate(term: Index) -> None:
            vectors = [
                products.split(emit.bind(self._right(batch, b, j, tile.blocks, term)))
                for j, b in enumerate(blocks)
            ]
            for i in range(tile.rows):
                left = form.left(batch, block, (row, read[i]), term)
                element = products.split(left)
                for j in range(tile.blocks):
                    total = products.add(emit.load(sums[i][j], vector), element, vectors[j])
                    emit.store(sums[i][j], vector, total)

        self._sum(
            form.terms, [], accumulate, lambda at: self._fetch_ahead(block, tile.blocks, number, at)
        )
        if rows is None and self._epilogue() < _LONG_EPILOGUE:
            for i in range(tile.rows):
                self._store(
                    batch, blocks, (row, at[i]), [sums_from(emit, s) for s in sums[i]], lanes
                )
            return
        # Written out for every row the epilogue would be most of the kernel's code.
        for number, register in enumerate(s for line in sums for s in line):
            spot = tirx.Ramp(index(number * COLUMNS), index(1), COLUMNS)
            emit.store(self._spill, spot, emit.load(register, vector))
        with emit.loop("line", index(tile.rows) if rows is None else rows) as line:
            starts = [
                emit.bind((line * index(tile.blocks) + index(j)) * index(COLUMNS))
                for j in range(tile.blocks)
            ]
            spilled = [sums_from(emit, self._spill, start) for start in starts]
            self._store(batch, blocks, (row, emit.bind(first + line)), spilled, lanes)

    def _epilogue(self) -> int:
        """How many ops follow the sum."""
        return len(downstream(self.anchor))

    def _sum(
        self,
        terms: Sequence[Dim],
        at: Index,
        accumulate: Callable[[Index], None],
        before: Callable[[Index], None] | None = None,
    ) -> None:
        """The loops of the sum; `before` stands ahead of the innermost one."""
        if not terms:
            accumulate(at)
            return
        if (self.form.unroll or self._is_short()) and isinstance(terms[0], int):
            for step in range(terms[0]):
                self._sum(terms[1:], [*at, index(step)], accumulate, before)
            return
        if len(terms) == 1 and before is not None:
            before(at)
        count = self.emit_.dim(terms[0])
        if at and len(terms) == 1 and self.form.spare:
            first, last = self.form.terms[0], terms[0]
            exist = self.emit_.dim(first * last - self.form.spare)
            count = self.emit_.bind(tirx.min(count, exist - at[0] * count), "steps")
        with self.emit_.loop("k", count) as k:
            self._sum(terms[1:], [*at, k], accumulate, before)

    def _is_short(self) -> bool:
        """Whether a sum without channels in its innermost loop, as of the first convolution of a
        network, has so few terms that loops would take a quarter of the time.
        """
        depth = self.form.depth
        return self.form.terms[-1] == 1 and isinstance(depth, int) and depth <= _SHORT_SUM

    def _fetch_ahead(self, block: Expr, width: int, number: Expr, at: Index) -> None:
        """Asks for a share of the right elements of the next column tile; the row tiles of a task
        ask for all of them.
        """
        emit, form = self.emit_, self.form
        if form.ahead is None or form.rows[0] != 1:
            return
        *outer, inner = form.terms
        assert isinstance(inner, int)
        here: Expr = index(0)
        for size, k in zip(outer, at, strict=True):
            here = here * emit.dim(size) + k
        positions = form.rows[1]
        most = self.parameters.chunk
        tiles = -(-(min(positions, most) if isinstance(positions, int) else most) // self.tile.rows)
        share = -(-inner // tiles)
        first = emit.bind((number * emit.dim(product(outer)) + here) * index(share))
        for j in range(width):
            for i in range(share):
                form.ahead(block + index(width + j), first + index(i))

    def _right(self, batch: Index, block: Expr, number: int, width: int, term: Index) -> Expr:
        """The vector of columns of block `number` of a tile, from where it stands."""
        lanes = tirx.Ramp(index(0), index(1), COLUMNS)
        if self._panel is None:
            return self.form.right(batch, block, lanes, term)
        start, lanes = match(self._panel_offset(number, width, term), lanes)
        return self.emit_.load(self._panel, start + lanes)

    def _panel_offset(self, number: int, width: int, term: Index) -> Expr:
        flat: Expr = index(0)
        for size, k in zip(self.form.terms, term, strict=True):
            flat = flat * self.emit_.dim(size) + k
        return (flat * index(width) + index(number)) * index(COLUMNS)

    def _gather(self, batch: Index, first: Expr, width: int, lanes: Expr | None) -> None:
        """Copies the right elements of a column tile to scratch memory, one step of the sum
        together.
        """
        emit, panel = self.emit_, self._panel
        if panel is None:
            return
        vector = tirx.Ramp(index(0), index(1), COLUMNS)

        def copy(term: Index) -> None:
            for j in range(width):
                block = emit.bind(first + index(j))
                start = emit.bind(self._panel_offset(j, width, term))
                wide, ramp = match(start, vector)
                if lanes is None:
                    emit.store(panel, wide + ramp, self.form.right(batch, block, vector, term))
                    continue
                emit.store(panel, wide + ramp, self.form.products.zero)
                with emit.loop("lane", lanes) as lane:
                    element = self.form.right(batch, block, lane, term)
                    emit.store(panel, start + lane, element)

        start = self._turn(batch, first, width) if self.form.turns and lanes is None else 0
        if start == 0:
            self._sum(self.form.terms, [], copy)
            return
        (depth,) = self.form.terms
        with emit.loop("k", emit.dim(depth - start), start=index(start)) as k:
            copy([k])

    def _turn(self, batch: Index, first: Expr, width: int) -> int:
        """Gathers squares of right elements of whole blocks; gives the terms that it covers."""
        emit, panel, (depth,) = self.emit_, self._panel, self.form.terms
        if panel is None or not isinstance(depth, int):
            return 0
        squares = depth // COLUMNS
        lanes = tirx.Ramp(index(0), index(1), COLUMNS)
        with emit.loop("square", index(squares)) as square:
            start = emit.bind(square * index(COLUMNS))
            along, ramp = match(start, lanes)
            for j in range(width):
                block = emit.bind(first + index(j))
                columns = [
                    emit.opaque(self.form.right(batch, block, index(lane), [along + ramp]))
                    for lane in range(COLUMNS)
                ]
                for i, row in enumerate(turned(emit, columns)):
                    offset = emit.bind(self._panel_offset(j, width, [start + index(i)]))
                    emit.store(panel, tirx.Ramp(offset, index(1), COLUMNS), row)
        return squares * COLUMNS

    def _store(
        self,
        batch: Index,
        blocks: Sequence[Expr],
        row: RowIndex,
        sums: Sequence[Callable[[Expr], Expr]],
        lanes: Expr | None,
    ) -> None:
        """Applies the epilogue to a row of accumulators and stores it."""
        emit = self.emit_
        if lanes is None:
            vector = tirx.Ramp(index(0), index(1), COLUMNS)
            for block, total in zip(blocks, sums, strict=True):
                self._element(batch, block, row, vector, total(vector))
            return
        (block,), (total,) = blocks, sums
        with emit.loop("lane", lanes) as lane:
            self._element(batch, block, row, lane, total(lane))

    def _element(self, batch: Index, block: Expr, row: RowIndex, lane: Expr, total: Expr) -> None:
        e, form = self.e, self.form
        where = form.place(batch, block, row, lane)
        with e.emit.scope():
            e.evaluator.define(form.anchor, lambda _: total)
            for output, buffer in zip(e.graph.outputs, e.results, strict=True):
                store_output(e, output, buffer, where)

    def _borders(self, batch: Index, first: Expr, count: Expr, span: tuple[Expr, ...]) -> None:
        """Zeroes the border of padded results next to the rows of a task."""
        for output, buffer in zip(self.e.graph.outputs, self.e.results, strict=True):
            owner = output.owner
            if owner is None or owner.name != "pad":
                continue
            self._border(owner, buffer, batch, first, count, span)

    def _border(
        self,
        pad: Op,
        buffer: Buffer,
        batch: Index,
        first: Expr,
        count: Expr,
        span: tuple[Expr, ...],
    ) -> None:
        emit, form = self.emit_, self.form
        # A row of one axis has nothing above and below it.
        top, left = (0, *pad.attrs["before"][2:-1])[-2:]
        bottom, right = (0, *pad.attrs["after"][2:-1])[-2:]
        rows, width = (emit.dim(d) for d in form.rows)
        first_row, last_row, start, end = span
        vector = tirx.Ramp(index(0), index(1), COLUMNS)
        shift = (0, 0, *pad.attrs["before"][2:-1], 0)
        inner_row, inner = index(0) - emit.dim(top), index(0) - emit.dim(left)
        whole = width + emit.dim(right)

        def clear(block: Expr, row: Expr, begin: Expr, end: Expr) -> None:
            with emit.loop("x", emit.bind(end - begin), start=begin) as x:
                at = form.place(batch, block, (row, x), vector)
                target = [i + emit.dim(s) for i, s in zip(at, shift, strict=True)]
                emit.store(buffer, buffer.offset(target), const(0.0, "float32"))

        with emit.loop("border", count, start=first) as block:
            with emit.loop("row", emit.bind(last_row - first_row), start=first_row) as row:
                with emit.when(start == index(0)):
                    clear(block, row, inner, index(0))
                with emit.when(end == width):
                    clear(block, row, width, whole)
            above = emit.when(tirx.And(first_row == index(0), start == index(0)))
            with above, emit.loop("row", emit.dim(top), start=inner_row) as row:
                clear(block, row, inner, whole)
            below = emit.when(tirx.And(last_row == rows, end == width))
            with below, emit.loop("row", emit.dim(bottom), start=rows) as row:
                clear(block, row, inner, whole)


def sums_from(emit: Emitter, sums: Buffer, start: Expr | None = None) -> Callable[[Expr], Expr]:
    """The sums of a row and block, lane by lane: in a register, or from `start` on in memory."""

    def lanes(lane: Expr) -> Expr:
        offset, lane = match(index(0) if start is None else start, lane)
        return emit.load(sums, offset + lane)

    return lanes


def _value(expr: Expr) -> int | None:
    return int(expr) if isinstance(expr, tirx.IntImm) else None


def store_output(e: Emission, output: Value, buffer: Buffer, where: Index) -> None:
    """Calculates and stores an output at an index of the anchor, inside the border of a `pad`."""
    value, shift = _stored(output)
    target = [i + index(s) for i, s in zip(where, shift, strict=True)]
    e.emit.store(buffer, buffer.offset(target), e.evaluator.at(value, where))


def _stored(output: Value) -> tuple[Value, tuple[Dim, ...]]:
    """The value to calculate for an output, and how far a closing `pad` shifts it."""
    owner = output.owner
    if owner is not None and owner.name == "pad":
        return owner.operands[0], owner.attrs["before"]
    return output, (0,) * output.type.rank


def anchor_of(graph: Graph) -> Op | None:
    """The contraction that a group is built around when this template can emit the group."""
    anchors = [op for op in graph.body.ops if op.definition.fusion is Fusion.CONTRACTION]
    if len(anchors) != 1:
        return None
    (anchor,) = anchors
    return anchor if ends_with(graph, anchor) else None


def ends_with(graph: Graph, anchor: Op) -> bool:
    """Whether this template can emit a contraction and all that depends on it in a group."""
    if not anchor.result.type.dtype.is_float or anchor.result.type.dtype is DType.F64:
        return False
    shape = anchor.result.type.shape
    after = downstream(anchor)
    for output in graph.outputs:
        value, shift = _stored(output)
        owner = value.owner
        if value.type.shape != shape or owner is None:
            return False
        if owner != anchor and owner not in after:
            return False
        padded = any(d != 0 for d in shift)
        if value is not output and not _is_zero_border(output.owner, anchor):
            return False
        if padded and anchor.name != "conv":
            return False
    pads = {v.owner for v in graph.outputs}
    for op in after:
        pointwise = op.definition.fusion is Fusion.POINTWISE and op.result.type.shape == shape
        if not pointwise and not (op.name == "pad" and op in pads):
            return False
    return True


def downstream(anchor: Op | None) -> list[Op]:
    """Ops of the group that depend on the anchor."""
    found: list[Op] = []
    ready = [anchor] if anchor else []
    while ready:
        for result in ready.pop().results:
            for user, _ in result.uses:
                if not user.is_terminator and user not in found:
                    found.append(user)
                    ready.append(user)
    return found


def _is_zero_border(pad: Op | None, anchor: Op) -> bool:
    """Whether a pad adds zeros around the one or two spatial axes of a channel-blocked result."""
    if pad is None or pad.attrs["mode"] != "constant" or anchor.attrs.get("out_block") != COLUMNS:
        return False
    rank = pad.result.type.rank
    if rank > 5:
        return False
    outer = [0, 1, rank - 1]
    if any(pad.attrs[side][axis] != 0 for side in ("before", "after") for axis in outer):
        return False
    if len(pad.operands) < 2:
        return True
    value = pad.operands[1].constant
    return value is not None and float(value) == 0.0
