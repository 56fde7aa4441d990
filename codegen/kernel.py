"""Kernel specification → kernel function: chooses the template and emits it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bireme.codegen.abi import kernel_function
from bireme.codegen.collapse import collapse, flatten_positions
from bireme.codegen.evaluate import Evaluator, fault_register, fault_status
from bireme.codegen.reshapes import without_reshapes
from bireme.codegen.rules import RULES
from bireme.codegen.spec import KernelSpec
from bireme.codegen.templates import (
    convolution,
    matmul,
    pointwise,
    recurrent,
    rows,
    scan,
    scatter,
    sort,
    transpose,
)
from bireme.codegen.templates.common import Emission, Work
from bireme.codegen.tir import Buffer, Emitter, Expr
from bireme.ir import Graph
from bireme.targets.description import InstructionSet

# Ops whose rules may note a run-time fault.
FAULTY = frozenset(
    {"gather", "gather_elements", "gather_nd", "scatter_elements", "scatter_nd", "roi_align"}
)


@dataclass(frozen=True)
class Emitted:
    """A kernel function and how it is launched."""

    function: Any
    work: Work
    kind: str


def emit_kernel(spec: KernelSpec, level: InstructionSet, name: str = "kernel") -> Emitted:
    """Emits the kernel of a specification for one instruction set. Raises BM3004."""
    graph = flatten_positions(collapse(without_reshapes(spec.graph())))
    template = template_of(graph)
    arguments = [
        *((f"a{i}", v.type) for i, v in enumerate(graph.inputs)),
        *((f"r{i}", v.type) for i, v in enumerate(graph.outputs)),
    ]
    works: list[Work] = []

    def body(
        emit: Emitter, buffers: list[Buffer], workspace: Buffer, begin: Expr, end: Expr
    ) -> Expr | None:
        inputs = buffers[: len(graph.inputs)]
        evaluator = Evaluator(emit, dict(zip(graph.inputs, inputs, strict=True)), RULES)
        if any(op.name in FAULTY for op in graph.body.ops):
            evaluator.faults = fault_register(emit)
        results = buffers[len(inputs) :]
        emission = Emission(graph, emit, evaluator, inputs, results, workspace, begin, end, level)
        works.append(template(emission))
        return fault_status(emit, evaluator.faults) if evaluator.faults else None

    symbols = [f"s{i}" for i in range(len(spec.symbols))]
    function = kernel_function(name, arguments, symbols, body)
    return Emitted(function, works[0], template.__module__.rpartition(".")[2])


def _is_empty(graph: Graph) -> bool:
    """Whether a group has nothing to calculate, whatever the sizes."""
    return all(v.type.elements == 0 for v in graph.outputs)


def _nothing(_: Emission) -> Work:
    return Work(0)


# Which loop shape a group gets: the first whose test holds.
TEMPLATES: tuple[tuple[Callable[[Graph], bool], Callable[[Emission], Work]], ...] = (
    (_is_empty, _nothing),
    (convolution.matches, convolution.emit),
    (matmul.matches, matmul.emit),
    (rows.matches, rows.emit),
    (recurrent.matches, recurrent.emit),
    (scatter.matches, scatter.emit),
    (scan.matches, scan.emit),
    (sort.matches, sort.emit),
    (transpose.matches, transpose.emit),
    (lambda graph: True, pointwise.emit),
)


def template_of(graph: Graph) -> Callable[[Emission], Work]:
    """The loop shape for a group, from the op it is built around."""
    return next(emit for matches, emit in TEMPLATES if matches(graph))
