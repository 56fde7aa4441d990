"""Kernels that press one limit of a machine each, as an artefact that the runtime runs.

They are emitted and compiled like the kernels of a model, and run by the same runtime on the same
threads, so that what they reach is what a kernel of a model could reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bireme.codegen.abi import kernel_function
from bireme.codegen.artefact import KernelRow, artefact_bytes
from bireme.codegen.compile import object_code
from bireme.codegen.index import consecutive
from bireme.codegen.link import link
from bireme.codegen.plan import Instruction, Plan, Source, Tensor
from bireme.codegen.tir import Buffer, Emitter, Expr, const, index, match
from bireme.ir import Dim, DType, SymbolRange, TensorType, symbol
from bireme.targets.description import Description, InstructionSet

MULTIPLY_ADD, READ, WRITE, NOTHING = "multiply-add", "read", "write", "nothing"
# Vectors that a turn of the inner loops handles at once: more than the latency of an addition.
_UNROLL = 16
# Multiply-adds that are independent of each other: enough for two units of four cycles latency,
# and few enough to stay in registers.
_CHAINS = {32: 24, 16: 12}
# Shared between a launch's description here and its measurement.
TASKS, TURNS, FLOATS, ROOM = "tasks", "turns", "floats", "room"

_Body = Callable[[Emitter, list[Buffer], Expr, InstructionSet], None]


def vector_bytes(level: InstructionSet) -> int:
    """Bytes that a turn of an inner loop reads or writes; sizes of tasks are multiples of it."""
    return _UNROLL * level.vector_bits // 8


def multiply_adds(level: InstructionSet) -> int:
    """Multiply-adds of one turn of the kernel MULTIPLY_ADD."""
    return _CHAINS[level.registers] * level.lanes(32)


def limit_artefact(kernel: str, description: Description, launches: int = 1) -> bytes:
    """A model that launches one of the kernels. Its inputs say by their lengths how: `tasks`,
    `turns` of each over its `floats` elements of the input `data`; NOTHING looks at none.
    """
    tasks, turns, floats, room = (symbol(name) for name in (TASKS, TURNS, FLOATS, ROOM))
    plan = Plan("limits", {name: SymbolRange(1, None, 64) for name in (TASKS, TURNS, FLOATS, ROOM)})
    for name, size in zip((TASKS, TURNS, FLOATS), (tasks, turns, floats), strict=True):
        plan.tensors.append(_tensor(DType.BOOL, size, "Input", name))
    plan.tensors.append(_tensor(DType.F32, room, "Input", "data"))
    plan.tensors.append(_tensor(DType.F32, tasks * floats, "Arena", "written"))
    plan.tensors.append(_tensor(DType.F32, tasks * 64, "Output", "sums"))
    plan.inputs, plan.outputs, plan.arena_order = [0, 1, 2, 3], [5], [4]
    plan.sources = [Source(kernel, "")]
    launch = Instruction(
        "Launch",
        args=(3, 4, 5),
        dims=(turns, floats),
        tasks=tasks,
        cost=0 if kernel == NOTHING else 1 << 40,  # on as many threads as there are
    )
    plan.instructions = [launch] * launches
    body = _BODIES[kernel]
    images = [
        (level.name, link([object_code(_function(body, level), level)]))
        for level in description.levels
    ]
    rows = [KernelRow(kernel, "limit")]
    return artefact_bytes(plan, rows, images, producer="bireme", target=description.target)


def _tensor(dtype: DType, size: Dim, place: str, name: str) -> Tensor:
    kind = TensorType(dtype, (size,))
    return Tensor(dtype, kind.shape, kind.bytes, place, name)


def _function(body: _Body, level: InstructionSet) -> object:
    flat = TensorType(DType.F32, (symbol("s1"),))

    def emit(
        emitter: Emitter, buffers: list[Buffer], _workspace: Buffer, begin: Expr, end: Expr
    ) -> None:
        with emitter.loop("task", end - begin, start=begin) as task:
            body(emitter, buffers, task, level)

    names = ("data", "written", "sums")
    return kernel_function("kernel", [(n, flat) for n in names], ["s0", "s1"], emit)


def _multiply_add(emit: Emitter, buffers: list[Buffer], task: Expr, level: InstructionSet) -> None:
    """In chains that do not depend on each other: sum = sum * factor + term."""
    lanes = level.lanes(32)
    factor, term = match(
        const(0.999, "float32"), const(0.001, "float32"), _first(emit, buffers[0], lanes)
    )[:2]
    sums = [emit.registers("sum", DType.F32, lanes) for _ in range(_CHAINS[level.registers])]
    everywhere = consecutive(index(0), lanes)
    for number, register in enumerate(sums):
        emit.store(register, everywhere, const(float(number), "float32"))
    with emit.loop("turn", emit.symbols["s0"]):
        for register in sums:
            emit.store(register, everywhere, emit.load(register, everywhere) * factor + term)
    _keep(emit, buffers[2], task, [emit.load(r, everywhere) for r in sums])


def _read(emit: Emitter, buffers: list[Buffer], task: Expr, level: InstructionSet) -> None:
    """Sums of a task's own elements, again in each turn."""
    lanes = level.lanes(32)
    everywhere = consecutive(index(0), lanes)
    sums = [emit.registers("sum", DType.F32, lanes) for _ in range(_UNROLL)]
    for register in sums:
        emit.store(register, everywhere, const(0.0, "float32"))

    def visit(place: Expr) -> None:
        for number, register in enumerate(sums):
            at = consecutive(place + index(number * lanes), lanes)
            value = emit.load(register, everywhere) + emit.load(buffers[0], at)
            emit.store(register, everywhere, value)

    _sweep(emit, task, lanes, lambda place, _turn: visit(place))
    _keep(emit, buffers[2], task, [emit.load(r, everywhere) for r in sums])


def _write(emit: Emitter, buffers: list[Buffer], task: Expr, level: InstructionSet) -> None:
    """Other values into a task's own elements in each turn."""
    lanes = level.lanes(32)

    def visit(place: Expr, value: Expr) -> None:
        for number in range(_UNROLL):
            at = consecutive(place + index(number * lanes), lanes)
            emit.store(buffers[1], at, value)

    _sweep(emit, task, lanes, visit)


def _nothing(emit: Emitter, buffers: list[Buffer], task: Expr, level: InstructionSet) -> None:
    """A launch by itself."""


def _sweep(emit: Emitter, task: Expr, lanes: int, visit: Callable[[Expr, Expr], None]) -> None:
    """Calls `visit(place of the next elements, the turn as a float)` over a task's elements."""
    floats = emit.symbols["s1"]
    step = index(_UNROLL * lanes)
    start = emit.bind(task * floats, "start")
    with emit.loop("turn", emit.symbols["s0"]) as turn:
        value = emit.bind(turn.astype("float32"), "value")
        with emit.loop("step", floats // step) as number:
            visit(emit.bind(start + number * step, "place"), value)


def _first(emit: Emitter, buffer: Buffer, lanes: int) -> Expr:
    return emit.load(buffer, consecutive(index(0), lanes))


def _keep(emit: Emitter, buffer: Buffer, task: Expr, values: Sequence[Expr]) -> None:
    """Stores what was calculated, so that it has to be."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    lanes = int(total.ty.dtype.lanes)
    emit.store(buffer, consecutive(task * index(64), lanes), total)


_BODIES: dict[str, _Body] = {
    MULTIPLY_ADD: _multiply_add,
    READ: _read,
    WRITE: _write,
    NOTHING: _nothing,
}
