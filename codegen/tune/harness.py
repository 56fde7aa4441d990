"""An artefact that launches one kernel in several variants, one after another, for measuring.

Every variant works on the same operands, which the artefact holds as it does the results that the
reference has for them: whoever runs it needs no data. Before a variant runs, its result's memory is
filled with something else, so that an element that it does not write is noticed; a copy from memory
to memory takes what the last variant left out of the caches, as the other kernels of the model
would; and the operands that another kernel has just written there are written again. Each variant's
results are outputs of their own, and so are the expected ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bireme.codegen.arena import place_arena
from bireme.codegen.artefact import KernelRow, artefact_bytes
from bireme.codegen.cache import CompiledKernel
from bireme.codegen.link import link
from bireme.codegen.plan import Instruction, Plan, Source, Tensor
from bireme.codegen.spec import KernelSpec
from bireme.codegen.tune.case import Case
from bireme.ir import Array, DType, TensorType, evaluate
from bireme.targets.description import InstructionSet

# Name of the operation that an instruction does: the variant by its number.
VARIANT = "variant "


@dataclass(frozen=True)
class Setting:
    """What a kernel is measured with.

    `sizes` are those of its symbols `s0, s1, ...` in order. `cost` is the launch's estimate, in
    nanoseconds, by which the runtime decides on threads. `evicted` is how many bytes are copied
    before each launch, `warm` are the operands that are written after that, by their number.
    """

    sizes: tuple[int, ...]
    cost: int
    evicted: int
    warm: frozenset[int] = frozenset()


def output_name(variant: int, result: int) -> str:
    """Name of the output that shows a result of a variant."""
    return f"v{variant}.r{result}"


def expected_name(result: int) -> str:
    """Name of the output that shows what a result should be."""
    return f"expected.r{result}"


def harness(
    spec: KernelSpec,
    variants: Sequence[CompiledKernel],
    target: str,
    level: InstructionSet,
    setting: Setting,
    case: Case,
) -> bytes:
    """The artefact. The instructions that launch variants have the op `variant N`."""
    builder = _Builder(spec, setting, case)
    for number, kernel in enumerate(variants):
        builder.add_variant(number, kernel)
    builder.add_expected(case)
    place_arena(builder.plan)
    image = link([kernel.code for kernel in variants])
    rows = [KernelRow(f"{k.kind}_{number}", k.kind) for number, k in enumerate(variants)]
    return artefact_bytes(
        builder.plan, rows, [(level.name, image)], producer="bireme tune", target=target
    )


class _Builder:
    def __init__(self, spec: KernelSpec, setting: Setting, case: Case) -> None:
        self.plan = Plan("kernel", {})
        self._setting = setting
        self._env = {f"s{i}": size for i, size in enumerate(setting.sizes)}
        graph = spec.graph()
        self._source("prepare")
        # Operands are copied, so that they are aligned as between kernels.
        self._given = [self._held(array) for array in case.operands]
        self._operands = [self._tensor(self._sized(v.type), "Arena") for v in graph.inputs]
        for given, operand in zip(self._given, self._operands, strict=True):
            self._copy(given, operand)
        self._results = [self._sized(v.type) for v in graph.outputs]
        self._places = [self._tensor(t, "Arena") for t in self._results]
        self._stale = [self._filled(t) for t in self._results]
        # Twice: what is read and what is written.
        block = TensorType(DType.U8, (max(0, setting.evicted // 2),))
        self._cold = (self._filled(block), self._tensor(block, "Arena"))

    def add_variant(self, number: int, kernel: CompiledKernel) -> None:
        """Adds a launch of a kernel between copies that prepare it and show what it gave."""
        setting, plan = self._setting, self.plan
        for stale, place in zip(self._stale, self._places, strict=True):
            self._copy(stale, place)
        self._copy(*self._cold)
        for operand in sorted(setting.warm):
            self._copy(self._given[operand], self._operands[operand])
        plan.instructions.append(
            Instruction(
                "Launch",
                self._source(f"{VARIANT}{number}"),
                kernel=number,
                args=(*self._operands, *self._places),
                dims=setting.sizes,
                tasks=evaluate(kernel.tasks, self._env),
                cost=setting.cost,
                workspace=evaluate(kernel.workspace, self._env),
                phase=evaluate(kernel.phase, self._env),
                results=len(self._places),
            )
        )
        for result, place in enumerate(self._places):
            self._show(place, self._results[result], output_name(number, result))

    def add_expected(self, case: Case) -> None:
        """Adds what the results should be, as outputs."""
        for result, array in enumerate(case.expected):
            self._show(self._held(array), self._results[result], expected_name(result))

    def _show(self, tensor: int, kind: TensorType, name: str) -> None:
        shown = self._tensor(kind, "Output", name)
        self.plan.outputs.append(shown)
        self._copy(tensor, shown)

    def _sized(self, tensor: TensorType) -> TensorType:
        return tensor.with_shape([evaluate(d, self._env) for d in tensor.shape])

    def _tensor(self, tensor: TensorType, place: str, name: str = "") -> int:
        self.plan.tensors.append(Tensor(tensor.dtype, tensor.shape, tensor.bytes, place, name))
        return len(self.plan.tensors) - 1

    def _held(self, array: Array) -> int:
        """A weight of that data."""
        number = self._tensor(TensorType(DType.of(array), array.shape), "Weight")
        self.plan.weights[number] = np.ascontiguousarray(array)
        return number

    def _filled(self, tensor: TensorType) -> int:
        """A weight of bytes that are no likely result: NaN in floats, large integers."""
        number = self._tensor(tensor, "Weight")
        count = evaluate(tensor.bytes, {})
        self.plan.weights[number] = np.full(count, 0xFF, np.uint8)
        return number

    def _source(self, op: str) -> int:
        self.plan.sources.append(Source(op, ""))
        return len(self.plan.sources) - 1

    def _copy(self, source: int, target: int) -> None:
        self.plan.instructions.append(Instruction("Copy", 0, args=(source, target)))
