"""Gives the plan's arena tensors their places: who is alive when, then the memory planner.

The instruction list is the time line. A tensor lives from the first to the last instruction that
touches it, through whatever views. In a loop that is not enough: a tensor that exists before the
loop, or whose rows the loop fills, must last until the loop is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from bireme.codegen.capacity import reserve
from bireme.codegen.plan import Plan
from bireme.ir import ceildiv, evaluate
from bireme.passes.memory_plan import ALIGNMENT, Buffer, plan_memory


@dataclass
class Span:
    """The first and the last instruction of a tensor's life."""

    first: int
    last: int

    def cover(self, first: int, last: int) -> None:
        self.first, self.last = min(self.first, first), max(self.last, last)


def place_arena(plan: Plan) -> None:
    """Fills in `capacity`, `offset`, `after`, `arena_order` and the arena's figures."""
    reserve(plan)
    hints = {name: sizes.typical for name, sizes in plan.symbols.items()}
    takers = _takers(plan)
    memory = plan_memory(
        Buffer(
            number,
            evaluate(plan.tensors[number].reserved, hints),
            span.first,
            span.last,
            tuple(takers.get(number, ())),
        )
        for number, span in sorted(spans(plan).items())
    )
    plan.arena_bytes, plan.arena_lower_bound = memory.arena, memory.lower_bound
    for placement in memory.placements:
        tensor = plan.tensors[placement.id]
        if placement.shares is not None:
            _lie_in(plan, placement.id, placement.shares)
            continue
        plan.arena_order.append(placement.id)
        if plan.symbols:
            tensor.after = placement.after
        else:
            tensor.offset = placement.offset


def live_bytes(plan: Plan) -> list[int]:
    """Bytes of arena tensors that are alive at each instruction of a placed plan, at the hints."""
    hints = {name: sizes.typical for name, sizes in plan.symbols.items()}
    steps = [0] * (len(plan.instructions) + 1)
    for root, span in spans(plan).items():
        size = evaluate(ceildiv(plan.tensors[root].reserved, ALIGNMENT) * ALIGNMENT, hints)
        steps[span.first] += size
        steps[span.last + 1] -= size
    return list(accumulate(steps[:-1]))


def _takers(plan: Plan) -> dict[int, list[int]]:
    """For each result, the arena tensors whose memory it may take over."""
    found: dict[int, list[int]] = {}
    for launch in plan.instructions:
        for result, operand in launch.overwrites:
            if plan.tensors[result].place == plan.tensors[operand].place == "Arena":
                found.setdefault(result, []).append(operand)
    return found


def _lie_in(plan: Plan, number: int, root: int) -> None:
    """Makes an arena tensor, and all views of it, views of another of the same size."""
    for tensor in plan.tensors:
        if tensor.place == "View" and tensor.base == number:
            tensor.base = root
    tensor = plan.tensors[number]
    tensor.place, tensor.base, tensor.capacity = "View", root, None


def spans(plan: Plan) -> dict[int, Span]:
    """First and last instruction of each arena tensor's life."""
    spans: dict[int, Span] = {}
    touches: list[tuple[int, int]] = []
    for time, instruction in enumerate(plan.instructions):
        for number in instruction.args:
            tensor = plan.tensors[number]
            root = tensor.base if tensor.place == "View" else number
            if plan.tensors[root].place != "Arena":
                continue
            touches.append((root, time))
            spans.setdefault(root, Span(time, time)).cover(time, time)
    # Inner loops come first, so that what they stretch is seen by the loops around them.
    for begin, end in _loops(plan):
        for root, time in touches:
            if begin <= time <= end:
                span = spans[root]
                carried = span.first < begin or span.last > end or _is_row(plan, root)
                if carried:
                    span.cover(begin, end)
    return spans


def _loops(plan: Plan) -> list[tuple[int, int]]:
    """Runs of instructions that may repeat, innermost first."""
    found = [
        (i.target, time)
        for time, i in enumerate(plan.instructions)
        if i.op in ("Jump", "LoopEnd") and i.target <= time
    ]
    return sorted(found, key=lambda run: run[1] - run[0])


def _is_row(plan: Plan, root: int) -> bool:
    """Whether a loop visits the tensor row by row."""
    return any(t.place == "View" and t.base == root and t.loop != -1 for t in plan.tensors)
