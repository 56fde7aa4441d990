"""The conversions between plain and channel-blocked tensors in a plan, and what asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bireme.codegen.plan import Instruction, Plan
from bireme.ir import evaluate

PACK, UNPACK = "pack_channels", "unpack_channels"


@dataclass(frozen=True)
class Conversion:
    """A conversion. `plain` has the ops, or "input" or "output", on whose account it is done: they
    make or read the plain tensor. `moved` is the bytes that it reads and writes, None where it is
    part of a kernel that calculates, too.
    """

    op: str
    node: str
    plain: tuple[str, ...]
    moved: int | None

    @property
    def reason(self) -> str:
        """What it is done for, such as "unpack_channels for transpose"."""
        return f"{self.op} {'after' if self.op == PACK else 'for'} {', '.join(self.plain)}"


def conversions(plan: Plan) -> list[Conversion]:
    """The conversions of a plan that `read_plan` gave, in order."""
    found = []
    for launch, ops in _launches(plan):
        moved = launch.moved if len(ops) == 1 else None
        for place, name in enumerate(ops):
            if name == PACK:
                plain = ops[place - 1 : place] or _makers(plan, launch)
            elif name == UNPACK:
                plain = ops[place + 1 : place + 2] or _readers(plan, launch)
            else:
                continue
            node = plan.sources[launch.source].node
            size = None if moved is None else evaluate(moved, {})
            found.append(Conversion(name, node, tuple(dict.fromkeys(plain)), size))
    return found


def _launches(plan: Plan) -> Iterator[tuple[Instruction, list[str]]]:
    """The launches, each with the ops of its kernel in order."""
    for instruction in plan.instructions:
        if instruction.op == "Launch":
            yield instruction, plan.sources[instruction.source].op.split("+")


def _makers(plan: Plan, launch: Instruction) -> list[str]:
    """What makes the plain operand of a kernel: of several, those with the fewest axes, because
    blocks are an axis.
    """
    given = [t for t in launch.args if t not in launch.written]
    given = [t for t in given if plan.tensors[_root(plan, t)].place != "Weight"]
    rank = min((len(plan.tensors[t].shape) for t in given), default=0)
    roots = _roots(plan, (t for t in given if len(plan.tensors[t].shape) == rank))
    makers = [ops[-1] for each, ops in _launches(plan) if roots & _roots(plan, each.written)]
    return makers + ["input"] * bool(roots & set(plan.inputs))


def _readers(plan: Plan, launch: Instruction) -> list[str]:
    """What reads the result of a kernel."""
    roots = _roots(plan, launch.written)
    readers = [
        ops[0]
        for each, ops in _launches(plan)
        if roots & _roots(plan, (t for t in each.args if t not in each.written))
    ]
    copied = {
        _root(plan, each.args[0]): _root(plan, each.args[1])
        for each in plan.instructions
        if each.op == "Copy"
    }
    leaves = roots | {copied[root] for root in roots if root in copied}
    return readers + ["output"] * bool(leaves & set(plan.outputs))


def _roots(plan: Plan, tensors: Iterable[int]) -> set[int]:
    return {_root(plan, tensor) for tensor in tensors}


def _root(plan: Plan, tensor: int) -> int:
    """The tensor whose memory a tensor is in."""
    found = plan.tensors[tensor]
    return found.base if found.place == "View" else tensor
