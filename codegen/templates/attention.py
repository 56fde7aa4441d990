"""Attention: two matrix products with a softmax between them, without the scores in memory.

    softmax(scores(Q Kᵀ)) V

where `scores` are element-wise ops: a scale, masks, a bias. A task takes some rows of queries of
one head. Keys and values of the head are copied to scratch memory, a *stretch* of them at a time;
consecutive tasks of a call that read the same stretch share the copy. A register tile of rows then
meets all keys of the stretch, its scores become powers in place, and the powers meet the values.

Where a head has more keys than a stretch, the maximum and the sum of a row's powers are kept from
stretch to stretch, and sums are rescaled when the maximum rises (Milakov and Gimelshein, "Online
normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022), so that scratch
memory has one size whatever the lengths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tvm import tirx

from bireme.codegen.abi import workspace_view
from bireme.codegen.evaluate import Index
from bireme.codegen.index import consecutive
from bireme.codegen.parameters import Space
from bireme.codegen.templates.attention_form import Form
from bireme.codegen.templates.attention_panels import Panels
from bireme.codegen.templates.attention_softmax import (
    Held,
    Softmax,
    Stretch,
    blocks_of,
    pieces,
    whole_vector,
)
from bireme.codegen.templates.common import Emission, Work, estimate, unravel
from bireme.codegen.templates.contraction_form import up_to
from bireme.codegen.templates.tiles import COLUMNS, Tile, choose_tile, fits, last_heights
from bireme.codegen.tir import Buffer, Expr, const, index, match, plus, times
from bireme.ir import DType, Graph, ceildiv, product
from bireme.targets.description import InstructionSet

# Bytes of keys and values that one stretch may take: they should stay in the second-level cache.
_STRETCH_BYTES = 256 << 10
_LEAST_SPAN, _MOST_SPAN = 64, 512
# Rows of a task where there are many, and where only run time knows how many; then tasks to have
# at least, so that threads finish together, as long as they have so many rows.
_MOST_ROWS, _ANY_ROWS = 252, 84
_LEAST_TASKS, _LEAST_ROWS = 8, 42


@dataclass(frozen=True)
class Parameters:
    """A task takes `chunk` rows of queries, a stretch `span` keys; `rows` × `blocks` is the
    register tile of both products.
    """

    chunk: int
    span: int
    rows: int
    blocks: int


def space(form: Form, level: InstructionSet) -> Space[Parameters]:
    """What may be chosen; the division into tasks is shared by all levels."""
    chunk, span = _chunk(form), _span(form)
    # Tiles of few rows: whole vectors of columns are read from end to end, rows from many places.
    tile = choose_tile(level, None, 2, form.depth, True)
    if isinstance(form.rows, int) and form.rows < tile.rows:
        tile = Tile(form.rows, tile.blocks)
    return Space(
        Parameters(chunk, span, tile.rows, tile.blocks),
        {
            "chunk": up_to(form.rows, (42, 84, 126, 168, 252, 336), chunk),
            "span": sorted({span, 64, 128, 256, 512, 1024}),
            "rows": up_to(form.rows, range(1, level.registers), tile.rows),
            "blocks": sorted({1, 2, 4, tile.blocks}),
        },
        lambda p: fits(level, Tile(p.rows, p.blocks)),
        frozenset({"chunk"}),
    )


def _chunk(form: Form) -> int:
    """Rows of a task: few and long tasks share copies, many share threads, and an even number of
    tasks two of them.
    """
    if not isinstance(form.rows, int):
        return _ANY_ROWS
    heads = max(1, estimate(product(form.batch)))
    parts = max(
        -(-form.rows // _MOST_ROWS), min(-(-_LEAST_TASKS // heads), form.rows // _LEAST_ROWS)
    )
    if heads % 2 and parts % 2 and parts > 1:
        parts -= 1
    return -(-form.rows // max(1, parts))


def _span(form: Form) -> int:
    """Keys of a stretch: all, or about as many in each."""
    most = _STRETCH_BYTES // (4 * (form.depth + form.width)) // COLUMNS * COLUMNS
    most = max(_LEAST_SPAN, min(_MOST_SPAN, most))
    if not isinstance(form.keys, int):
        return most
    each = -(-form.keys // max(1, -(-form.keys // most)))
    return max(1, -(-each // COLUMNS)) * COLUMNS


def matches(graph: Graph) -> bool:
    """Whether the group is attention in float32."""
    return Form.of(graph) is not None


def emit(e: Emission) -> Work:
    """Emits the kernel of a group that `matches`."""
    form = Form.of(e.graph)
    assert form is not None
    return _Kernel(e, form).emit()


class _Kernel:
    def __init__(self, e: Emission, form: Form) -> None:
        self.e, self.form, self.emit_ = e, form, e.emit
        self.parameters = parameters = e.choose(space(form, e.level))
        self.span = -(-parameters.span // COLUMNS) * COLUMNS
        self.single = isinstance(form.keys, int) and form.keys <= self.span
        self.tile = Tile(parameters.rows, parameters.blocks)
        # Lines a power of two apart would share few places of the first-level cache.
        self.pitch = self.span + COLUMNS
        # One tile of rows reads values only once: they are not worth a copy.
        once = isinstance(form.rows, int) and form.rows <= self.tile.rows
        self.panels = Panels(e, form, self.span, copies_values=not once)
        # Rows whose state is kept: those of a task, or of a tile that is done with at once.
        kept = self.tile.rows if self.single else parameters.chunk + self.tile.rows
        sizes = {
            "scores": self.tile.rows * self.pitch,
            "sums": kept * form.value_blocks * COLUMNS,
            "tops": -(-kept // COLUMNS) * COLUMNS,
            "totals": -(-kept // COLUMNS) * COLUMNS,
            "factors": -(-self.tile.rows // COLUMNS) * COLUMNS,
        }
        self.bytes = self.panels.bytes
        views = {}
        for name, elements in sizes.items():
            views[name] = workspace_view(e.emit, e.workspace, index(self.bytes), DType.F32)
            self.bytes += elements * 4
        self.held = Held(**views)
        self.softmax = Softmax(e, form, self.held, self.pitch, self.single)

    def emit(self) -> Work:
        e, emit, form = self.e, self.emit_, self.form
        batch_sizes = [emit.dim(d) for d in form.batch]
        total, keys = emit.dim(form.rows), emit.dim(form.keys)
        chunk = self.parameters.chunk
        parts = ceildiv(form.rows, chunk)
        stretches = emit.dim(1 if self.single else ceildiv(form.keys, self.span))
        packed = Buffer(emit.scratch("packed", "int64", 1), DType.I64, (1,))
        emit.store(packed, index(0), index(-1))
        with emit.loop("task", e.end - e.begin, start=e.begin) as task:
            head, part = unravel(emit, task, [index(1), emit.dim(parts)])
            batch = unravel(emit, head, batch_sizes)
            first = emit.bind(part * index(chunk), "first")
            rows = emit.bind(tirx.min(index(chunk), total - first), "rows")
            if not self.single:
                self._begin(rows)
            with emit.loop("stretch", stretches) as number:
                start = emit.bind(times(number, self.span), "start")
                count = emit.bind(tirx.min(index(self.span), keys - start), "count")
                place = emit.bind(plus(head * stretches, number), "place")
                stretch = Stretch(batch, start, count)
                with emit.when(tirx.NE(emit.load(packed, index(0)), place)):
                    self.panels.fill(stretch)
                    emit.store(packed, index(0), place)
                self._rows(stretch, first, rows)
            if not self.single:
                self._finish(batch, first, rows, index(0))
        return Work(product(form.batch) * parts, self.bytes)

    def _rows(self, at: Stretch, first: Expr, rows: Expr) -> None:
        """All row tiles of a task."""
        emit, height = self.emit_, self.tile.rows
        tiles = emit.opaque(tirx.truncdiv(rows, index(height)), "tiles")
        with emit.loop("rows", tiles) as tile:
            self._tile(at, first, emit.bind(tile * index(height)), height, None)
        done = emit.bind(tiles * index(height), "done")
        left = emit.bind(rows - done, "left")
        least = 0
        for most in self._last_heights():
            with emit.when(left > index(least), left <= index(most)):
                self._tile(at, first, done, most, left)
            least = most

    def _last_heights(self) -> list[int]:
        """Heights that the last tile of a task may have; the least that is enough is taken."""
        height, rows, chunk = self.tile.rows, self.form.rows, self.parameters.chunk
        if not isinstance(rows, int):
            return last_heights(height)
        return sorted({min(chunk, rows) % height, rows % chunk % height} - {0})

    def _tile(self, at: Stretch, first: Expr, local: Expr, height: int, exist: Expr | None) -> None:
        """Tile of `height` rows from `local` on of a task, of which perhaps only `exist` exist."""
        emit = self.emit_
        count = index(height) if exist is None else exist
        row = emit.bind(first + local, "row")
        state = index(0) if self.single else local
        self._multiply_keys(at, row, height, count)
        with emit.loop("line", count) as line:
            self.softmax.line(at, emit.bind(row + line), line, emit.bind(plus(state, line)))
        self._multiply_values(at, height, state)
        if self.single:
            self._finish(at.batch, row, count, state)

    # --- products ---------------------------------------------------------------------------------

    def _multiply_keys(self, at: Stretch, row: Expr, height: int, count: Expr) -> None:
        """Queries times keys, to `scores`."""
        emit, form = self.emit_, self.form
        # Rows that do not exist read what the last one reads; nothing of them is stored.
        last = emit.bind(plus(row, count) - index(1))
        rows = [emit.bind(tirx.min(plus(row, i), last)) for i in range(height)]

        def tile(block: Expr, width: int) -> None:
            sums = self._product(
                Tile(height, width),
                index(form.depth),
                lambda i, k: form.query(self.e.evaluator, at.batch, rows[i], k),
                lambda j, k: self.panels.keys_at(plus(block, j), k),
            )
            for i, line in enumerate(sums):
                for j, register in enumerate(line):
                    spot = emit.bind(plus(times(plus(block, j), COLUMNS), i * self.pitch))
                    place = consecutive(spot, COLUMNS)
                    emit.store(self.held.scores, place, whole_vector(emit, register))

        self._each_tile(blocks_of(emit, at.count), tile)

    def _multiply_values(self, at: Stretch, height: int, state: Expr) -> None:
        """Powers times values, to `sums`."""
        emit, form = self.emit_, self.form
        factors = None
        if not self.single:
            factors = [emit.bind(emit.load(self.held.factors, index(i))) for i in range(height)]

        def tile(block: Expr, width: int) -> None:
            spots = [
                [
                    consecutive(emit.bind(self._sum_at(plus(state, i), plus(block, j))), COLUMNS)
                    for j in range(width)
                ]
                for i in range(height)
            ]

            def before(i: int, j: int) -> Expr:
                if factors is None:
                    return const(0.0, "float32")
                held, factor = match(emit.load(self.held.sums, spots[i][j]), factors[i])
                return held * factor

            sums = self._product(
                Tile(height, width),
                at.count,
                lambda i, k: emit.load(self.held.scores, plus(k, i * self.pitch)),
                lambda j, k: self.panels.values_at(at, plus(block, j), k),
                before,
            )
            for line, places in zip(sums, spots, strict=True):
                for register, place in zip(line, places, strict=True):
                    emit.store(self.held.sums, place, whole_vector(emit, register))

        self._each_tile(index(form.value_blocks), tile)

    def _each_tile(self, blocks: Expr, tile: Callable[[Expr, int], None]) -> None:
        """Visits column blocks, as many of them together as the register tile has."""
        emit, width = self.emit_, self.tile.blocks
        tiles = emit.opaque(tirx.truncdiv(blocks, index(width)), "tiles")
        with emit.loop("columns", tiles) as number:
            tile(emit.bind(number * index(width)), width)
        if width > 1:
            done = emit.bind(tiles * index(width), "done")
            with emit.loop("single", emit.bind(blocks - done), start=done) as block:
                tile(block, 1)

    def _product(
        self,
        tile: Tile,
        depth: Expr,
        left: Callable[[int, Expr], Expr],
        right: Callable[[int, Expr], Expr],
        before: Callable[[int, int], Expr] = lambda i, j: const(0.0, "float32"),
    ) -> list[list[Buffer]]:
        """Sums of a register tile over `depth` terms, from what stood there before."""
        emit, vector = self.emit_, consecutive(0, COLUMNS)
        sums = [
            [emit.registers("sum", DType.F32, COLUMNS) for _ in range(tile.blocks)]
            for _ in range(tile.rows)
        ]
        for i, line in enumerate(sums):
            for j, register in enumerate(line):
                emit.store(register, vector, before(i, j))
        with emit.loop("k", depth) as k:
            columns = [emit.bind(right(j, k)) for j in range(tile.blocks)]
            for i, line in enumerate(sums):
                element = left(i, k)
                for register, column in zip(line, columns, strict=True):
                    scalar, wide = match(element, column)
                    emit.store(register, vector, whole_vector(emit, register) + scalar * wide)
        return sums

    # --- results ----------------------------------------------------------------------------------

    def _begin(self, rows: Expr) -> None:
        """The state of rows that have met no key."""
        emit = self.emit_
        zero = const(0.0, "float32")
        with emit.loop("row", rows) as row:
            emit.store(self.held.tops, row, const(float("-inf"), "float32"))
            emit.store(self.held.totals, row, zero)
            with emit.loop("block", index(self.form.value_blocks)) as block:
                place = consecutive(emit.bind(self._sum_at(row, block)), COLUMNS)
                emit.store(self.held.sums, place, zero)

    def _finish(self, batch: Index, first: Expr, rows: Expr, state: Expr) -> None:
        """Divides sums by the totals of their rows, and stores the results."""
        emit, form = self.emit_, self.form
        whole, rest = divmod(form.width, COLUMNS)
        with emit.loop("line", rows) as line:
            kept = emit.bind(plus(state, line))
            total = emit.bind(emit.load(self.held.totals, kept))
            scale = emit.opaque(const(1.0, "float32") / total, "scale")
            row = emit.bind(plus(first, line))
            element = partial(self._element, batch, row, kept, scale)
            with emit.loop("block", index(whole)) as block:
                element(block, consecutive(0, COLUMNS))
            for begin, lanes in pieces(rest):
                element(index(whole), consecutive(begin, lanes))

    def _element(
        self, batch: Index, row: Expr, kept: Expr, scale: Expr, block: Expr, lane: Expr
    ) -> None:
        e, emit, form = self.e, self.emit_, self.form
        base = emit.bind(self._sum_at(kept, block))
        held, wide = match(emit.load(self.held.sums, plus(base, lane)), scale)
        value = emit.bind(held * wide)
        where = [*batch, row, plus(emit.bind(times(block, COLUMNS)), lane)]
        with emit.scope():
            e.evaluator.define(form.mixed.result, lambda _: value)
            for result, buffer in zip(form.results, e.results, strict=True):
                target = [where[axis] for axis in result.axes]
                emit.store(buffer, buffer.offset(target), e.evaluator.at(result.value, where))

    def _sum_at(self, row: Expr, block: Expr) -> Expr:
        return times(plus(times(row, self.form.value_blocks), block), COLUMNS)
