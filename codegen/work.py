"""How a launch is cut into tasks, and what scratch memory it needs, from its kernel's work."""

from __future__ import annotations

from collections.abc import Sequence

from bireme.codegen.cache import CompiledKernel
from bireme.codegen.plan import Instruction, Plan
from bireme.codegen.templates.common import Work
from bireme.ir import Dim, maximum
from bireme.ir.dims import substitute

# A kernel for each level.
Kernel = Sequence[CompiledKernel | Work]


def fill_launches(plan: Plan, kernels: Sequence[Kernel]) -> None:
    """Gives each launch its tasks and scratch, with the kernel's sizes replaced by the launch's."""
    for launch in plan.instructions:
        if launch.op == "Launch":
            launch.tasks = tasks_of(launch, kernels[launch.kernel])
            launch.phase = phase_of(launch, kernels[launch.kernel])
            launch.workspace = scratch_of(launch, kernels[launch.kernel])


def tasks_of(launch: Instruction, kernel: Kernel) -> Dim:
    """Tasks of a launch, the same on every level."""
    return substitute(kernel[0].tasks, _sizes(launch))


def phase_of(launch: Instruction, kernel: Kernel) -> Dim:
    """Tasks of a phase of a launch, the same on every level; 0 for no phases."""
    return substitute(kernel[0].phase, _sizes(launch))


def scratch_of(launch: Instruction, kernel: Kernel) -> Dim:
    """Bytes of scratch memory that are enough on every level."""
    scratch: Dim = 0
    for level in kernel:
        needed = substitute(level.workspace, _sizes(launch))
        scratch = needed if scratch == 0 else maximum(scratch, needed)
    return scratch


def _sizes(launch: Instruction) -> dict[str, Dim]:
    return {f"s{i}": d for i, d in enumerate(launch.dims)}
