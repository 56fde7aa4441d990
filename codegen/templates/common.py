"""What all CPU templates share: what they are given, and how a kernel is cut into tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx

from bireme.codegen.evaluate import MOST_LANES, Evaluator
from bireme.codegen.parameters import Chooser
from bireme.codegen.tir import Buffer, Emitter, Expr, index
from bireme.ir import Dim, Graph, Op, evaluate
from bireme.ir.dims import symbols_of
from bireme.targets.description import InstructionSet

# What a symbolic size is taken for when loops are divided: a guess that only speed depends on.
TYPICAL = 64


def estimate(dim: Dim) -> int:
    """A typical value of a size."""
    return evaluate(dim, dict.fromkeys(symbols_of(dim), TYPICAL))


@dataclass(frozen=True)
class Work:
    """How a kernel is launched: number of tasks, and scratch bytes for each thread.

    With a `phase` other than 0, so many tasks end before the next ones begin, and all tasks share
    one thread's scratch memory; a call gets tasks of one phase, or all there are. Tasks and phase
    are the same for every instruction set a kernel is compiled for.
    """

    tasks: Dim
    workspace: Dim = 0
    phase: Dim = 0


@dataclass(frozen=True)
class Emission:
    """All that a template needs to emit one kernel for one instruction set.

    `choose` gives a template with parameters those to use, from their space.
    """

    graph: Graph
    emit: Emitter
    evaluator: Evaluator
    arguments: list[Buffer]
    results: list[Buffer]
    workspace: Buffer
    begin: Expr
    end: Expr
    level: InstructionSet
    choose: Chooser


def only_op(graph: Graph, *names: str) -> Op | None:
    """The op of a group that is nothing else but constants, when it has one of these names."""
    found = graph.body.members
    return found[0] if len(found) == 1 and found[0].name in names else None


def unravel(emitter: Emitter, flat: Expr, sizes: Sequence[Expr]) -> list[Expr]:
    """A row-major number as an index into `sizes`."""
    at: list[Expr] = []
    rest = flat
    for size in reversed(sizes[1:]):
        size = index(size)
        quotient = emitter.opaque(tirx.truncdiv(rest, size), "q")
        at.append(emitter.opaque(rest - quotient * size, "i"))
        rest = quotient
    return [rest, *reversed(at)] if sizes else []


def group_lanes(graph: Graph) -> int:
    """Lanes for the widest elements that a group reads or writes."""
    return vector_lanes(max(v.type.dtype.bits for v in [*graph.inputs, *graph.outputs]))


def vector_lanes(bits: int) -> int:
    """Lanes for elements of up to `bits` bits."""
    return MOST_LANES if bits <= 32 else MOST_LANES // 2
