"""3×3 convolutions by Winograd's minimal filtering (see `bireme.ir.winograd`).

A task takes a run of output tiles and a group of filter blocks: it transforms the input tiles of
all channels, multiplies them point by point with the transformed filters, as (m + 2)² small matrix
products over the channels, and transforms the products back, element-wise ops and stores included.
Transformed inputs and products of one column of register tiles stay in the second-level cache;
filters are read once a task, front to back. Tiles at the lower and right edge may reach outside:
they read the last row or column again, which takes no part in the outputs that exist, and those
alone are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tvm import tirx

from bireme.codegen.abi import workspace_view
from bireme.codegen.parameters import Space
from bireme.codegen.templates import contraction, contraction_form
from bireme.codegen.templates.common import Emission, Work, estimate, unravel
from bireme.codegen.templates.contraction_form import up_to
from bireme.codegen.templates.tiles import COLUMNS, Tile, choose_whole_tile, fits
from bireme.codegen.tir import Buffer, Emitter, Expr, const, index, match
from bireme.ir import Array, Dim, DType, Graph, Op, ceildiv, product
from bireme.ir.winograd import TAPS, transforms
from bireme.targets.description import InstructionSet

# Image, row and column of the first output of a tile.
Position = tuple[Expr, Expr, Expr]

# Bytes of transformed inputs and products of a task: they should stay in the second-level cache.
_TASK_BYTES = 576 << 10
# Output tiles of a task, whatever they take.
_LEAST_TILES = 12
_MANY_TILES = 24
# Tasks to have, as long as each has so many filter blocks.
_LEAST_TASKS = 8
_LEAST_GROUP = 4


def matches(graph: Graph) -> bool:
    """Whether the group is a convolution with transformed filters."""
    anchor = contraction.anchor_of(graph)
    return anchor is not None and anchor.name == "conv" and anchor.attrs["winograd"] > 0


@dataclass(frozen=True)
class Form:
    """A convolution as the template sees it: how many output tiles there are, points of a tile, and
    blocks of channels and filters.
    """

    tiles: Dim
    points: int
    channel_blocks: int
    filter_blocks: int


class Parameters(contraction_form.Parameters):
    """A task takes `chunk` output tiles and `group` filter blocks; `rows` × `blocks` is the
    register tile of the matrix products.
    """


def space(form: Form, level: InstructionSet) -> Space[Parameters]:
    """What may be chosen: the division into tasks, which all levels share, and the tile."""
    chunk, group = divide(form)
    tile = choose_whole_tile(level, chunk, min(form.filter_blocks, 2))
    return Space(
        Parameters(chunk, group, tile.rows, tile.blocks),
        {
            "chunk": up_to(form.tiles, (7, 14, 21, 28, 42, 56, 84), chunk),
            "group": up_to(form.filter_blocks, (2, 4, 8, 16, 32, 64), group),
            "rows": up_to(form.tiles, range(1, level.registers), tile.rows),
            "blocks": up_to(form.filter_blocks, (1, 2, 4), tile.blocks),
        },
        lambda p: p.blocks <= p.group and fits(level, Tile(p.rows, p.blocks)),
        frozenset({"chunk", "group"}),
    )


def divide(form: Form) -> tuple[int, int]:
    """Chunk and group that give tasks whose data fit in a cache, of equal size as far as the number
    of output tiles is known.
    """
    of_a_tile = form.points * COLUMNS * (form.channel_blocks + 2) * 4
    most = max(_LEAST_TILES, _TASK_BYTES // of_a_tile)
    typical = max(1, estimate(form.tiles))
    groups = max(1, form.filter_blocks // _LEAST_GROUP)
    # Tiles are cut finer for the sake of threads only while a task has some register tiles.
    wanted = min(-(-_LEAST_TASKS // groups), typical // _MANY_TILES)
    chunks = max(-(-typical // most), wanted)
    chunk = -(-typical // chunks) if isinstance(form.tiles, int) else most
    group = form.filter_blocks
    while group >= 2 * _LEAST_GROUP and chunks * -(-form.filter_blocks // group) < _LEAST_TASKS:
        group = -(-group // 2)
    return chunk, group


def emit(e: Emission) -> Work:
    """Emits the kernel of a group that `matches`."""
    return _Kernel(e).emit()


class _Kernel:
    def __init__(self, e: Emission) -> None:
        anchor = contraction.anchor_of(e.graph)
        assert anchor is not None
        self.e, self.conv = e, anchor
        self.size: int = anchor.attrs["winograd"]
        self.points = self.size + TAPS - 1
        self.x, weights = anchor.operands
        self.filters = e.arguments[e.graph.inputs.index(weights)]
        batch, blocks, self.height, self.width, _ = anchor.result.type.shape
        self.grid = (batch, ceildiv(self.height, self.size), ceildiv(self.width, self.size))
        depth = weights.type.shape[3]
        assert isinstance(blocks, int)
        assert isinstance(depth, int)
        self.blocks, self.depth = blocks, depth
        form = Form(product(self.grid), self.points**2, depth, blocks)
        self.parameters = e.choose(space(form, e.level))
        self.tile = Tile(
            self.parameters.rows, min(self.parameters.blocks, self.parameters.group, blocks)
        )
        # Register tiles are whole: what they calculate of output tiles that do not exist is unused.
        self.pitch = -(-self.parameters.chunk // self.tile.rows) * self.tile.rows
        products = self.points**2 * self.pitch * COLUMNS
        sizes = (products * depth, products * self.tile.blocks, self.size**2 * COLUMNS)
        self.workspace = sum(sizes) * 4
        starts = (0, sizes[0] * 4, (sizes[0] + sizes[1]) * 4)
        self.data, self.products, self.outputs = (
            workspace_view(e.emit, e.workspace, index(start), DType.F32) for start in starts
        )

    def emit(self) -> Work:
        e, emit = self.e, self.e.emit
        chunk, group = self.parameters.chunk, self.parameters.group
        parts, groups = ceildiv(product(self.grid), chunk), -(-self.blocks // group)
        chunks, total = emit.dim(parts), emit.dim(product(self.grid))
        with emit.loop("task", e.end - e.begin, start=e.begin) as task:
            part, column_group = unravel(emit, task, [chunks, index(groups)])
            first = emit.bind(part * index(chunk), "first")
            count = emit.bind(tirx.min(index(chunk), total - first), "count")
            # Groups of the same tiles follow each other and find them transformed.
            with emit.when(tirx.any(tirx.EQ(task, e.begin), tirx.EQ(column_group, index(0)))):
                self._transform_inputs(first, count)
            start = emit.bind(column_group * index(group), "block")
            blocks = emit.bind(tirx.min(index(group), index(self.blocks) - start))
            self._each_column(start, blocks, first, count)
        return Work(parts * groups, self.workspace)

    def _each_column(self, start: Expr, blocks: Expr, first: Expr, count: Expr) -> None:
        """Products and results of a group of filter blocks, so many blocks at a time."""
        emit, wide = self.e.emit, self.tile.blocks
        whole = emit.bind(tirx.truncdiv(blocks, index(wide)))
        with emit.loop("column", whole) as column:
            block = emit.bind(start + column * index(wide), "block")
            self._column(block, wide, first, count)
        if wide == 1 or (self.blocks % wide == 0 and self.parameters.group % wide == 0):
            return
        done = emit.bind(whole * index(wide))
        with emit.loop("single", emit.bind(blocks - done)) as single:
            self._column(emit.bind(start + done + single, "block"), 1, first, count)

    def _column(self, block: Expr, width: int, first: Expr, count: Expr) -> None:
        self._multiply(block, Tile(self.tile.rows, width), count)
        with (
            self.e.emit.loop("part", width) as part,
            self._tiles(first, count) as (tile, position),
        ):
            self._transform_outputs(block + part, (tile, part, width), position)

    @contextmanager
    def _tiles(self, first: Expr, count: Expr) -> Iterator[tuple[Expr, Position]]:
        """A loop over the tiles of a task, row by row: number within the task, and position."""
        emit = self.e.emit
        batch, rows, columns = (emit.dim(d) for d in self.grid)
        end = emit.bind(first + count, "end")
        top = emit.opaque(tirx.truncdiv(first, columns), "top")
        bottom = emit.opaque(tirx.truncdiv(end + columns - index(1), columns), "bottom")
        with emit.loop("line", emit.bind(bottom - top), start=top) as line:
            image, row = unravel(emit, line, [batch, rows])
            row = emit.bind(row * index(self.size), "row")
            before = emit.bind(line * columns)
            start = emit.bind(tirx.max(first, before))
            stop = tirx.min(end, before + columns)
            with emit.loop("tile", emit.bind(stop - start), start=start) as tile:
                column = emit.bind((tile - before) * index(self.size), "column")
                yield emit.bind(tile - first), (image, row, column)

    # --- the three steps --------------------------------------------------------------------------

    def _transform_inputs(self, first: Expr, count: Expr) -> None:
        """Input tiles of all channels, as `[channel block, point, tile, lane]`."""
        e, emit, points = self.e, self.e.emit, self.points
        matrix, lanes = transforms(self.size).input, _lanes()
        with (
            emit.loop("channels", self.depth) as block,
            self._tiles(first, count) as (tile, (batch, row, column)),
        ):
            rows = self._within(row, self.height)
            columns = self._within(column, self.width)
            values = [
                [e.evaluator.at(self.x, [batch, block, y, x, lanes]) for y in rows] for x in columns
            ]
            halves = [_to_points(emit, matrix, line) for line in values]
            start = emit.bind(block * index(points**2 * self.pitch) + tile)
            for i, line in enumerate(zip(*halves, strict=True)):
                for j, value in enumerate(_to_points(emit, matrix, line)):
                    offset = start + index((i * points + j) * self.pitch)
                    emit.store(self.data, _vector(offset * index(COLUMNS)), value)

    def _within(self, start: Expr, size: Dim) -> list[Expr]:
        """Where a tile reads along an axis with so many outputs."""
        emit, reach = self.e.emit, self.points
        places = [start + index(i) for i in range(reach)]
        if not self._is_ragged(size):
            return [emit.bind(place) for place in places]
        last = emit.dim(size + (TAPS - 2))
        return [emit.bind(tirx.min(place, last)) for place in places]

    def _is_ragged(self, size: Dim) -> bool:
        """Whether the last tile along an axis may have outputs that do not exist."""
        return not isinstance(size, int) or size % self.size != 0

    def _multiply(self, block: Expr, tile: Tile, count: Expr) -> None:
        """Products of all tiles with `tile.blocks` filter blocks, as `[point, tile, lane]`."""
        emit, lanes = self.e.emit, _lanes()
        per_block = self.points**2 * self.depth * COLUMNS
        runs = emit.bind(tirx.truncdiv(count + index(tile.rows - 1), index(tile.rows)), "runs")
        starts = [
            emit.bind((block + index(j)) * index(per_block * COLUMNS)) for j in range(tile.blocks)
        ]
        with emit.loop("point", self.points**2) as point, emit.loop("run", runs) as run:
            row = emit.bind(run * index(tile.rows))
            sums = [
                emit.registers("sum", DType.F32, COLUMNS) for _ in range(tile.rows * tile.blocks)
            ]
            for register in sums:
                emit.store(register, lanes, const(0.0, "float32"))
            with emit.loop("block", self.depth) as k, emit.loop("c", self._channels(k)) as channel:
                at = (point * index(self.depth) + k) * index(COLUMNS) + channel
                right = [
                    emit.bind(emit.load(self.filters, _vector(s + at * index(COLUMNS))))
                    for s in starts
                ]
                place = (k * index(self.points**2) + point) * index(self.pitch) + row
                base = emit.bind(place * index(COLUMNS) + channel)
                for i in range(tile.rows):
                    element = emit.load(self.data, base + index(i * COLUMNS))
                    for j, vector in enumerate(right):
                        register = sums[i * tile.blocks + j]
                        scalar, vector = match(element, vector)
                        emit.store(register, lanes, emit.load(register, lanes) + scalar * vector)
            base = emit.bind((point * index(self.pitch) + row) * index(tile.blocks * COLUMNS))
            for number, register in enumerate(sums):
                target = _vector(base + index(number * COLUMNS))
                emit.store(self.products, target, emit.load(register, lanes))

    def _channels(self, block: Expr) -> Expr:
        """How many channels of a block exist."""
        spare = self.conv.attrs["spare"]
        if not spare:
            return index(COLUMNS)
        exist = index(self.depth * COLUMNS - spare)
        return self.e.emit.bind(tirx.min(index(COLUMNS), exist - block * index(COLUMNS)))

    def _transform_outputs(
        self, block: Expr, place: tuple[Expr, Expr, int], position: Position
    ) -> None:
        """The results of one tile and filter block, from where their products stand."""
        emit, size, points = self.e.emit, self.size, self.points
        tile, part, width = place
        matrix = transforms(size).output
        start = emit.bind((tile * index(width) + part) * index(COLUMNS))
        step = self.pitch * width * COLUMNS

        def product_at(i: int, j: int) -> Expr:
            return emit.load(self.products, _vector(start + index((i * points + j) * step)))

        halves = [
            _from_points(emit, matrix, [product_at(i, j) for i in range(points)])
            for j in range(points)
        ]
        for i, line in enumerate(zip(*halves, strict=True)):
            for j, value in enumerate(_from_points(emit, matrix, line)):
                emit.store(self.outputs, _vector(index((i * size + j) * COLUMNS)), value)
        self._store(emit.bind(block), position)

    def _store(self, block: Expr, position: Position) -> None:
        """Applies the epilogue to the outputs of a tile that exist, and stores them."""
        e, emit = self.e, self.e.emit
        batch, row, column = position
        rows, columns = self._existing(row, self.height), self._existing(column, self.width)
        with emit.loop("y", rows) as y, emit.loop("x", columns) as x, emit.scope():
            start = emit.bind((y * index(self.size) + x) * index(COLUMNS))
            value = emit.bind(emit.load(self.outputs, _vector(start)))
            e.evaluator.define(self.conv.result, lambda _: value)
            where = [batch, block, emit.bind(row + y), emit.bind(column + x), _lanes()]
            for output, buffer in zip(e.graph.outputs, e.results, strict=True):
                contraction.store_output(e, output, buffer, where)
        for output, buffer in zip(e.graph.outputs, e.results, strict=True):
            owner = output.owner
            if owner is not None and owner.name == "pad":
                self._clear_border(owner, buffer, block, position, (rows, columns))

    def _existing(self, start: Expr, size: Dim) -> Expr:
        """How many outputs of a tile exist along an axis."""
        if not self._is_ragged(size):
            return index(self.size)
        return self.e.emit.bind(tirx.min(index(self.size), self.e.emit.dim(size) - start))

    def _clear_border(
        self,
        pad: Op,
        buffer: Buffer,
        block: Expr,
        position: Position,
        existing: tuple[Expr, Expr],
    ) -> None:
        """Zeroes the border of a padded result around a tile that stands at an edge."""
        emit = self.e.emit
        batch, row, column = position
        top, left = (emit.dim(d) for d in pad.attrs["before"][2:4])
        bottom, right = (emit.dim(d) for d in pad.attrs["after"][2:4])
        height, width = emit.dim(self.height), emit.dim(self.width)
        row_end, column_end = emit.bind(row + existing[0]), emit.bind(column + existing[1])

        def clear(rows: tuple[Expr, Expr], columns: tuple[Expr, Expr]) -> None:
            """Of rows and columns of the padded result, ends excluded."""
            with (
                emit.loop("y", emit.bind(rows[1] - rows[0]), start=rows[0]) as y,
                emit.loop("x", emit.bind(columns[1] - columns[0]), start=columns[0]) as x,
            ):
                offset = buffer.offset([batch, block, y, x, _lanes()])
                emit.store(buffer, offset, const(0.0, "float32"))

        inner = (emit.bind(row + top), emit.bind(row_end + top))
        with emit.when(tirx.EQ(column, index(0))):
            clear(inner, (index(0), left))
        with emit.when(tirx.EQ(column_end, width)):
            clear(inner, (width + left, width + left + right))
        first = emit.bind(tirx.if_then_else(tirx.EQ(column, index(0)), index(0), column + left))
        past = tirx.if_then_else(tirx.EQ(column_end, width), right, index(0))
        across = (first, emit.bind(column_end + left + past))
        with emit.when(tirx.EQ(row, index(0))):
            clear((index(0), top), across)
        with emit.when(tirx.EQ(row_end, height)):
            clear((height + top, height + top + bottom), across)


# --- one dimension of the transforms --------------------------------------------------------------


def _to_points(emit: Emitter, matrix: Array, values: Sequence[Expr]) -> list[Expr]:
    """`matrix @ values` for rows of which neighbours, for points p and -p, share all but a sign."""
    first, *pairs, last = matrix
    found = [_combined(emit, first, values)]
    for plus, minus in zip(pairs[::2], pairs[1::2], strict=True):
        even = _combined(emit, (plus + minus) / 2, values)
        odd = _combined(emit, (plus - minus) / 2, values)
        found += [emit.bind(even + odd), emit.bind(even - odd)]
    return [*found, _combined(emit, last, values)]


def _from_points(emit: Emitter, matrix: Array, values: Sequence[Expr]) -> list[Expr]:
    """`matrix @ values` for columns of which neighbours share all but a sign."""
    first, *inner, last = values
    terms = [first]
    for plus, minus in zip(inner[::2], inner[1::2], strict=True):
        terms += [emit.bind(plus + minus), emit.bind(plus - minus)]
    rows = matrix.copy()
    for i in range(1, len(values) - 1, 2):
        rows[:, i] = (matrix[:, i] + matrix[:, i + 1]) / 2
        rows[:, i + 1] = (matrix[:, i] - matrix[:, i + 1]) / 2
    return [_combined(emit, row, [*terms, last]) for row in rows]


def _combined(emit: Emitter, factors: Array, values: Sequence[Expr]) -> Expr:
    """Sum of products; terms with factor 0 do not exist, those with 1 come first."""
    terms = sorted(
        ((float(f), v) for f, v in zip(factors, values, strict=True) if f != 0),
        key=lambda term: term[0] != 1,
    )
    total: Expr = None
    for factor, value in terms:
        scaled = value if factor == 1 else _scaled(factor, value)
        total = scaled if total is None else total + scaled
    return emit.bind(total)


def _scaled(factor: float, value: Expr) -> Expr:
    wide, value = match(const(factor, "float32"), value)
    return wide * value


def _lanes() -> Expr:
    return tirx.Ramp(index(0), index(1), COLUMNS)


def _vector(start: Expr) -> Expr:
    return tirx.Ramp(start, index(1), COLUMNS)
