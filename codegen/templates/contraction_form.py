"""A matrix product or convolution as templates see it, and its division into tasks and tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bireme.codegen.evaluate import Index
from bireme.codegen.parameters import Space
from bireme.codegen.templates.common import estimate
from bireme.codegen.templates.dot import SINGLE, Products
from bireme.codegen.templates.tiles import (
    COLUMNS,
    ROW_GROUP,
    TALL,
    Tile,
    choose_tile,
    equal_chunk,
    fits,
)
from bireme.codegen.tir import Expr
from bireme.ir import Dim, Value, ceildiv, product
from bireme.targets.description import InstructionSet

# Bytes of weights that the column blocks of one task take: they should stay in the second-level
# cache.
_GROUP_BYTES = 256 << 10
_LEAST_GROUP = 4
# What tasks of an odd number of blocks cost against those of whole tiles of two.
_ODD_BLOCK = 1.08
# Tasks to have at least, so that threads of unequal speed finish together.
_LEAST_TASKS = 16

RowIndex = tuple[Expr, Expr]


@dataclass(frozen=True)
class Form:
    """A contraction as the template sees it. Index functions take the batch index first.

    `rows` are two axes: an output row and a position in it (a matrix has one output row). `terms`
    are the loops of the sum. `left(batch, block, row, term)` gives the left element (for depthwise
    convolution a vector, one element a column), `right(batch, block, lane, term)` the right one at
    a lane or a vector of lanes, `place(batch, block, row, lane)` the index of the result there.

    `gather_right` says that right elements are scattered in memory: each column tile is gathered in
    scratch memory first; with `turns` those of a column follow each other, and squares of them are
    turned in registers. `unroll` writes the loops of the sum out, so that neighbouring rows share
    what they load. `spare` steps at the end of the last loop are left out in the last step of the
    first one. `products` says what elements are: a term may be a pair of them. `ahead(block, term)`
    asks for a block's right elements for a term, counted through all loops of the sum, before they
    are needed: worth it where they come from far away.
    """

    anchor: Value
    batch: tuple[Dim, ...]
    rows: tuple[Dim, Dim]
    columns: Dim
    terms: tuple[Dim, ...]
    left: Callable[[Index, Expr, RowIndex, Index], Expr]
    right: Callable[[Index, Expr, Expr, Index], Expr]
    place: Callable[[Index, Expr, RowIndex, Expr], Index]
    gather_right: bool = False
    turns: bool = False
    unroll: bool = False
    products: Products = SINGLE
    spare: int = 0
    ahead: Callable[[Expr, Expr], None] | None = None

    @property
    def depth(self) -> Dim:
        return product(self.terms)

    @property
    def blocks(self) -> Dim:
        return ceildiv(self.columns, COLUMNS)


@dataclass(frozen=True)
class Parameters:
    """A task takes `chunk` positions where there is one output row, else output rows, and `group`
    column blocks; `rows` × `blocks` is the register tile.
    """

    chunk: int
    group: int
    rows: int
    blocks: int


def space(form: Form, level: InstructionSet) -> Space[Parameters]:
    """What may be chosen: the division into tasks, which all levels share, and the tile."""
    chunk, group = divide(form)
    tile = tile_of(form, level, group, chunk)
    single = form.rows[0] == 1
    lengths = [ROW_GROUP * n // 4 for n in (1, 2, 4, 8, 16)] if single else (1, 2, 3, 4, 7, 14, 28)
    return Space(
        Parameters(chunk, group, tile.rows, tile.blocks),
        {
            "chunk": up_to(form.rows[1 if single else 0], lengths, chunk),
            "group": up_to(form.blocks, (1, 2, 4, 8, 16, 32, 64), group),
            "rows": up_to(form.rows[1], range(1, level.registers), tile.rows),
            "blocks": [1] if form.unroll else up_to(form.blocks, (1, 2, 4), tile.blocks),
        },
        lambda p: p.blocks <= p.group and fits(level, Tile(p.rows, p.blocks)),
        frozenset({"chunk", "group"}),
    )


def tile_of(form: Form, level: InstructionSet, group: int, chunk: int = ROW_GROUP) -> Tile:
    """The analytic register tile, in tasks of so many column blocks and positions."""
    row = form.rows[1] if isinstance(form.rows[1], int) else None
    grouped = form.rows[0] == 1 and row is None
    if row is not None and form.rows[0] == 1:
        row = min(row, chunk)
    depth = form.depth if isinstance(form.depth, int) else None
    blocks = form.blocks if isinstance(form.blocks, int) else _LEAST_GROUP
    width = 1 if form.unroll else min(blocks, group)
    return choose_tile(level, row, width, depth, grouped, broadcasts=form.products.broadcasts)


def up_to(most: Dim, values: Iterable[int], default: int) -> list[int]:
    """Those of `values` that a size leaves room for, and the default, ascending."""
    return sorted({default, *(v for v in values if not isinstance(most, int) or v <= most)})


def divide(form: Form) -> tuple[int, int]:
    """Chunk and group that give tasks of some 10⁵ to 10⁶ products, with the weights of each within
    a cache, and halves of the tasks, which two threads take, that last equally long.
    """
    depth = max(1, estimate(form.depth))
    blocks = form.blocks
    least = 1 if form.unroll else _LEAST_GROUP
    group = max(least, _GROUP_BYTES // (depth * COLUMNS * 4) // _LEAST_GROUP * _LEAST_GROUP)
    if isinstance(blocks, int):
        group = max(1, min(group, blocks))
    if form.rows[0] == 1:
        chunk = equal_chunk(form.rows[1], ROW_GROUP, TALL)
    else:
        chunk = equal_chunk(form.rows[0], max(1, ROW_GROUP // max(1, estimate(form.rows[1]))))
    others = max(1, estimate(product(form.batch) * parts_of(form, chunk)))
    while group >= 2 * least and others * -(-estimate(blocks) // group) < _LEAST_TASKS:
        group //= 2
    group = even_group(blocks, group, others)
    if not form.products.broadcasts:
        group += group % 2  # tiles of one block would load a left element for every product
    return chunk, group


def even_group(blocks: Dim, most: int, others: int) -> int:
    """Blocks of a task, at most `most`, such that the longer half of the tasks is short, where
    there are `others` times as many tasks as groups of blocks.
    """
    if others % 2 == 0 or others >= _LEAST_TASKS or not isinstance(blocks, int):
        return most

    def longer_half(group: int) -> float:
        tasks = -(-blocks // group)
        first = tasks // 2 * group
        return max(first, blocks - first) * (1 if group % 2 == 0 else _ODD_BLOCK)

    return min(range(min(most + 1, blocks), 0, -1), key=longer_half)


def parts_of(form: Form, chunk: int) -> Dim:
    """Number of parts of `chunk` positions, or output rows."""
    return ceildiv(form.rows[1] if form.rows[0] == 1 else form.rows[0], chunk)
