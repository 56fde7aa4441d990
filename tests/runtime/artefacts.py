"""Small artefacts written by hand, so that the runtime is tested without the compiler."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import flatbuffers
import numpy as np
import xxhash

from bireme.runtime import schema

PAGE = 4096

# out[i] = in[i] + in[i] for float32, i in [begin, end); args rdi, begin rcx, end r8.
DOUBLE_F32 = bytes.fromhex(
    "488b07"  # mov rax, [rdi]
    "4c8b4f08"  # mov r9, [rdi+8]
    "4c39c1"  # loop: cmp rcx, r8
    "7d14"  # jge done
    "f30f100488"  # movss xmm0, [rax+rcx*4]
    "f30f58c0"  # addss xmm0, xmm0
    "f3410f110489"  # movss [r9+rcx*4], xmm0
    "48ffc1"  # inc rcx
    "ebe7"  # jmp loop
    "31c0c3"  # done: xor eax, eax; ret
)
# return 1: the fault "index out of range".
FAULT_INDEX = bytes.fromhex("b801000000c3")


def pad(data: bytes, unit: int) -> bytes:
    return data + b"\0" * (-len(data) % unit)


def checksum(section: bytes) -> int:
    """The hash of the hashes of whole chunks, by XXH3, and of the rest, by XXH64."""
    hashes = b""
    while len(section) >= 1 << 20:
        hashes += struct.pack("<Q", xxhash.xxh3_64_intdigest(section[: 1 << 20]))
        section = section[1 << 20 :]
    return xxhash.xxh64_intdigest(hashes + struct.pack("<Q", xxhash.xxh64_intdigest(section)))


def container(plan: bytes, code: bytes = b"", weights: bytes = b"") -> bytes:
    """The file around a plan, as docs/artefact.md gives it."""
    offsets, at = [], 128
    for section, unit in ((plan, 8), (code, PAGE), (weights, PAGE)):
        at += -at % unit if section else 0
        offsets.append(at)
        at += len(section)
    header = b"BIREME\x1a\n" + struct.pack("<IIQ", 2, 128, at)
    for offset, section in zip(offsets, (plan, code, weights), strict=True):
        header += struct.pack("<QQQ", offset, len(section), checksum(section))
    header += struct.pack("<Q", xxhash.xxh64_intdigest(header))
    file = bytearray(pad(header, 128))
    for offset, section in zip(offsets, (plan, code, weights), strict=True):
        file += b"\0" * (offset - len(file) if section else 0)
        file += section
    return bytes(file)


class PlanBuilder:
    """Collects a plan; every method returns the index of what it adds."""

    def __init__(self, model: str = "test") -> None:
        self.plan = schema.PlanT()
        self.plan.producer, self.plan.model, self.plan.target = "test 1", model, "x86"
        for name in (
            "symbols", "scalars", "tensors", "arenaOrder", "inputs", "outputs", "kernels", "images",
            "instructions", "sources", "constraints",
        ):  # fmt: skip
            setattr(self.plan, name, [])
        self.kernels: list[bytes] = []

    def scalar(self, a: int, b: int = 0, op: int = schema.ScalarOp.Const) -> int:
        entry = schema.ScalarT()
        entry.a, entry.b, entry.op = a, b, op
        self.plan.scalars.append(entry)
        return len(self.plan.scalars) - 1

    def symbol(self, name: str, low: int = 0, high: int = -1, hint: int = 1) -> int:
        """Scalar index of a new symbol."""
        entry = schema.SymbolT()
        entry.name, entry.min, entry.max, entry.hint = name, low, high, hint
        self.plan.symbols.append(entry)
        return self.scalar(len(self.plan.symbols) - 1, op=schema.ScalarOp.Symbol)

    def product(self, scalars: Sequence[int], start: int = 1) -> int:
        total = self.scalar(start)
        for index in scalars:
            total = self.scalar(total, index, schema.ScalarOp.Mul)
        return total

    def tensor(self, name: str, place: int, dtype: int, shape: Sequence[int], width: int) -> int:
        """`shape` holds scalar indices, `width` is the bytes of an element."""
        entry = schema.TensorT()
        entry.name, entry.place, entry.dtype, entry.shape = name, place, dtype, list(shape)
        entry.bytes = self.product(shape, width)
        self.plan.tensors.append(entry)
        index = len(self.plan.tensors) - 1
        listed = {
            schema.Place.Input: self.plan.inputs,
            schema.Place.Output: self.plan.outputs,
            schema.Place.Arena: self.plan.arenaOrder,
        }
        if place in listed:
            listed[place].append(index)
        return index

    def source(self, op: str, node: str) -> int:
        entry = schema.SourceT()
        entry.op, entry.node = op, node
        self.plan.sources.append(entry)
        return len(self.plan.sources) - 1

    def kernel(self, name: str, code: bytes) -> int:
        entry = schema.KernelT()
        entry.name, entry.kind = name, "elementwise"
        self.plan.kernels.append(entry)
        self.kernels.append(code)
        return len(self.kernels) - 1

    def view(self, base: int, dtype: int, shape: Sequence[int], width: int) -> int:
        """The start of another tensor."""
        index = self.tensor("", schema.Place.View, dtype, shape, width)
        self.plan.tensors[index].base = base
        self.plan.tensors[index].viewOffset = self.scalar(0)
        return index

    def version(self, kernel: int, guard: tuple[int, int], tasks: int) -> None:
        """Another kernel for the last launch, where a scalar has a value."""
        condition, entry = schema.GuardT(), schema.VersionT()
        condition.scalar, condition.value = guard
        entry.kernel, entry.guards = kernel, [condition]
        entry.tasks, entry.workspace = tasks, self.scalar(0)
        self.plan.instructions[-1].versions = [entry]

    def bind(self, tensor: int, symbol: int, bound: int, source: int) -> None:
        """`symbol` is the scalar index that `symbol` gave, `bound` any scalar index."""
        entry = schema.InstructionT()
        entry.op, entry.source, entry.args = schema.Opcode.Bind, source, [tensor]
        entry.symbol, entry.bound = self.plan.scalars[symbol].a, bound
        self.plan.instructions.append(entry)

    def launch(self, kernel: int, args: Sequence[int], tasks: int, source: int) -> None:
        entry = schema.InstructionT()
        entry.op, entry.kernel = schema.Opcode.Launch, kernel
        entry.args, entry.dims = list(args), []
        entry.tasks, entry.source = tasks, source
        entry.cost, entry.workspace = self.scalar(0), self.scalar(0)
        self.plan.instructions.append(entry)

    def copy(self, source_tensor: int, target_tensor: int, source: int) -> None:
        entry = schema.InstructionT()
        entry.op, entry.source = schema.Opcode.Copy, source
        entry.args = [source_tensor, target_tensor]
        self.plan.instructions.append(entry)

    def finish(self, weights: bytes = b"", isa: str = "x86-64-v2") -> bytes:
        code = b""
        entries = []
        for kernel in self.kernels:
            entries.append(len(code))
            code += pad(kernel, 16)
        code = pad(code, PAGE)
        if entries:
            image = schema.CodeImageT()
            image.isa, image.offset, image.bytes = isa, 0, len(code)
            image.importOffset, image.imports, image.entries = len(code), [], entries
            self.plan.images.append(image)
        builder = flatbuffers.Builder()
        builder.Finish(self.plan.Pack(builder))
        return container(bytes(builder.Output()), code, weights)


def doubling(*, symbolic: bool = True, code: bytes = DOUBLE_F32) -> bytes:
    """X [n, 3] float32 -> y = 2 x through the arena; n in [1, 100] or fixed to 4."""
    b = PlanBuilder()
    n = b.symbol("n", 1, 100, hint=4) if symbolic else b.scalar(4)
    shape = (n, b.scalar(3))
    f32 = schema.DType.F32
    x = b.tensor("x", schema.Place.Input, f32, shape, 4)
    t = b.tensor("t", schema.Place.Arena, f32, shape, 4)
    y = b.tensor("y", schema.Place.Output, f32, shape, 4)
    where = b.source("add", "Add_7")
    b.launch(b.kernel("double", code), (x, t), b.product(shape), where)
    b.copy(t, y, where)
    return b.finish()


def identity(dtype: int, width: int) -> bytes:
    """X [n] -> y = x for one element type."""
    b = PlanBuilder()
    shape = (b.symbol("n"),)
    x = b.tensor("x", schema.Place.Input, dtype, shape, width)
    y = b.tensor("y", schema.Place.Output, dtype, shape, width)
    b.copy(x, y, b.source("identity", "Identity_0"))
    return b.finish()


def constant(values: np.ndarray) -> bytes:
    """A model without inputs whose output is a float32 weight."""
    b = PlanBuilder()
    shape = [b.scalar(size) for size in values.shape]
    w = b.tensor("w", schema.Place.Weight, schema.DType.F32, shape, 4)
    y = b.tensor("y", schema.Place.Output, schema.DType.F32, shape, 4)
    b.copy(w, y, b.source("constant", "Constant_0"))
    return b.finish(weights=values.astype("<f4").tobytes())


def first() -> bytes:
    """X [n] float32 and a count -> y = the first `count` elements of x, doubled if n is 3."""
    b = PlanBuilder()
    n, f32 = b.symbol("n"), schema.DType.F32
    x = b.tensor("x", schema.Place.Input, f32, (n,), 4)
    count = b.tensor("count", schema.Place.Input, schema.DType.I64, (), 8)
    where = b.source("prefix", "Slice_3")
    taken = b.symbol("taken")
    b.bind(count, taken, n, where)
    y = b.tensor("y", schema.Place.Output, f32, (taken,), 4)
    b.plan.tensors[y].capacity = b.product((n,), 4)
    head = b.view(x, f32, (taken,), 4)
    b.copy(head, y, where)
    b.launch(b.kernel("nothing", bytes.fromhex("31c0c3")), (head, y), b.scalar(1), where)
    b.version(b.kernel("double", DOUBLE_F32), (n, 3), taken)
    return b.finish()
