"""An artefact that also shows what is inside: a copy with values between kernels as outputs.

Kernels, weights and the order of the instructions stay as they are. After an instruction whose
result is wanted, a Copy saves it to an output of its own, before anything can overwrite it. In a
loop each iteration has a row of that output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from bireme.codegen.container import pack, unpack
from bireme.codegen.lower import Lowered
from bireme.codegen.plan import Plan
from bireme.ir import Block, Op, Value
from bireme.runtime import schema

_PREFIX = "%captured "


@dataclass(frozen=True)
class Turns:
    """The loop whose instructions are numbers `begin` to `end`, the last of which leads back, and
    how many of its iterations are wanted.
    """

    begin: int
    end: int
    most: int


def captured_name(tensor: int) -> str:
    """Name of the output that shows a tensor."""
    return f"{_PREFIX}{tensor}"


def instrumented(
    data: bytes, wanted: Mapping[int, Sequence[int]], turns: Turns | None = None
) -> bytes:
    """The artefact with more outputs: for each instruction number, the tensors to save before it.

    `captured_name` gives the outputs' names. Tensors saved inside of the loop of `turns` get a row
    for each iteration; what is inside of another loop must not be wanted.
    """
    plan, code, weights = unpack(data)
    plan.outputs = list(plan.outputs)
    late = _data_scalars(plan)
    saves: dict[int, list[Any]] = {at: [] for at in wanted}
    if turns is not None:
        loop = _counted(plan, turns, saves)
    for at, tensors in wanted.items():
        if turns is not None and turns.begin < at < turns.end:
            saves[at] += [_save_row(plan, tensor, loop, turns.most) for tensor in tensors]
        else:
            saves[at][:0] = [_save(plan, tensor, late) for tensor in tensors]
    _insert(plan, saves)
    return pack(plan, code, weights)


def _insert(plan: Any, added: Mapping[int, Sequence[Any]]) -> None:
    """Puts instructions before those of the numbers given. Jumps go to what is put before their
    target, the ends of a loop to each other.
    """
    count = len(plan.instructions)
    # How many instructions are put before instruction i, counting those put right before it.
    shift = list(accumulate(len(added.get(i, ())) for i in range(count + 1)))
    instructions: list[Any] = []
    for number, instruction in enumerate(plan.instructions):
        instructions += added.get(number, [])
        if instruction.op in _JUMPS:
            target = instruction.target
            instruction.target = target + shift[target] - len(added.get(target, ()))
        instructions.append(instruction)
    plan.instructions = instructions + list(added.get(count, []))
    begins: dict[int, int] = {}
    for number, instruction in enumerate(plan.instructions):
        if instruction.op == schema.Opcode.LoopBegin:
            begins[instruction.loop] = number
        elif instruction.op == schema.Opcode.LoopEnd:
            instruction.target = begins[instruction.loop] + 1
            plan.instructions[begins[instruction.loop]].target = number + 1


_JUMPS = (schema.Opcode.Jump, schema.Opcode.JumpIfFalse)


def _counted(plan: Any, turns: Turns, saves: dict[int, list[Any]]) -> int:
    """The counter of a loop; one that ends by a jump back alone is made to count."""
    last = plan.instructions[turns.end]
    if last.op == schema.Opcode.LoopEnd:
        return int(last.loop)
    loop = int(plan.loops)
    plan.loops += 1
    begin = copy(last)
    begin.op, last.op = schema.Opcode.LoopBegin, schema.Opcode.LoopEnd
    begin.loop = last.loop = loop
    begin.trip = last.trip = _scalar(plan, schema.ScalarOp.Const, turns.most)
    saves.setdefault(turns.begin, []).append(begin)
    return loop


def _scalar(plan: Any, op: int, a: int, b: int = 0) -> int:
    """Adds a size."""
    made = schema.ScalarT()
    made.op, made.a, made.b = op, a, b
    plan.scalars.append(made)
    return len(plan.scalars) - 1


def _save(plan: Any, number: int, late: set[int]) -> Any:
    """Adds an output for a tensor, and gives the instruction that fills it; `late` are the scalars
    that the data decides.
    """
    shown = plan.tensors[number]
    output = _output(shown, number)
    if shown.place == schema.Place.View and not late.isdisjoint(
        [shown.bytes, *_list(shown.shape)]
    ):  # it lies inside of its base, so that memory of that size is enough
        base = plan.tensors[shown.base]
        output.capacity = base.bytes if base.capacity < 0 else base.capacity
    plan.outputs.append(_tensor(plan, output))
    return _copied(number, len(plan.tensors) - 1)


def _save_row(plan: Any, number: int, loop: int, most: int) -> Any:
    """The same in a loop: the output has a row for each iteration."""
    shown = plan.tensors[number]
    output, row = _output(shown, number), copy(shown)
    rows = _scalar(plan, schema.ScalarOp.Const, most)
    output.shape = [rows, *_list(shown.shape)]
    output.bytes = _scalar(plan, schema.ScalarOp.Mul, rows, shown.bytes)
    plan.outputs.append(_tensor(plan, output))
    row.place, row.base, row.loop = schema.Place.View, len(plan.tensors) - 1, loop
    row.viewOffset = _scalar(plan, schema.ScalarOp.Const, 0)
    row.loopStride, row.offset, row.after = shown.bytes, 0, None
    return _copied(number, _tensor(plan, row))


def _output(shown: Any, number: int) -> Any:
    output = copy(shown)
    output.name, output.place = captured_name(number).encode(), schema.Place.Output
    output.base = output.viewOffset = output.loopStride = output.offset = 0
    output.loop, output.after = -1, None
    return output


def _tensor(plan: Any, tensor: Any) -> int:
    plan.tensors.append(tensor)
    return len(plan.tensors) - 1


def _copied(source: int, target: int) -> Any:
    made = schema.InstructionT()
    made.op, made.args = schema.Opcode.Copy, [source, target]
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


def inner_values(lowered: Lowered, blocks: Sequence[Block]) -> dict[int, list[Value]]:
    """Results of the ops of some blocks of a lowered graph that have instructions, by the
    instruction before which they can be saved.
    """
    found: dict[int, list[Value]] = {}
    for block in blocks:
        for op in block.ops:
            if op in lowered.ends:
                found.setdefault(lowered.ends[op], []).extend(_specified(op))
    return found


def _specified(op: Op) -> list[Value]:
    """Results of which every element is specified: not those with rows of steps not taken."""
    if op.name == "scan" and op.attrs["conditional"]:
        return op.results[: op.attrs["carries"]]
    return op.results


def sized_by_data(data: bytes, tensors: Sequence[int]) -> set[int]:
    """Which of an artefact's tensors have sizes that the data decides."""
    plan, _, _ = unpack(data)
    late = _data_scalars(plan)
    shown = ((n, plan.tensors[n]) for n in tensors)
    return {n for n, t in shown if not late.isdisjoint([t.bytes, *_list(t.shape)])}


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
