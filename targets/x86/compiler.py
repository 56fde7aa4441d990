"""Kernel specification → x86-64 object code."""

from __future__ import annotations

from bireme.codegen.cache import CompiledKernel
from bireme.codegen.compile import object_code
from bireme.codegen.kernel import emit_kernel
from bireme.codegen.spec import KernelSpec
from bireme.targets.description import InstructionSet

__all__ = ["compile_kernel", "emit_kernel"]


def compile_kernel(spec: KernelSpec, level: InstructionSet) -> CompiledKernel:
    """Compiles one kernel for one level. Raises BM3004 or BM3005."""
    emitted = emit_kernel(spec, level)
    code = object_code(emitted.function, level)
    return CompiledKernel(code, emitted.work.tasks, emitted.work.workspace, emitted.kind)
