"""`check`: what would become of each node of a model on each target, before it is compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bireme.codegen.build import Emissions
from bireme.codegen.cost import bytes_moved, operations
from bireme.codegen.specialize import Choices
from bireme.codegen.survey import Placement, Survey, hints, names_of, repeated, survey
from bireme.frontend import onnx
from bireme.frontend.onnx import NodeReport
from bireme.ir import Array, BiremeError, Graph, Op, evaluate
from bireme.targets.registry import matching

if TYPE_CHECKING:
    from bireme.frontend.onnx import Source

# Where a node runs whose inputs come from a refused one.
UNKNOWN = "?"

__all__ = ["Check", "NodeCheck", "check"]


@dataclass(frozen=True)
class NodeCheck:
    """One node of the model.

    `types` are the element types and shapes it takes and gives, `f32[2, 3], i64[2] → f32[2]`.
    `operations` and `bytes` count what the node itself asks for: arithmetic, and its operands and
    results, at the symbols' hints. `places` says for each target where the node runs.
    """

    report: NodeReport
    types: str
    operations: int
    bytes: int
    places: Mapping[str, Placement]

    @property
    def supported(self) -> bool:
        """Whether the node can be imported, and compiled for every target."""
        return self.report.checked and not self.refused

    @property
    def refused(self) -> bool:
        """Whether something stands in the node's own way. If not, it may still stand behind a
        refused node and be neither supported nor refused.
        """
        return not all(p.supported for p in self.places.values())


@dataclass(frozen=True)
class Check:
    """A model on some targets. `sizes` are the symbols' hints that the estimates are made for,
    `operations` those of a run: what stands in a loop or a function is part of its node, too, so
    nodes may add up to more.
    """

    nodes: list[NodeCheck]
    surveys: list[Survey]
    sizes: Mapping[str, int]
    operations: int

    @property
    def compilable(self) -> bool:
        """Whether the model can be compiled for all of the targets."""
        return all(self.compilable_for(s) for s in self.surveys)

    def compilable_for(self, found: Survey) -> bool:
        """Whether the model can be compiled for one of the targets."""
        return found.compilable and all(n.report.supported for n in self.nodes)


def check(
    model: Source,
    target: str = "all",
    *,
    dims: Mapping[str, int | range] | None = None,
    constants: Mapping[str, Array] | None = None,
    specialize: Choices | Sequence[Choices] = (),
) -> Check:
    """Says of every node of an ONNX model whether and how it would run, without compiling.

    `target` is one target, or `all`; `dims`, `constants` and `specialize` as in `compile`. What
    `check` refuses, `compile` refuses, for the same reason. Raises BiremeError for faults of the
    whole model.
    """
    targets = matching(target)
    graph, reports = onnx.load_partly(model, dims=dims, constants=constants)
    known: Emissions = {}
    choices = [specialize] if isinstance(specialize, Mapping) else specialize
    surveys = [survey(graph, each, known, choices) for each in targets]
    costs = _Costs(graph)
    nodes = [
        NodeCheck(r, *costs.of(r.name), {s.target: _place(r, s) for s in surveys}) for r in reports
    ]
    return Check(nodes, surveys, hints(graph), costs.total)


def _place(report: NodeReport, found: Survey) -> Placement:
    if not report.supported:
        error = BiremeError(report.code, report.reason, where=report.name, hint=report.hint)
        return Placement((), (), (error,))
    if not report.checked:
        return Placement((UNKNOWN,))
    return found.place(report.name)


class _Costs:
    """Types and costs of nodes, from the ops that they were imported as."""

    def __init__(self, graph: Graph) -> None:
        self._sizes = hints(graph)
        self._ops: dict[str, list[tuple[Op, int]]] = {}
        self._own: dict[str, list[Op]] = {}
        self.total = 0
        for op, times in repeated(graph.body, self._sizes):
            self.total += evaluate(operations(op), self._sizes) * times
            for name in names_of(op):
                self._own.setdefault(name, []).append(op)
                # What is inside a function counts for its call too.
                for end in [i for i, c in enumerate(name) if c == "/"] + [len(name)]:
                    self._ops.setdefault(name[:end], []).append((op, times))

    def of(self, name: str) -> tuple[str, int, int]:
        """Types, operations and bytes of a node."""
        ops = self._ops.get(name, [])
        work = sum(evaluate(operations(op), self._sizes) * times for op, times in ops)
        moved = sum(evaluate(bytes_moved(op), self._sizes) * times for op, times in ops)
        return _types(self._own.get(name) or [op for op, _ in ops]), work, moved


def _types(ops: Sequence[Op]) -> str:
    """What enters a run of ops and what leaves it."""
    made = {v for op in ops for v in op.results}
    read = {v for op in ops for v in op.operands}
    inputs = list(dict.fromkeys(v for op in ops for v in op.operands if v not in made))
    outputs = [v for op in ops for v in op.results if v not in read] or list(made)
    sides = [", ".join(str(v.type) for v in side) for side in (inputs, outputs)]
    return " → ".join(sides) if ops else ""
