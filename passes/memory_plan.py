"""Places buffers in one arena: a pure function over intervals and sizes.

Two buffers that are live at the same time must not overlap, for any sizes that the symbols of a
model may take. A plan therefore gives each buffer not only its offset at typical sizes, but the
buffers it must come *after*: placed in the plan's order, each at the lowest aligned offset behind
those, buffers that are live together never overlap, whatever their sizes, and at the typical sizes
the placement is the planned one.

The order in which buffers are placed decides how good a placement is. A few orders known from the
literature on dynamic storage allocation are tried, then the best is improved by moving the buffers
that stick out, within a fixed number of steps; the search ends early at the lower bound.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

ALIGNMENT = 64
# Placements of one buffer that the search may try, about a second of work.
SEARCH_STEPS = 3_000_000
# Rounds of the search for each buffer: few buffers have few orders.
ROUNDS_EACH = 100


@dataclass(frozen=True)
class Buffer:
    """Memory that is live from position `first` to `last`, both inclusive.

    `size` is in bytes, at the sizes a model typically has. `may_share_with` names buffers that this
    one may take over: their last reader, at `first`, is what writes this one, it reads each element
    before it writes that element, and both have the same size whatever the symbols are.
    """

    id: int
    size: int
    first: int
    last: int
    may_share_with: tuple[int, ...] = ()


@dataclass(frozen=True)
class Placement:
    """Where a buffer stands. `shares` is the buffer whose memory it takes over, if any.

    `offset` is that at typical sizes. The buffers in `after` are never ones that share.
    """

    id: int
    offset: int
    after: tuple[int, ...] = ()
    shares: int | None = None


@dataclass(frozen=True)
class MemoryPlan:
    """Placements in an order in which `after` names only earlier ones, sharing ones last.

    `arena` is the bytes needed at typical sizes; `lower_bound` the largest sum of simultaneously
    live bytes, given what shares memory; `total` the sum of all buffers, each in memory of its own.
    """

    placements: tuple[Placement, ...]
    arena: int
    lower_bound: int
    total: int

    def __str__(self) -> str:
        figures = " → ".join(f"{n / 1e6:.2f}" for n in (self.total, self.arena))
        return f"arena {figures} MB, lower bound {self.lower_bound / 1e6:.2f} MB"


def plan_memory(buffers: Iterable[Buffer]) -> MemoryPlan:
    """Places `buffers`; their ids must be distinct. The result depends on the argument alone."""
    table = sorted(buffers, key=lambda b: (b.first, b.last, b.id))
    roots = _share(table)
    blocks = _blocks(table, roots)
    conflicts = _conflicts(blocks)
    bound = _lower_bound(blocks)
    offsets = _search(blocks, conflicts, bound)
    order, after = _precedence(blocks, conflicts, offsets)
    offsets = _settle(blocks, order, after)
    placements = [
        Placement(blocks[i].id, offsets[i], tuple(blocks[j].id for j in after[i])) for i in order
    ]
    by_id = {p.id: p for p in placements}
    placements += [
        Placement(b.id, by_id[roots[b.id]].offset, shares=roots[b.id])
        for b in table
        if roots[b.id] != b.id
    ]
    arena = max((offsets[i] + b.size for i, b in enumerate(blocks)), default=0)
    return MemoryPlan(tuple(placements), arena, bound, sum(_aligned(b.size) for b in table))


@dataclass(frozen=True)
class _Block:
    """A buffer together with those that take over its memory; its size is aligned."""

    id: int
    size: int
    first: int
    last: int

    def overlaps(self, other: _Block) -> bool:
        return self.first <= other.last and other.first <= self.last


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _share(table: Sequence[Buffer]) -> dict[int, int]:
    """For each buffer the first in the chain of those whose memory it uses; itself when alone."""
    by_id = {b.id: b for b in table}
    if len(by_id) != len(table):
        raise ValueError("two buffers have the same id")
    roots: dict[int, int] = {}
    taken: set[int] = set()
    for buffer in table:
        roots[buffer.id] = buffer.id
        for other in buffer.may_share_with:
            old = by_id.get(other)
            if old is None or other in taken or other not in roots:
                continue
            if old.last == buffer.first and old.first < buffer.first and old.size == buffer.size:
                roots[buffer.id] = roots[other]
                taken.add(other)
                break
    return roots


def _blocks(table: Sequence[Buffer], roots: dict[int, int]) -> list[_Block]:
    members: dict[int, list[Buffer]] = {}
    for buffer in table:
        members.setdefault(roots[buffer.id], []).append(buffer)
    return [
        _Block(
            root,
            max(_aligned(b.size) for b in group),
            min(b.first for b in group),
            max(b.last for b in group),
        )
        for root, group in members.items()
    ]


def _conflicts(blocks: Sequence[_Block]) -> list[list[int]]:
    """For each block those that are live at the same time."""
    found: list[list[int]] = [[] for _ in blocks]
    live: list[int] = []
    for i in sorted(range(len(blocks)), key=lambda i: blocks[i].first):
        live = [j for j in live if blocks[j].last >= blocks[i].first]
        for j in live:
            found[i].append(j)
            found[j].append(i)
        live.append(i)
    return found


def _pressure(blocks: Sequence[_Block]) -> dict[int, int]:
    """Bytes live at every position where that number changes."""
    changes = sorted(
        [(b.first, 0, b.size) for b in blocks] + [(b.last + 1, -1, -b.size) for b in blocks]
    )
    pressure: dict[int, int] = {}
    live = 0
    for position, _, change in changes:
        live += change
        pressure[position] = live
    return pressure


def _lower_bound(blocks: Sequence[_Block]) -> int:
    return max(_pressure(blocks).values(), default=0)


def _place(
    blocks: Sequence[_Block], conflicts: Sequence[Sequence[int]], order: Sequence[int], tight: bool
) -> list[int]:
    """Offsets when placing in `order`, each block in the lowest gap, or the smallest (`tight`)."""
    offsets = [-1] * len(blocks)
    for i in order:
        size = blocks[i].size
        placed = sorted(
            (offsets[j], offsets[j] + blocks[j].size) for j in conflicts[i] if offsets[j] >= 0
        )
        best, room, low = -1, -1, 0
        for start, end in placed:
            gap = start - low
            if gap >= size and (best < 0 or gap < room):
                best, room = low, gap
                if not tight:
                    break
            low = max(low, end)
        offsets[i] = best if best >= 0 else low
    return offsets


def _arena(blocks: Sequence[_Block], offsets: Sequence[int]) -> int:
    return max((o + b.size for o, b in zip(offsets, blocks, strict=True)), default=0)


def _orders(blocks: Sequence[_Block], conflicts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Orders in which to place, each good for some kind of graph."""
    indices = range(len(blocks))
    pressure = _pressure(blocks)
    moments = sorted(pressure)
    peaks = [
        max((pressure[m] for m in moments if b.first <= m <= b.last), default=0) for b in blocks
    ]
    colours = [0] * len(blocks)
    for i in sorted(indices, key=lambda i: blocks[i].first):
        used = {colours[j] for j in conflicts[i] if blocks[j].first <= blocks[i].first and j != i}
        colours[i] = next(c for c in range(len(blocks)) if c not in used)
    keys: list[Callable[[int], tuple[int, ...]]] = [
        lambda i: (-blocks[i].size, blocks[i].first),
        lambda i: (-blocks[i].size * (blocks[i].last - blocks[i].first + 1), blocks[i].first),
        # What is live when most is live comes first ("greedy by breadth").
        lambda i: (-peaks[i], -blocks[i].size, blocks[i].first),
        lambda i: (blocks[i].first - blocks[i].last, -blocks[i].size),
        lambda i: (blocks[i].first, -blocks[i].size),
        # Every second buffer of a chain at the bottom, the others above them.
        lambda i: (colours[i], -blocks[i].size),
    ]
    return [sorted(indices, key=key) for key in keys]


def _search(blocks: Sequence[_Block], conflicts: Sequence[Sequence[int]], bound: int) -> list[int]:
    """The best offsets found within the budget."""
    best: list[int] = []
    best_arena = -1
    best_order: list[int] = []
    for order in _orders(blocks, conflicts):
        for tight in (False, True):
            offsets = _place(blocks, conflicts, order, tight)
            arena = _arena(blocks, offsets)
            if best_arena < 0 or arena < best_arena:
                best, best_arena, best_order = offsets, arena, order
            if arena == bound:
                return offsets
    work = len(blocks) + sum(map(len, conflicts))
    random = Random(0)
    for _ in range(min(ROUNDS_EACH * len(blocks), SEARCH_STEPS // max(work, 1))):
        order = _moved(best_order, blocks, best, best_arena, random)
        offsets = _place(blocks, conflicts, order, tight=random.random() < 0.25)
        arena = _arena(blocks, offsets)
        if arena <= best_arena:
            best, best_arena, best_order = offsets, arena, order
        if arena == bound:
            break
    return best


def _moved(
    order: Sequence[int],
    blocks: Sequence[_Block],
    offsets: Sequence[int],
    arena: int,
    random: Random,
) -> list[int]:
    """The order with a block that reaches the top, or any one, placed earlier."""
    top = [i for i in order if offsets[i] + blocks[i].size == arena]
    moved = list(order)
    for chosen in {random.choice(top if random.random() < 0.7 else moved) for _ in range(2)}:
        place = moved.index(chosen)
        moved.pop(place)
        moved.insert(random.randint(0, place), chosen)
    return moved


def _precedence(
    blocks: Sequence[_Block], conflicts: Sequence[Sequence[int]], offsets: Sequence[int]
) -> tuple[list[int], list[list[int]]]:
    """An order by offset, and for each block those right below it that it conflicts with."""
    order = sorted(range(len(blocks)), key=lambda i: (offsets[i], offsets[i] + blocks[i].size, i))
    rank = {i: r for r, i in enumerate(order)}
    below: list[int] = [0] * len(blocks)  # bit r: the block of rank r is known to end below
    after: list[list[int]] = [[] for _ in blocks]
    for i in order:
        lower: list[int] = []
        for j in conflicts[i]:
            if rank[j] < rank[i]:
                insort(lower, rank[j])
        for r in reversed(lower):
            if not below[i] >> r & 1:
                after[i].append(order[r])
                below[i] |= below[order[r]] | 1 << r
        after[i].reverse()
    return order, after


def _settle(
    blocks: Sequence[_Block], order: Sequence[int], after: Sequence[Sequence[int]]
) -> list[int]:
    """Offsets that follow from `after` alone: never above the given ones."""
    offsets = [0] * len(blocks)
    for i in order:
        offsets[i] = max((offsets[j] + blocks[j].size for j in after[i]), default=0)
    return offsets
