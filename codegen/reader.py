"""Reads an artefact back as a plan whose sizes are numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bireme.codegen.arena import live_bytes
from bireme.codegen.classes import form_at
from bireme.codegen.container import round_up, unpack
from bireme.codegen.plan import Instruction, Plan, Source, Tensor, Version
from bireme.ir import DType, SymbolRange, evaluate
from bireme.passes.memory_plan import ALIGNMENT
from bireme.runtime import schema

_DTYPES = tuple(DType)
_PLACES = {number: name for name, number in vars(schema.Place).items() if name[:1] != "_"}
_OPCODES = {number: name for name, number in vars(schema.Opcode).items() if name[:1] != "_"}
# Scalar operations, rounding towards minus infinity; a division by zero makes no plan readable.
_OPERATIONS: Mapping[str, Any] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "FloorDiv": lambda a, b: a // b if b else 0,
    "CeilDiv": lambda a, b: -(-a // b) if b else 0,
    "Mod": lambda a, b: a % b if b else 0,
    "Min": min,
    "Max": max,
}
_SCALAR_OPS = {number: name for name, number in vars(schema.ScalarOp).items() if name[:1] != "_"}


def read_plan(data: bytes, sizes: Mapping[str, int]) -> tuple[Plan, list[str]]:
    """The plan of an artefact at given sizes, and the names of its kernels.

    Symbols that `sizes` lacks have their hints, those that the data decides their bounds. `offset`
    of an arena tensor is where the runtime puts it; `arena_bytes` and `arena_lower_bound` are those
    of the sizes. The file must be one that the runtime has loaded.
    """
    found, _, _ = unpack(data)
    bounds = {i.symbol: i.bound for i in found.instructions if _OPCODES[i.op] == "Bind"}
    scalars = _evaluate(found, sizes, bounds)
    plan = Plan(_text(found.model), _symbols(found))
    plan.tensors = [_tensor(t, scalars) for t in found.tensors or ()]
    plan.inputs, plan.outputs = _ints(found.inputs), _ints(found.outputs)
    plan.instructions = [_instruction(i, scalars) for i in found.instructions or ()]
    plan.sources = [
        Source(_text(s.op), _text(s.node), _text(s.kind), form_at(_text(s.form), sizes))
        for s in found.sources or ()
    ]
    plan.loops = found.loops
    plan.arena_order = _ints(found.arenaOrder)
    _place(plan)
    return plan, [_text(kernel.name) for kernel in found.kernels or ()]


def _evaluate(found: Any, sizes: Mapping[str, int], bounds: Mapping[int, int]) -> list[int]:
    values: list[int] = []
    for scalar in found.scalars or ():
        op = _SCALAR_OPS[scalar.op]
        if op == "Const":
            values.append(scalar.a)
        elif op == "Symbol":
            symbol = found.symbols[scalar.a]
            bound = bounds.get(scalar.a)
            # A bound may stand further down; what depends on it is then only estimated.
            known = bound is not None and bound < len(values)
            typical = values[bound] if bound is not None and known else symbol.hint
            values.append(sizes.get(_text(symbol.name), typical))
        else:
            values.append(_OPERATIONS[op](values[scalar.a], values[scalar.b]))
    return values


def _symbols(found: Any) -> dict[str, SymbolRange]:
    return {
        _text(s.name): SymbolRange(s.min, None if s.max < 0 else s.max, s.hint)
        for s in found.symbols or ()
    }


def _tensor(row: Any, scalars: Sequence[int]) -> Tensor:
    return Tensor(
        _DTYPES[row.dtype],
        tuple(scalars[d] for d in _ints(row.shape)),
        scalars[row.bytes],
        _PLACES[row.place],
        _text(row.name),
        row.offset,
        tuple(_ints(row.after)),
        row.base,
        scalars[row.viewOffset],
        row.loop,
        scalars[row.loopStride],
        None if row.capacity < 0 else scalars[row.capacity],
    )


def _instruction(row: Any, scalars: Sequence[int]) -> Instruction:
    return Instruction(
        _OPCODES[row.op],
        row.source,
        row.kernel,
        tuple(_ints(row.args)),
        tuple(scalars[d] for d in _ints(row.dims)),
        scalars[row.tasks],
        scalars[row.cost],
        scalars[row.workspace],
        _phase(row, scalars),
        row.target,
        row.loop,
        scalars[row.trip],
        versions=tuple(_version(v, scalars) for v in row.versions or ()),
        operations=None if row.operations < 0 else scalars[row.operations],
        moved=None if row.moved < 0 else scalars[row.moved],
        results=row.results,
    )


def _version(row: Any, scalars: Sequence[int]) -> Version:
    guards = tuple((scalars[g.scalar], g.value) for g in row.guards or ())
    work = scalars[row.tasks], scalars[row.workspace], _phase(row, scalars)
    return Version(row.kernel, guards, *work)


def _phase(row: Any, scalars: Sequence[int]) -> int:
    return 0 if row.phase < 0 else scalars[row.phase]


def _place(plan: Plan) -> None:
    """Puts arena tensors where the runtime does (docs/artefact.md, "Arena")."""
    ends: dict[int, int] = {}
    for number in plan.arena_order:
        tensor = plan.tensors[number]
        start = max([tensor.offset, *(ends[other] for other in tensor.after)])
        tensor.offset = round_up(start, ALIGNMENT)
        ends[number] = tensor.offset + evaluate(tensor.reserved, {})
    plan.arena_bytes = max(ends.values(), default=0)
    # What is alive counts with its padding, which the last tensor of the arena does without.
    plan.arena_lower_bound = min(max(live_bytes(plan), default=0), plan.arena_bytes)


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def _ints(value: Any) -> list[int]:
    return [] if value is None else [int(v) for v in value]
