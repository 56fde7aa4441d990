"""A matrix product with many rows and packed columns, blocked for the caches.

The scheme is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
2008. The sum is cut into stretches of `_DEPTH` terms. For each, the rows of a part are copied so
that a register tile reads them from front to back; then for every column tile the weights of the
stretch, which fit in the first-level cache, meet all rows of the part. Sums wait in scratch memory
for the next stretch; after the last the epilogue is applied to them.

Tasks are a part of the rows times a few column blocks. One call takes tasks that follow each other
together, so that rows are copied once for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from bireme.codegen.abi import workspace_view
from bireme.codegen.evaluate import Index
from bireme.codegen.parameters import Space
from bireme.codegen.templates import contraction_form
from bireme.codegen.templates.common import Emission, Work, estimate, unravel
from bireme.codegen.templates.contraction import Kernel, sums_from
from bireme.codegen.templates.contraction_form import Form, even_group, tile_of, up_to
from bireme.codegen.templates.tiles import COLUMNS, Tile, fits
from bireme.codegen.tir import Buffer, Expr, const, index, match
from bireme.ir import Dim, DType, Value, ceildiv, product
from bireme.targets.description import InstructionSet

# With fewer rows than this, copying them costs more than it saves.
LEAST_ROWS = 8
# Terms of a stretch, and column blocks of a tile at most: its weights then take 32 KiB.
_DEPTH = 256
_TILE_BLOCKS = 2
# Rows of a part, and what whole tiles of them are usually multiples of.
_ROWS = 168
_TILE_ROWS = 12
# Column blocks of a task, and those that a call takes at a time: their sums stay in the
# second-level cache.
_TASK_BLOCKS = 4
_CALL_BLOCKS = 48
# Heights of the last tile of a part whose rows only run time knows: of these the least is taken
# that is enough.
_LAST_ROWS = (1, 2, 4, 6, 8, 10, 12)
# In so many tiles of rows the weights of the next column tile are asked for, where there may be no
# more.
_FEW_TILES = 3
# Terms that are copied together.
_RUN = 16


@dataclass(frozen=True)
class Parameters(contraction_form.Parameters):
    """A task takes `chunk` rows and `group` column blocks, a call `call` blocks at a time. All rows
    of a part meet `stretch` terms of the sum before the next ones. `rows` × `blocks` is the
    register tile.
    """

    call: int
    stretch: int


def space(form: Form, level: InstructionSet) -> Space[Parameters]:
    """What may be chosen; the division into tasks is shared by all levels."""
    total, (depth,) = form.rows[1], form.terms
    assert isinstance(depth, int)
    chunk = _chunk(total)
    others = estimate(product(form.batch) * ceildiv(total, chunk))
    group = even_group(form.blocks, _TASK_BLOCKS, others)
    tile = tile_of(form, level, _TILE_BLOCKS, chunk)
    return Space(
        Parameters(chunk, group, tile.rows, tile.blocks, _CALL_BLOCKS, _stretch(depth)),
        {
            "chunk": up_to(total, (42, 84, 168, 336), chunk),
            "group": up_to(form.blocks, (1, 2, 4, 8, 16), group),
            "rows": up_to(total, range(1, level.registers), tile.rows),
            "blocks": up_to(form.blocks, (1, 2, 4), tile.blocks),
            "call": [8, 12, 16, 24, 48],
            "stretch": up_to(depth, (64, 128, 192, 256, 384, 512), _stretch(depth)),
        },
        lambda p: fits(level, Tile(p.rows, p.blocks)) and p.group <= p.call,
        frozenset({"chunk", "group"}),
    )


@dataclass(frozen=True)
class _Part:
    """What a call works on: rows [first, first + rows) of a batch, `blocks` column blocks. Sums
    are kept of `padded` rows, which are whole tiles.
    """

    batch: Index
    first: Expr
    rows: Expr
    padded: Expr
    block: Expr
    blocks: Expr


def emit(e: Emission, form: Form, weights: Value) -> Work:
    """Emits the kernel of a product with packed `weights` of known depth, and its epilogue."""
    return _Packed(e, form, weights).emit()


class _Packed(Kernel):
    parameters: Parameters

    def __init__(self, e: Emission, form: Form, weights: Value) -> None:
        parameters = e.choose(space(form, e.level))
        super().__init__(e, form, parameters)
        (depth,) = form.terms
        assert isinstance(depth, int)
        self.weights, self.depth, self.stretch = weights, depth, parameters.stretch
        height = self.tile.rows
        self.call_blocks = max(parameters.call // parameters.group, 1) * parameters.group
        self.lines_rows = -(-parameters.chunk // height) * height
        self.lines = workspace_view(e.emit, e.workspace, index(0), DType.F32)
        self.sums = workspace_view(e.emit, e.workspace, index(self._line_bytes()), DType.F32)

    def _line_bytes(self) -> int:
        return self.lines_rows * self.stretch * 4

    def _scratch_bytes(self) -> Dim:
        return self._line_bytes() + self.lines_rows * self.call_blocks * COLUMNS * 4

    def emit(self) -> Work:
        """The loop over what one call takes together."""
        e, emit, form = self.e, self.emit_, self.form
        batch_sizes = [emit.dim(d) for d in form.batch]
        total, blocks = emit.dim(form.rows[1]), emit.dim(form.blocks)
        group_blocks = self.parameters.group
        chunks = ceildiv(form.rows[1], self.parameters.chunk)
        column_groups = ceildiv(form.blocks, group_blocks)
        parts, groups = emit.dim(chunks), emit.dim(column_groups)
        cursor = emit.scratch("cursor", "int64", 1)
        here = Buffer(cursor, DType.I64, (1,))
        emit.store(here, index(0), e.begin)
        few_rows = self._for_few_rows(LEAST_ROWS - 1)
        with emit.repeat(emit.load(here, index(0)) < e.end):
            task = emit.bind(emit.load(here, index(0)), "task")
            *batch, part, group = unravel(emit, task, [*batch_sizes, parts, groups])
            most = tirx.min(e.end - task, index(self.call_blocks // group_blocks))
            taken = emit.opaque(tirx.min(most, groups - group), "taken")
            block = emit.bind(group * index(group_blocks), "block")
            count = emit.bind(tirx.min(taken * index(group_blocks), blocks - block), "blocks")
            first = emit.bind(part * index(self.parameters.chunk), "first")
            rows = emit.bind(tirx.min(index(self.parameters.chunk), total - first), "rows")
            with emit.when(rows > index(max(few_rows)) if few_rows else None):
                height = index(self.tile.rows)
                tiles = emit.opaque(tirx.truncdiv(rows + height - index(1), height), "tiles")
                padded = emit.bind(tiles * height, "padded")
                self._work(_Part(batch, first, rows, padded, block, count))
            for number, kernel in few_rows.items():
                with emit.when(rows == index(number)):
                    span = (index(0), index(1), first, first + rows)
                    kernel._columns(batch, block, count, span)
            emit.store(here, index(0), task + taken)
        return Work(product(form.batch) * chunks * column_groups, self._scratch_with(few_rows))

    def _work(self, part: _Part) -> None:
        emit = self.emit_
        whole, rest = divmod(self.depth, self.stretch)
        vector = tirx.Ramp(index(0), index(1), COLUMNS)
        with emit.loop("zero", emit.bind(part.blocks * part.padded)) as line:
            start, lanes = match(line * index(COLUMNS), vector)
            emit.store(self.sums, start + lanes, const(0.0, "float32"))
        with emit.loop("stretch", index(whole)) as number:
            self._stretch(part, emit.bind(number * index(self.stretch), "k0"), self.stretch)
        if rest:
            self._stretch(part, index(whole * self.stretch), rest)
        self._finish(part)

    def _stretch(self, part: _Part, start: Expr, length: int) -> None:
        """Adds the terms from `start` on to all sums of a part."""
        emit = self.emit_
        self._copy_rows(part, start, length)
        width = self.tile.blocks
        tiles = emit.opaque(tirx.truncdiv(part.blocks, index(width)), "tiles")
        with emit.loop("columns", tiles) as tile:
            self._rows_of(part, start, length, emit.bind(tile * index(width)), width)
        if width > 1:
            done = emit.bind(tiles * index(width), "done")
            with emit.loop("single", emit.bind(part.blocks - done), start=done) as block:
                self._rows_of(part, start, length, block, 1)

    def _rows_of(self, part: _Part, start: Expr, length: int, block: Expr, width: int) -> None:
        """All row tiles for a column tile that starts at a block of the part."""
        emit, height = self.emit_, self.tile.rows
        tiles = emit.opaque(tirx.truncdiv(part.rows, index(height)), "tiles")
        with emit.loop("rows", tiles) as tile:
            self._add(part, start, length, block, tile, Tile(height, width))
        left = emit.bind(part.rows - tiles * index(height), "left")
        least = 0
        for most in self._last():
            with emit.when(left > index(least), left <= index(most)):
                self._add(part, start, length, block, tiles, Tile(most, width))
            least = most

    def _last(self) -> list[int]:
        """Heights that the last tile of a part may have."""
        height, total = self.tile.rows, self.form.rows[1]
        if not isinstance(total, int):
            return [*(h for h in _LAST_ROWS if h < height), height]
        ends = {self.parameters.chunk % height, total % self.parameters.chunk % height}
        return sorted(ends - {0})

    def _add(
        self, part: _Part, start: Expr, length: int, block: Expr, number: Expr, tile: Tile
    ) -> None:
        """Adds `length` terms to the sums of row tile `number`."""
        emit, form = self.emit_, self.form
        vector = tirx.Ramp(index(0), index(1), COLUMNS)
        first = emit.bind(number * index(self.tile.rows))
        spots = [
            [
                tirx.Ramp(
                    emit.bind(self._sum_offset(part, first + index(i), at)), index(1), COLUMNS
                )
                for at in [emit.bind(block + index(j)) for j in range(tile.blocks)]
            ]
            for i in range(tile.rows)
        ]
        sums = [
            [emit.registers("sum", DType.F32, COLUMNS) for _ in range(tile.blocks)]
            for _ in range(tile.rows)
        ]
        for row, registers in zip(spots, sums, strict=True):
            for spot, register in zip(row, registers, strict=True):
                emit.store(register, vector, emit.load(self.sums, spot))
        blocks = [emit.bind(part.block + block + index(j)) for j in range(tile.blocks)]
        lines = emit.bind(first * index(self.stretch), "lines")

        def accumulate(base: Expr, k: Expr) -> None:
            term = [start + k]
            vectors = [emit.bind(form.right(part.batch, b, vector, term)) for b in blocks]
            for i in range(tile.rows):
                element = emit.load(self.lines, base + index(i * _RUN))
                for j in range(tile.blocks):
                    wide = tirx.Broadcast(element, COLUMNS)
                    emit.store(
                        sums[i][j], vector, emit.load(sums[i][j], vector) + wide * vectors[j]
                    )

        runs, rest = divmod(length, _RUN)
        with emit.loop("run", index(runs)) as run:
            base = emit.bind(lines + run * index(self.tile.rows * _RUN))
            term = emit.bind(run * index(_RUN))
            self._prefetch(part, start, length, block, tile.blocks, number, run)
            with emit.loop("k", index(_RUN)) as k:
                accumulate(base + k, term + k)
        if rest:
            base = emit.bind(lines + index(runs * self.tile.rows * _RUN))
            with emit.loop("k", index(rest)) as k:
                accumulate(base + k, index(runs * _RUN) + k)
        for row, registers in zip(spots, sums, strict=True):
            for spot, register in zip(row, registers, strict=True):
                emit.store(self.sums, spot, emit.load(register, vector))

    def _prefetch(
        self,
        part: _Part,
        start: Expr,
        length: int,
        block: Expr,
        width: int,
        number: Expr,
        run: Expr,
    ) -> None:
        """Asks for a share of the next column tile's weights, which come from far away."""
        emit = self.emit_
        runs = length // _RUN
        tiles = -(-self.parameters.chunk // self.tile.rows)
        if not isinstance(self.form.rows[1], int):
            tiles = min(tiles, _FEW_TILES)
        share = -(-length // (tiles * runs))
        step = emit.bind((number * index(runs) + run) * index(share))
        with emit.when(step < index(length)):
            for j in range(width):
                following = emit.bind(part.block + block + index(width + j))
                for i in range(share):
                    at = [following, start + step + index(i), index(0)]
                    self.e.evaluator.prefetch(self.weights, at)

    def _sum_offset(self, part: _Part, row: Expr, block: Expr) -> Expr:
        """Where the sums of a row for a block stand: column block after column block."""
        return (block * part.padded + row) * index(COLUMNS)

    def _copy_rows(self, part: _Part, start: Expr, length: int) -> None:
        """Copies a stretch of each row: runs of terms, within a run the rows of a tile."""
        emit, height = self.emit_, self.tile.rows
        runs, rest = divmod(length, _RUN)
        vector = tirx.Ramp(index(0), index(1), _RUN)
        with emit.loop("row", part.rows) as row:
            tile = emit.opaque(tirx.truncdiv(row, index(height)), "tile")
            line = emit.bind(row - tile * index(height))
            place = emit.bind(tile * index(height * self.stretch) + line * index(_RUN))
            at = emit.bind(part.first + row)

            def copy(run: Expr, lane: Expr) -> None:
                term = emit.bind(start + run * index(_RUN))
                base = emit.bind(place + run * index(height * _RUN))
                if isinstance(lane, tirx.Ramp):
                    source = tirx.Ramp(term, index(1), _RUN)
                    target = tirx.Ramp(base, index(1), _RUN)
                else:
                    source, target = term + lane, base + lane
                element = self.form.left(part.batch, part.block, (index(0), at), [source])
                emit.store(self.lines, target, element)

            if runs:
                with emit.loop("run", index(runs)) as run:
                    copy(run, vector)
            if rest:
                with emit.loop("lane", index(rest)) as lane:
                    copy(index(runs), lane)

    def _finish(self, part: _Part) -> None:
        """Applies the epilogue to the sums of a part and stores the results."""
        emit, form = self.emit_, self.form
        columns = form.columns
        ragged = not (isinstance(columns, int) and columns % COLUMNS == 0)
        whole = part.blocks
        if ragged:
            full = emit.dim(columns // COLUMNS)
            whole = emit.bind(tirx.max(tirx.min(part.blocks, full - part.block), index(0)), "whole")
        with emit.loop("line", part.rows) as line:
            row = (index(0), emit.bind(part.first + line))

            def store(block: Expr, lanes: Expr | None) -> None:
                start = emit.bind(self._sum_offset(part, line, block))
                sums = sums_from(emit, self.sums, start)
                self._store(part.batch, [emit.bind(part.block + block)], row, [sums], lanes)

            with emit.loop("block", whole) as block:
                store(block, None)
            if ragged:
                with emit.when(whole < part.blocks):
                    store(whole, emit.dim(columns - columns // COLUMNS * COLUMNS))


def _chunk(rows: Dim) -> int:
    """Rows of a part: all when they are few, else about as many in each."""
    if not isinstance(rows, int):
        return _ROWS
    parts = max(1, round(rows / _ROWS))
    return max(1, min(rows, -(-rows // parts // _TILE_ROWS) * _TILE_ROWS))


def _stretch(depth: int) -> int:
    """Length of all stretches but the last: whole runs, as equal as possible."""
    count = max(1, round(depth / _DEPTH))
    return -(-depth // count // _RUN) * _RUN if depth > _RUN else depth
