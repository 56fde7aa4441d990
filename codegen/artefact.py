"""Writes a plan, code and weights as an artefact (docs/artefact.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bireme.codegen.container import pack, round_up
from bireme.codegen.link import Image
from bireme.codegen.plan import Plan, Version
from bireme.codegen.scalars import Scalars
from bireme.ir import Dim, DType
from bireme.runtime import schema

_WEIGHT_ALIGNMENT = 64

# Order of `DType` in the schema.
_DTYPE_NUMBERS = {dtype: number for number, dtype in enumerate(DType)}


@dataclass(frozen=True)
class KernelRow:
    """A kernel's name and kind, for reports."""

    name: str
    kind: str


def artefact_bytes(
    plan: Plan,
    kernels: Sequence[KernelRow],
    images: Sequence[tuple[str, Image]],
    *,
    producer: str,
    target: str,
    records: str = "",
) -> bytes:
    """The whole file. `images` are (instruction set, code), best first."""
    weights, offsets = _weights(plan)
    code = b"".join(image.code for _, image in images)
    root = _plan_table(plan, offsets, kernels, images)
    root.producer, root.target, root.records = producer, target, records
    return pack(root, code, weights)


def _weights(plan: Plan) -> tuple[bytes, dict[int, int]]:
    """The weights section, and each weight tensor's offset in it."""
    offsets: dict[int, int] = {}
    end = 0
    for number, array in plan.weights.items():
        offsets[number] = round_up(end, _WEIGHT_ALIGNMENT)
        end = offsets[number] + array.nbytes
    section = bytearray(end)
    for number, array in plan.weights.items():
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        section[offsets[number] : offsets[number] + array.nbytes] = data.tobytes()
    return bytes(section), offsets


def _plan_table(
    plan: Plan,
    offsets: dict[int, int],
    kernels: Sequence[KernelRow],
    images: Sequence[tuple[str, Image]],
) -> Any:
    scalars = Scalars({name: number for number, name in enumerate(plan.symbols)})
    root = schema.PlanT()
    root.model = plan.model
    root.symbols = [_symbol(name, sizes) for name, sizes in plan.symbols.items()]
    root.tensors = [_tensor(t, scalars, offsets.get(i)) for i, t in enumerate(plan.tensors)]
    root.arenaOrder = plan.arena_order
    root.inputs, root.outputs = plan.inputs, plan.outputs
    root.kernels = [_fill(schema.KernelT(), name=k.name, kind=k.kind) for k in kernels]
    root.images = _images(images)
    root.loops = plan.loops
    root.instructions = [_instruction(i, scalars) for i in plan.instructions]
    root.sources = [_fill(schema.SourceT(), **vars(s)) for s in plan.sources]
    root.constraints = [
        _fill(schema.ConstraintT(), a=scalars.of(c.a), b=scalars.of(c.b), source=c.source)
        for c in plan.checks
    ]
    root.arenaHintBytes = plan.arena_bytes
    root.arenaLowerBoundBytes = plan.arena_lower_bound
    root.scalars = [
        _fill(schema.ScalarT(), op=getattr(schema.ScalarOp, e.op), a=e.a, b=e.b)
        for e in scalars.entries
    ]
    return root


def _fill(table: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        assert hasattr(table, name), f"the schema has no field {name}"
        setattr(table, name, value)
    return table


def _symbol(name: str, sizes: Any) -> Any:
    most = -1 if sizes.most is None else sizes.most
    return _fill(schema.SymbolT(), name=name, min=sizes.least, max=most, hint=sizes.typical)


def _tensor(tensor: Any, scalars: Scalars, weight_offset: int | None) -> Any:
    return _fill(
        schema.TensorT(),
        name=tensor.name,
        dtype=_DTYPE_NUMBERS[tensor.dtype],
        shape=scalars.all(tensor.shape),
        bytes=scalars.of(tensor.bytes),
        place=getattr(schema.Place, tensor.place),
        offset=tensor.offset if weight_offset is None else weight_offset,
        after=list(tensor.after),
        base=tensor.base,
        viewOffset=scalars.of(tensor.view_offset),
        loop=tensor.loop,
        loopStride=scalars.of(tensor.loop_stride),
        capacity=_optional(tensor.capacity, scalars),
    )


def _images(images: Sequence[tuple[str, Image]]) -> list[Any]:
    rows, offset = [], 0
    for isa, image in images:
        rows.append(
            _fill(
                schema.CodeImageT(),
                isa=isa,
                offset=offset,
                bytes=len(image.code),
                importOffset=image.import_offset,
                imports=list(image.imports),
                entries=list(image.entries),
            )
        )
        offset += len(image.code)
    return rows


def _instruction(row: Any, scalars: Scalars) -> Any:
    return _fill(
        schema.InstructionT(),
        op=getattr(schema.Opcode, row.op),
        kernel=row.kernel,
        args=list(row.args),
        dims=scalars.all(row.dims),
        tasks=scalars.of(row.tasks),
        cost=scalars.of(row.cost),
        workspace=scalars.of(row.workspace),
        phase=_phase(row.phase, scalars),
        target=row.target,
        loop=row.loop,
        trip=scalars.of(row.trip),
        source=row.source,
        versions=[_version(v, scalars) for v in row.versions] or None,
        symbol=scalars.symbol(row.symbol) if row.op == "Bind" else 0,
        bound=scalars.of(row.bound),
        stream=row.stream,
        seed=row.seed,
        operations=_optional(row.operations, scalars),
        moved=_optional(row.moved, scalars),
        results=row.results,
    )


def _phase(dim: Dim, scalars: Scalars) -> int:
    return -1 if dim == 0 else scalars.of(dim)


def _optional(dim: Dim | None, scalars: Scalars) -> int:
    return -1 if dim is None else scalars.of(dim)


def _version(version: Version, scalars: Scalars) -> Any:
    return _fill(
        schema.VersionT(),
        kernel=version.kernel,
        guards=[
            _fill(schema.GuardT(), value=value, scalar=scalars.of(size))
            for size, value in version.guards
        ],
        tasks=scalars.of(version.tasks),
        workspace=scalars.of(version.workspace),
        phase=_phase(version.phase, scalars),
    )
