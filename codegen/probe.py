"""How a kernel reads its arguments: distances in memory between neighbours along each axis of the
result.

The group's rules are followed with numbers in place of expressions, at one place of the result and
at its neighbours. That covers every op that has a rule, whatever it does to indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from bireme.codegen.evaluate import Evaluator, Rule
from bireme.codegen.templates.common import TYPICAL
from bireme.codegen.tir import Buffer, Emitter, Expr, compute, index, is_int
from bireme.ir import Graph, Value


class _Recorder(Emitter):
    """An emitter that names nothing and notes where elements are read."""

    def __init__(self, symbols: dict[str, Expr]) -> None:
        super().__init__(symbols)
        self.reads: list[tuple[Any, int | None]] = []

    def bind(self, value: Expr, stem: str = "v") -> Expr:  # noqa: ARG002
        return value

    def opaque(self, value: Expr, stem: str = "v") -> Expr:  # noqa: ARG002
        return value

    def load(self, buffer: Buffer, offset: Expr) -> Expr:
        place = index(offset)
        self.reads.append((buffer.tir, int(place) if is_int(place) else None))
        kind = compute(buffer.dtype)
        return tirx.const(0.0 if kind.startswith("float") else 0, kind)


def strides(graph: Graph, rules: dict[str, Rule]) -> dict[Value, list[list[int | None]]]:
    """For each argument, for each time an element of it is read, the stride along each result axis.

    None stands for a stride that depends on data.
    """
    rank = graph.outputs[0].type.rank
    base = _reads(graph, rules, [0] * rank)
    moved = [_reads(graph, rules, [int(a == axis) for a in range(rank)]) for axis in range(rank)]
    found: dict[Value, list[list[int | None]]] = {}
    for number, (argument, start) in enumerate(base):
        steps = [_distance(start, reads[number][1]) for reads in moved]
        found.setdefault(argument, []).append(steps)
    return found


def _distance(start: int | None, end: int | None) -> int | None:
    return None if start is None or end is None else end - start


def _reads(
    graph: Graph, rules: dict[str, Rule], at: Sequence[int]
) -> list[tuple[Value, int | None]]:
    names = set().union(*(v.type.symbols for v in graph.inputs), *_symbols(graph))
    emit = _Recorder({name: index(TYPICAL) for name in names})
    sources = {
        value: Buffer(number, value.type.dtype, tuple(emit.shape(value.type)))
        for number, value in enumerate(graph.inputs)
    }
    evaluator = Evaluator(emit, sources, rules)
    for value in graph.outputs:
        evaluator.at(value, [index(i) for i in at])
    return [(graph.inputs[number], place) for number, place in emit.reads]


def _symbols(graph: Graph) -> list[set[str]]:
    return [v.type.symbols for op in graph.body.ops for v in op.results]
