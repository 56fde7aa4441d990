"""How much memory to reserve for tensors whose size the data decides."""

from __future__ import annotations

from dataclasses import replace

from bireme.codegen.plan import Plan
from bireme.ir.capacity import Capacity


def reserve(plan: Plan) -> None:
    """Fills in `capacity` of the tensors whose size the data decides, and makes scratch sizes
    free of it.
    """
    capacity = Capacity(plan.bounds, plan.equal)
    for tensor in plan.tensors:
        if tensor.place in ("Arena", "Output") and capacity.depends(tensor.bytes):
            tensor.capacity = capacity.most(tensor.bytes)
    for instruction in plan.instructions:
        instruction.workspace = capacity.most(instruction.workspace)
        instruction.versions = tuple(
            replace(version, workspace=capacity.most(version.workspace))
            for version in instruction.versions
        )
