"""Which level of memory the operands of each launch come from: a model of the caches.

Caches are taken for fully associative and least recently used first: a piece of memory is in the
first level that holds everything touched since it was last touched. A piece is what lies between
two borders of tensors in the arena, so that the memory of a tensor that has died is known to be
still warm. Runs follow each other, so a weight was last touched one run ago.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bireme.codegen.plan import Plan
from bireme.ir import Array, evaluate

# Loops are followed for so many turns: what a later turn finds is what the second one found.
_TURNS = 2


@dataclass
class Traffic:
    """Bytes of a launch's operands by the number of the level that they come from."""

    read: dict[int, int] = field(default_factory=dict)
    written: dict[int, int] = field(default_factory=dict)


def traffic(plan: Plan, rooms: Sequence[int]) -> Mapping[int, Traffic]:
    """For each launch and copy, by the instruction's number, what comes from where.

    `plan` has numbers for sizes (`read_plan`). `rooms` are the bytes of the levels of cache; a
    level beyond the last stands for memory. Each tensor counts once, whole.
    """
    pieces = _Pieces(plan)
    last = np.full(len(pieces.sizes), -1, np.int64)
    order = list(_order(plan))
    found: dict[int, Traffic] = {}
    time = 0
    for number in [*order, *order]:  # the first run finds nothing in a cache
        instruction = plan.instructions[number]
        touched = [pieces.of[tensor] for tensor in instruction.args]
        if not touched:
            continue
        distance = _distances(last, pieces.sizes)
        moved = Traffic()
        written = instruction.written
        for tensor, parts in zip(instruction.args, touched, strict=True):
            side = moved.written if tensor in written else moved.read
            for part in parts:
                level = int(np.searchsorted(rooms, distance[part]))
                side[level] = side.get(level, 0) + int(pieces.sizes[part])
        found[number] = moved
        for parts in touched:
            last[parts] = time
        time += 1
    return found


def _order(plan: Plan) -> Iterator[int]:
    """Instructions as a run may do them: both branches, and loops some times over."""
    left: dict[int, int] = {}
    at = 0
    while at < len(plan.instructions):
        yield at
        instruction = plan.instructions[at]
        back = instruction.op in ("Jump", "LoopEnd") and instruction.target <= at
        if back and left.setdefault(at, _TURNS - 1) > 0:
            left[at] -= 1
            at = instruction.target
            continue
        left.pop(at, None)
        at += 1


def _distances(last: Array, sizes: Array) -> Array:
    """For each piece the bytes touched since, its own and those of the same moment included."""
    order = np.argsort(-last, kind="stable")
    times = last[order]
    total = np.cumsum(sizes[order])
    # Of pieces touched at the same moment the last one's sum counts for all.
    ends = np.searchsorted(-times, -times, side="right") - 1
    distance = np.empty_like(total)
    distance[order] = np.where(times < 0, np.iinfo(np.int64).max, total[ends])
    return distance


class _Pieces:
    """Memory cut into pieces: `sizes` in bytes, and the numbers `of` those of each tensor."""

    def __init__(self, plan: Plan) -> None:
        tensors = plan.tensors
        spans = {n: extent(plan, n) for n in range(len(tensors))}
        borders: dict[int, set[int]] = {}
        for space, start, end in spans.values():
            borders.setdefault(space, set()).update((start, end))
        sizes: list[int] = []
        first: dict[tuple[int, int], int] = {}
        for space, places in borders.items():
            ordered = sorted(places)
            for place, following in zip(ordered, [*ordered[1:], ordered[-1]], strict=True):
                first[space, place] = len(sizes)
                sizes.append(following - place)
        self.sizes: Array = np.array(sizes, np.int64)
        self.of = {
            n: np.arange(first[space, start], first[space, end])
            for n, (space, start, end) in spans.items()
        }


def extent(plan: Plan, number: int) -> tuple[int, int, int]:
    """A tensor's memory as (address space, start, end): the arena is one space, every other tensor
    with memory its own.
    """
    tensor = plan.tensors[number]
    is_view = tensor.place == "View"
    root = tensor.base if is_view else number
    whole = plan.tensors[root]
    start = whole.offset if whole.place == "Arena" else 0
    if is_view and tensor.loop < 0:
        start += evaluate(tensor.view_offset, {})
    space = -1 if whole.place == "Arena" else root
    return space, start, start + max(evaluate(tensor.bytes, {}), 0)
