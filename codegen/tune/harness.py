"""An artefact that launches one kernel in several variants, one after another, for measuring.

Every variant works on the same operands. Before it runs, its result's memory is filled with
something else, so that an element that it does not write is noticed, and a copy from memory to
memory takes what the last variant left out of the caches, as the other kernels of the model would.
Each variant's results are outputs of their own.
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
from bireme.ir import DType, TensorType, evaluate
from bireme.targets.description import InstructionSet

# Name of the operation that an instruction does: the variant by its number.
VARIANT = "variant "


@dataclass(frozen=True)
class Setting:
    """What a kernel is measured with.

    `sizes` are those of its symbols `s0, s1, ...` in order. `cost` is the launch's estimate, in
    nanoseconds, by which the runtime decides on threads. `evicted` is how many bytes are copied
    before each launch.
    """

    sizes: tuple[int, ...]
    cost: int
    evicted: int


def output_name(variant: int, result: int) -> str:
    """Name of the output that shows a result of a variant."""
    return f"v{variant}.r{result}"


def harness(
    spec: KernelSpec,
    variants: Sequence[CompiledKernel],
    target: str,
    level: InstructionSet,
    setting: Setting,
) -> bytes:
    """The artefact. The instructions that launch variants have the op `variant N`."""
    builder = _Builder(spec, setting)
    for number, kernel in enumerate(variants):
        builder.add_variant(number, kernel)
    place_arena(builder.plan)
    image = link([kernel.code for kernel in variants])
    rows = [KernelRow(f"{k.kind}_{number}", k.kind) for number, k in enumerate(variants)]
    return artefact_bytes(
        builder.plan, rows, [(level.name, image)], producer="bireme tune", target=target
    )


class _Builder:
    def __init__(self, spec: KernelSpec, setting: Setting) -> None:
        self.plan = Plan("kernel", {})
        self._setting = setting
        self._env = {f"s{i}": size for i, size in enumerate(setting.sizes)}
        graph = spec.graph()
        self._source("prepare")
        self._operands = [
            self._copied(f"a{i}", self._sized(v.type)) for i, v in enumerate(graph.inputs)
        ]
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
            )
        )
        for result, place in enumerate(self._places):
            shown = self._tensor(self._results[result], "Output", output_name(number, result))
            plan.outputs.append(shown)
            self._copy(place, shown)

    def _sized(self, tensor: TensorType) -> TensorType:
        return tensor.with_shape([evaluate(d, self._env) for d in tensor.shape])

    def _tensor(self, tensor: TensorType, place: str, name: str = "") -> int:
        self.plan.tensors.append(Tensor(tensor.dtype, tensor.shape, tensor.bytes, place, name))
        return len(self.plan.tensors) - 1

    def _copied(self, name: str, tensor: TensorType) -> int:
        """An input in memory that is aligned as between kernels."""
        given, placed = self._tensor(tensor, "Input", name), self._tensor(tensor, "Arena")
        self.plan.inputs.append(given)
        self._copy(given, placed)
        return placed

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
