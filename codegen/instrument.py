"""An artefact that also shows what is inside: a copy with values between kernels as outputs.

Kernels, weights and the order of the instructions stay as they are. After an instruction whose
result is wanted, a Copy saves it to an output of its own, before anything can overwrite it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from itertools import accumulate
from typing import Any

from bireme.codegen.container import pack, unpack
from bireme.codegen.lower import Lowered
from bireme.codegen.plan import Plan
from bireme.ir import Value
from bireme.runtime import schema

_PREFIX = "%captured "


def captured_name(tensor: int) -> str:
    """Name of the output that shows a tensor."""
    return f"{_PREFIX}{tensor}"


def instrumented(data: bytes, wanted: Mapping[int, Sequence[int]]) -> bytes:
    """The artefact with more outputs: for each instruction number, the tensors to save before it.

    Numbers must lie outside of loops and branches; `captured_name` gives the outputs' names.
    """
    plan, code, weights = unpack(data)
    plan.outputs = list(plan.outputs)
    late = _data_scalars(plan)
    saves = {
        at: [_save(plan, tensor, late) for tensor in tensors] for at, tensors in wanted.items()
    }
    count = len(plan.instructions)
    # How many instructions are put before instruction i, counting those put right before it.
    shift = list(accumulate(len(saves.get(i, ())) for i in range(count + 1)))
    instructions = []
    for number, instruction in enumerate(plan.instructions):
        instructions += saves.get(number, [])
        if instruction.op in _JUMPS:
            target = instruction.target
            instruction.target = target + shift[target] - len(saves.get(target, ()))
        instructions.append(instruction)
    plan.instructions = instructions + saves.get(count, [])
    return pack(plan, code, weights)


_JUMPS = tuple(
    getattr(schema.Opcode, name) for name in ("Jump", "JumpIfFalse", "LoopBegin", "LoopEnd")
)


def _save(plan: Any, number: int, late: set[int]) -> Any:
    """Adds an output for a tensor, and gives the instruction that fills it; `late` are the scalars
    that the data decides.
    """
    output = copy(plan.tensors[number])
    output.name, output.place = captured_name(number).encode(), schema.Place.Output
    output.base = output.viewOffset = output.loopStride = output.offset = 0
    output.loop, output.after = -1, None
    shown = plan.tensors[number]
    if shown.place == schema.Place.View and not late.isdisjoint(
        [shown.bytes, *_list(shown.shape)]
    ):  # it lies inside of its base, so that memory of that size is enough
        base = plan.tensors[shown.base]
        output.capacity = base.bytes if base.capacity < 0 else base.capacity
    plan.tensors.append(output)
    plan.outputs.append(len(plan.tensors) - 1)
    made = schema.InstructionT()
    made.op, made.args = schema.Opcode.Copy, [number, len(plan.tensors) - 1]
    return made


def _data_scalars(plan: Any) -> set[int]:
    """Scalars that the data decides: those behind a symbol that a Bind sets."""
    bound = {i.symbol for i in plan.instructions if i.op == schema.Opcode.Bind}
    found: set[int] = set()
    for number, scalar in enumerate(plan.scalars):
        if scalar.op == schema.ScalarOp.Symbol:
            late = scalar.a in bound
        else:
            late = scalar.op != schema.ScalarOp.Const and not found.isdisjoint([scalar.a, scalar.b])
        if late:
            found.add(number)
    return found


def inner_values(lowered: Lowered) -> dict[int, list[Value]]:
    """Results of the ops at the top of a lowered graph that have instructions, by the instruction
    before which they can be saved.
    """
    found: dict[int, list[Value]] = {}
    for op in lowered.graph.body.ops:
        if op in lowered.ends:
            found.setdefault(lowered.ends[op], []).extend(op.results)
    return found


def same_plan(data: bytes, plan: Plan) -> bool:
    """Whether an artefact runs a plan: the same instructions on the same tensors, for the same
    places in the model. Kernels and the values of weights may differ.
    """
    found, _, _ = unpack(data)
    if len(found.instructions) != len(plan.instructions) or len(found.tensors) != len(plan.tensors):
        return False
    for theirs, ours in zip(found.instructions, plan.instructions, strict=True):
        source, here = found.sources[theirs.source], plan.sources[ours.source]
        if (
            theirs.op != getattr(schema.Opcode, ours.op)
            or theirs.kernel != ours.kernel
            or tuple(_list(theirs.args)) != ours.args
            or (_text(source.op), _text(source.node)) != (here.op, here.node)
        ):
            return False
    return True


def damaged_weights(data: bytes, plan: Plan) -> list[int]:
    """Weight tensors of an artefact of this plan whose bytes are not those of the plan."""
    found, _, weights = unpack(data)
    return [
        number
        for number, array in plan.weights.items()
        if weights[found.tensors[number].offset :][: array.nbytes] != array.tobytes()
    ]


def levels_of(data: bytes) -> tuple[str, list[str]]:
    """The target that an artefact was compiled for, and its instruction sets, best first."""
    plan, _, _ = unpack(data)
    return _text(plan.target), [_text(image.isa) for image in plan.images or []]


def symbols_of(data: bytes) -> dict[str, range | None]:
    """The symbols of an artefact, and which sizes they may have: None for any number."""
    plan, _, _ = unpack(data)
    return {
        _text(symbol.name): range(symbol.min, symbol.max + 1) if symbol.max >= 0 else None
        for symbol in plan.symbols or []
    }


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def _list(value: Any) -> list[int]:
    return [] if value is None else [int(v) for v in value]
