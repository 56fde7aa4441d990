"""The register tile of a contraction: rows × column blocks that are accumulated in registers.

A step of the innermost loop multiplies one element of each of `rows` rows with `blocks` vectors of
columns. All accumulators, the vectors and one broadcast element must fit in the registers; within
that, a shape is best when few multiply-adds are spent on rows that do not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

from bireme.ir import Dim
from bireme.targets.description import InstructionSet

# Columns in a block: what the packed weights of the graph use on every level.
COLUMNS = 16
# Rows that a task takes at a time are a multiple of this, so that tiles of 2, 3, 4, 6, 7, 12 and 14
# fit.
ROW_GROUP = 84
# Rows of a tall register tile; parts of rows are best whole multiples of it.
TALL = 14
# Up to so many parts their number matters: with more, a part too many for one thread is little.
_FEW_PARTS = 64
# Fewer independent accumulators than this leave the multiply-add units waiting for each other.
_LATENCY_HIDING = 8
# Where multiplying and loading are separate instructions: the time to issue one, against the time
# that the units take to multiply (measured on Zen 4).
_ISSUE = 0.64
# Numbers of rows that a tile for any number should do well with.
_TYPICAL_ROWS = (128, 1000)
# Bytes of weights that one tile may walk through again and again: half of a usual second-level
# cache.
_PANEL_BYTES = 600 << 10


@dataclass(frozen=True)
class Tile:
    """Rows and blocks of `COLUMNS` columns."""

    rows: int
    blocks: int


def fits(level: InstructionSet, tile: Tile) -> bool:
    """Whether accumulators, column vectors and one broadcast element fit in the registers."""
    per_block = max(1, COLUMNS * 32 // level.vector_bits)
    return (tile.rows + 1) * tile.blocks * per_block < level.registers


def choose_tile(
    level: InstructionSet,
    rows: int | None,
    blocks: int,
    depth: int | None,
    grouped: bool,
    broadcasts: bool = True,
) -> Tile:
    """The tile for `rows` rows (None: any number), at most `blocks` column blocks, `depth`
    products.

    `grouped` says that tasks start at multiples of ROW_GROUP rows, `broadcasts` that the
    multiplying instruction itself reads the left element from memory.
    """
    per_block = max(1, COLUMNS * 32 // level.vector_bits)
    budget = level.registers - 1
    best, best_cost = Tile(1, 1), float("inf")
    for count in (1, 2, 4, 8):
        if count > blocks or (blocks % count and count > 1 and blocks > count * 2):
            continue
        if count > 1 and depth is not None and depth * count * COLUMNS * 4 > _PANEL_BYTES:
            continue
        most = budget // per_block // count - 1
        for height in range(1, min(most, rows or most) + 1):
            if grouped and ROW_GROUP % height:
                continue
            cost = _cost(height, count, rows, blocks, per_block, broadcasts)
            if cost < best_cost:
                best, best_cost = Tile(height, count), cost
    return best


def equal_chunk(total: Dim, about: int, height: int = 1) -> int:
    """Rows of a part where `total` rows are divided into parts of `about` rows or a little more or
    less: such that the longer half of the parts is short, in tiles of `height` rows.
    """
    if not isinstance(total, int) or not about < total <= _FEW_PARTS * about:
        return about

    def time(rows: int) -> float:
        return rows + -(-rows // height) * 0.5

    def longer_half(chunk: int) -> float:
        parts = -(-total // chunk)
        first, last = parts // 2, total - (parts - 1) * chunk
        return max(first * time(chunk), (parts - first - 1) * time(chunk) + time(last))

    even = [
        -(-total // parts) for parts in range(total * 3 // (about * 4) + 1, 2 * total // about + 1)
    ]
    whole = [-(-rows // height) * height for rows in even]
    return min(sorted({about, *even, *whole}), key=lambda c: (longer_half(c), abs(c - about)))


def choose_whole_tile(level: InstructionSet, rows: int, blocks: int) -> Tile:
    """The tile for `rows` rows and at most `blocks` column blocks, where rows are filled up to
    whole tiles.
    """
    per_block = max(1, COLUMNS * 32 // level.vector_bits)

    def cost(tile: Tile) -> float:
        filled = -(-rows // tile.rows) * tile.rows
        return _cost(tile.rows, tile.blocks, filled, tile.blocks, per_block) / tile.blocks

    tiles = [
        Tile(height, count)
        for count in range(1, blocks + 1)
        for height in range(1, level.registers)
    ]
    return min((tile for tile in tiles if fits(level, tile)), key=cost)


def last_heights(height: int) -> list[int]:
    """Heights for the last tile of a row whose length only run time knows, ascending."""
    heights = [height]
    while heights[0] > 1:
        heights.insert(0, -(-heights[0] // 2))
    return heights


def _cost(
    height: int, count: int, rows: int | None, blocks: int, per_block: int, broadcasts: bool = True
) -> float:
    """Time for the whole output, in register-wide multiply-adds; of a row, when their number is not
    known.
    """
    columns = -(-blocks // count)
    loads = height / 2 + count * per_block

    def step(tile_rows: int) -> float:
        products = tile_rows * count * per_block
        time = max(products, _LATENCY_HIDING / 2, loads * 0.9) + 0.5
        if broadcasts:
            return time
        return max(time, _ISSUE * (products + tile_rows + count * per_block))

    if rows is not None:
        left = rows % height
        return columns * (rows // height * step(height) + (step(left) if left else 0))
    total = 0.0
    for typical in _TYPICAL_ROWS:
        left = typical % height
        last = min((h for h in last_heights(height) if h >= left), default=0) if left else 0
        total += (typical // height * step(height) + (step(last) if last else 0)) / typical
    return columns * total
