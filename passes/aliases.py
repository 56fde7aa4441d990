"""Values that can lie inside others, so that a concat or a slice is no work.

Behind axes of size 1, the operands of a concat stand one after the other in its result: kernels
that make them can store them there. In the same way a slice along the first axis that is not 1 is a
run of its operand's memory. Reshapes are left to whoever asks: they are the same memory as their
operand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bireme.ir import Block, Dim, Graph, Op, Value, product
from bireme.ir.dims import symbols_of

# Ops whose result is the memory of their first operand.
SHOWS_OPERAND = frozenset({"reshape", "prefix"})
# Kernels count on the alignment of what they read and write.
ALIGNMENT = 64


@dataclass(frozen=True)
class Alias:
    """A place inside another value, which is itself no alias: `offset` bytes from its start."""

    base: Value
    offset: Dim


@dataclass(frozen=True)
class Aliases:
    """What `find_aliases` found. `places` has no reshapes; `idle` kernels need not run."""

    places: dict[Value, Alias]
    idle: frozenset[Op]


def find_aliases(graph: Graph) -> Aliases:
    """Aliases in a fused graph.

    The base of a value may be made by a later op, as a concat's result is by the (idle) concat, so
    its memory must be there before. A value that leaves its block lies in no other.
    """
    search = _Search(frozenset(graph.data_symbols))
    search.block(graph.body)
    places = {value: search.resolved(value) for value in search.places}
    return Aliases(places, frozenset(search.idle))


@dataclass
class _Search:
    data_symbols: frozenset[str]
    places: dict[Value, Alias] = field(default_factory=dict)
    idle: list[Op] = field(default_factory=list)

    def block(self, block: Block) -> None:
        for op in block.ops:
            if op.name != "kernel":
                for inner in op.blocks:
                    self.block(inner)
                continue
            ops = op.members
            if len(ops) != 1 or len(op.results) != 1:
                continue
            if ops[0].name == "concat":
                self._concat(op, ops[0])
            elif ops[0].name == "slice":
                self._slice(op, ops[0])

    def resolved(self, value: Value) -> Alias:
        """The place of an alias inside the last of its bases."""
        alias = self.places[value]
        while alias.base in self.places:
            outer = self.places[alias.base]
            alias = Alias(outer.base, alias.offset + outer.offset)
        return alias

    def _concat(self, kernel: Op, concat: Op) -> None:
        axis = concat.attrs["axis"]
        shape = concat.result.type.shape
        parts = [root_of(v) for v in kernel.operands]
        if any(d != 1 for d in shape[:axis]) or len(set(parts)) < len(concat.operands):
            return
        # The kernel's operands stand in the order in which the concat reads them first.
        row = product(shape[axis + 1 :]) * concat.result.type.dtype.bytes
        offset: Dim = 0
        found: dict[Value, Alias] = {}
        for part, value in zip(parts, concat.operands, strict=True):
            late = symbols_of(offset) & self.data_symbols
            if late or not self._may_move(part, kernel) or not _is_aligned(offset):
                return
            found[part] = Alias(kernel.results[0], offset)
            offset = offset + value.type.shape[axis] * row
        self.places.update(found)
        self.idle.append(kernel)

    def _may_move(self, value: Value, reader: Op) -> bool:
        """Whether the kernel that makes a value can store it where `reader` says."""
        owner = value.owner
        made_here = owner is not None and owner.name == "kernel" and owner.block == reader.block
        return made_here and value not in self.places and not _leaves(value)

    def _slice(self, kernel: Op, cut: Op) -> None:
        offset = _run_offset(cut)
        base = root_of(kernel.operands[0])
        made_by = base.owner
        constant = made_by is not None and made_by.name == "constant"
        if offset is None or constant or _leaves(kernel.results[0]) or not _is_aligned(offset):
            return
        self.places[kernel.results[0]] = Alias(base, offset)
        self.idle.append(kernel)


def root_of(value: Value) -> Value:
    """The value whose memory a chain of reshapes and prefixes shows."""
    owner = value.owner
    while owner is not None and owner.name in SHOWS_OPERAND:
        value = owner.operands[0]
        owner = value.owner
    return value


def _leaves(value: Value) -> bool:
    """Whether the value, or a reshape of it, is passed out of its block."""
    for user, _ in value.uses:
        if user.is_terminator or (user.name in SHOWS_OPERAND and _leaves(user.result)):
            return True
    return False


def _run_offset(cut: Op) -> Dim | None:
    """Bytes before a slice that is one run of its operand's memory; None when it is not one."""
    attrs, shape = cut.attrs, cut.operands[0].type.shape
    starts, sizes, steps = attrs["starts"], attrs["sizes"], attrs["steps"]
    axes: Sequence[int] = [i for i, d in enumerate(shape) if sizes[i] != d or steps[i] != 1]
    if len(axes) != 1 or steps[axes[0]] != 1:
        return None
    (axis,) = axes
    if any(d != 1 for d in shape[:axis]):
        return None
    offset: Dim = starts[axis] * product(shape[axis + 1 :]) * cut.result.type.dtype.bytes
    return offset


def _is_aligned(offset: Dim) -> bool:
    return bool(offset % ALIGNMENT == 0)
