"""Kernel specification → kernel function: chooses the template and emits it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bireme.codegen.abi import kernel_function
from bireme.codegen.collapse import collapse, flatten_positions, flatten_rows
from bireme.codegen.evaluate import Evaluator, fault_register, fault_status
from bireme.codegen.parameters import NO_CHOICE, Choice, Chooser, Chosen
from bireme.codegen.reshapes import without_reshapes
from bireme.codegen.rules import RULES
from bireme.codegen.spec import KernelSpec
from bireme.codegen.templates import (
    attention,
    border,
    chain,
    convolution,
    data_sized,
    matmul,
    pointwise,
    recurrent,
    rows,
    scan,
    scatter,
    sort,
    transpose,
    winograd,
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
    """A kernel function and how it is launched; `chosen` is None where nothing can be chosen."""

    function: Any
    work: Work
    kind: str
    chosen: Chosen | None = None


def emit_kernel(
    spec: KernelSpec, level: InstructionSet, choice: Choice = NO_CHOICE, name: str = "kernel"
) -> Emitted:
    """Emits the kernel of a specification for one instruction set. Raises BM3004."""
    graph = _normal(spec)
    template = template_of(graph)
    arguments = [
        *((f"a{i}", v.type) for i, v in enumerate(graph.inputs)),
        *((f"r{i}", v.type) for i, v in enumerate(graph.outputs)),
    ]
    works: list[Work] = []
    choose = Chooser(choice)

    def body(
        emit: Emitter, buffers: list[Buffer], workspace: Buffer, begin: Expr, end: Expr
    ) -> Expr | None:
        emit.instructions = level.instructions
        inputs = buffers[: len(graph.inputs)]
        evaluator = Evaluator(emit, dict(zip(graph.inputs, inputs, strict=True)), RULES)
        if any(op.name in FAULTY for op in graph.body.ops):
            evaluator.faults = fault_register(emit)
        results = buffers[len(inputs) :]
        emission = Emission(
            graph, emit, evaluator, inputs, results, workspace, begin, end, level, choose
        )
        works.append(template.emit(emission))
        return fault_status(emit, evaluator.faults) if evaluator.faults else None

    symbols = [f"s{i}" for i in range(len(spec.symbols))]
    function = kernel_function(name, arguments, symbols, body)
    return Emitted(function, works[0], template.name, choose.chosen)


@lru_cache(maxsize=1)  # the levels of a kernel are emitted one after the other
def _normal(spec: KernelSpec) -> Graph:
    """The group as templates take it; they only read it."""
    return flatten_rows(flatten_positions(collapse(without_reshapes(spec.graph()))))


def _is_empty(graph: Graph) -> bool:
    """Whether a group has nothing to calculate, whatever the sizes."""
    return all(v.type.elements == 0 for v in graph.outputs)


@dataclass(frozen=True)
class Template:
    """A loop shape: its name in reports, which groups it takes, and what emits it."""

    name: str
    matches: Callable[[Graph], bool]
    emit: Callable[[Emission], Work]


# Which loop shape a group gets: the first that takes it.
TEMPLATES = (
    Template("empty", _is_empty, lambda emission: Work(0)),
    Template("winograd", winograd.matches, winograd.emit),
    Template("chain", chain.matches, chain.emit),
    Template("convolution", convolution.matches, convolution.emit),
    Template("matmul", matmul.matches, matmul.emit),
    Template("attention", attention.matches, attention.emit),
    Template("rows", rows.matches, rows.emit),
    Template("recurrent", recurrent.matches, recurrent.emit),
    Template("scatter", scatter.matches, scatter.emit),
    Template("scan", scan.matches, scan.emit),
    Template("sort", sort.matches, sort.emit),
    Template("data_sized", data_sized.matches, data_sized.emit),
    Template("transpose", transpose.matches, transpose.emit),
    Template("border", border.matches, border.emit),
    Template("pointwise", lambda graph: True, pointwise.emit),
)


def template_of(graph: Graph) -> Template:
    """The loop shape for a group, from the op it is built around."""
    return next(template for template in TEMPLATES if template.matches(graph))
