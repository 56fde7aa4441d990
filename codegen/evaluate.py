"""The value of any tensor of a kernel at any index: how fused groups become expressions.

Every op has a *rule* that says what one element of its result is, in terms of elements of its
operands. `Evaluator.at` applies rules from a result back to the kernel's arguments, so a chain of
ops becomes one expression and no intermediate tensor exists. An index may be a vector in one
dimension; rules are written so that they need not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tvm import tirx
from tvm.ir.expr import TensorLoad

from bireme.codegen.tir import (
    Buffer,
    Emitter,
    Expr,
    const,
    immediate,
    index,
    is_int,
    lanes_of,
    select,
)
from bireme.ir import BiremeError, Op, Value
from bireme.ir.dtypes import DType

# The widest vector that templates use; 16 × float32 is one register of AVX-512, two of AVX2.
MOST_LANES = 16

# Expressions that need no guarding from TVM's simplifier.
_PLAIN = (tirx.Var, TensorLoad)

Index = list[Expr]
Rule = Callable[["Evaluator", Op, Index, int], Expr]


class Evaluator:
    """Elements of a kernel's tensors.

    `sources` gives the values that are already somewhere: arguments, or results that a template has
    calculated (`define`). `rules` maps op names to rules.
    """

    def __init__(
        self, emitter: Emitter, sources: Mapping[Value, Buffer], rules: Mapping[str, Rule]
    ) -> None:
        self.emit = emitter
        self._sources: dict[Value, Callable[[Index], Expr]] = {}
        self._rules = rules
        self.faults: Buffer | None = None
        self._buffers = dict(sources)
        for value, buffer in sources.items():
            self._sources[value] = self._loader(buffer)

    def _loader(self, buffer: Buffer) -> Callable[[Index], Expr]:
        return lambda at: self.emit.load(buffer, buffer.offset(at))

    def define(self, value: Value, element: Callable[[Index], Expr]) -> None:
        """Says how elements of `value` are to be had from here on."""
        self._sources[value] = element

    def forget(self, value: Value) -> None:
        """Undoes `define`."""
        self._sources.pop(value, None)

    def shape(self, value: Value) -> list[Expr]:
        """Sizes of a value as expressions."""
        return self.emit.shape(value.type)

    def at(self, value: Value, at: Sequence[Expr]) -> Expr:
        """The element(s) of `value` at an index, in the compute type."""
        where = [index(i) for i in at]
        # Expressions are told apart by identity: comparing them would build a new expression.
        key = (value, *(int(i) if is_int(i) else f"@{id(i)}" for i in where))
        known = self.emit.recall(key)
        if known is not None:
            return known[0]
        if value in self._sources:
            result = self._sources[value](where)
        else:
            owner = value.owner
            if owner is None or owner.name not in self._rules:
                name = owner.name if owner else "argument"
                raise BiremeError("BM3004", f"no rule for {name}", where=name)
            result = self._rules[owner.name](self, owner, where, value.index)
        result = self._held(result)
        self.emit.remember(key, (result, where))  # `where` keeps the identities alive
        return result

    def prefetch(self, value: Value, at: Index) -> None:
        """Asks for the cache line of an element that is loaded soon, when it is in memory."""
        buffer = self._buffers.get(value)
        if buffer is not None:
            self.emit.prefetch(buffer, buffer.offset(at))

    def _held(self, value: Expr) -> Expr:
        """`bind`, but integers that may wrap around stay unknown to TVM."""
        is_plain = isinstance(value, _PLAIN) or immediate(value) is not None
        is_plain = is_plain or lanes_of(value) > 1
        return self.emit.bind(value) if is_plain else self.emit.opaque(value)

    def broadcast_at(self, value: Value, at: Index) -> Expr:
        """`at` for an operand that is broadcast to the rank and sizes of the index."""
        shape = value.type.shape
        tail = at[len(at) - len(shape) :]
        return self.at(value, [index(0) if d == 1 else i for d, i in zip(shape, tail, strict=True)])

    def report(self, code: int, condition: Expr) -> None:
        """Notes a run-time fault (docs/artefact.md) where the condition holds, on any lane."""
        if self.faults is None:
            raise BiremeError("BM3004", "this template cannot report run-time faults")
        lanes = lanes_of(condition)
        offset = tirx.Ramp(index(0), index(1), lanes) if lanes > 1 else index(0)
        before = self.emit.load(self.faults, offset)
        self.emit.store(self.faults, offset, select(condition, const(code, "int32"), before))


def fault_register(emitter: Emitter) -> Buffer:
    """Scratch for `Evaluator.faults`: one int32 a lane, zero."""
    faults = emitter.registers("fault", DType.I32, MOST_LANES)
    emitter.store(faults, tirx.Ramp(index(0), index(1), MOST_LANES), const(0, "int32"))
    return faults


def fault_status(emitter: Emitter, faults: Buffer) -> Expr:
    """The kernel's return value: the largest fault noted, 0 when there was none."""
    worst = emitter.load(faults, index(0))
    for lane in range(1, MOST_LANES):
        worst = tirx.max(worst, emitter.load(faults, index(lane)))
    return worst
