"""Kernel specification → x86-64 object code."""

from __future__ import annotations

from bireme.codegen.cache import CompiledKernel
from bireme.codegen.compile import object_code
from bireme.codegen.kernel import emit_kernel
from bireme.codegen.parameters import NO_CHOICE, Choice
from bireme.codegen.spec import KernelSpec
from bireme.targets.description import InstructionSet

__all__ = ["compile_kernel", "emit_kernel"]


def compile_kernel(
    spec: KernelSpec, level: InstructionSet, choice: Choice = NO_CHOICE
) -> CompiledKernel:
    """Compiles one kernel for one level. Raises BM3004 or BM3005."""
    emitted = emit_kernel(spec, level, choice)
    code = object_code(emitted.function, level)
    work, chosen = emitted.work, emitted.chosen
    values = chosen.values if chosen else {}
    return CompiledKernel(code, work.tasks, work.workspace, work.phase, emitted.kind, values)
