"""A small vocabulary for writing TensorIR loop nests by hand.

An `Emitter` collects statements in the order they are written; loops and branches are `with`
blocks. Index expressions are int64. Buffers are flat: the caller computes the offset, which lets an
index be a vector in any dimension. An expression may have several lanes; `match` widens scalars to
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import tirx
from tvm.ir.expr import TensorLoad
from tvm.tirx import stmt as ts

from bireme.codegen import floats
from bireme.ir import Dim, DType, TensorType
from bireme.ir.dtypes import NARROW

Expr = Any  # tvm.ir.Expr: TVM's Python package carries no types
# The instruction that rounds 16 float32 to bfloat16, of those that a level may have.
TO_BF16 = "to_bf16"


# What an element is in memory (bool and bfloat16 as plain bits) and in arithmetic. Narrow types are
# bits in both: rules/narrow.py converts them.
_BITS = dict.fromkeys(NARROW, "uint8")
_STORAGE = {DType.BOOL: "uint8", DType.BF16: "uint16", **_BITS}
_COMPUTE = {DType.BOOL: "bool", DType.BF16: "float32", DType.F16: "float32", **_BITS}


def storage(dtype: DType) -> str:
    """TVM type of an element in memory."""
    return _STORAGE.get(dtype, dtype.label)


def compute(dtype: DType) -> str:
    """TVM type in which an element is calculated with."""
    return _COMPUTE.get(dtype, dtype.label)


def const(value: Any, dtype: str) -> Expr:
    """A constant of a TVM type."""
    if dtype.startswith("float") and value == 0:
        return floats.zero(value, dtype)
    return tirx.const(value, dtype)


def immediate(expr: Expr) -> int | float | None:
    """The number that all lanes of a constant are, or None."""
    if isinstance(expr, tirx.Broadcast):
        expr = expr.value
    if isinstance(expr, tirx.IntImm):
        return int(expr.value)
    return float(expr.value) if isinstance(expr, tirx.FloatImm) else floats.zero_of(expr)


def index(value: Any) -> Expr:
    """An int as an int64 expression; expressions pass."""
    return tirx.const(value, "int64") if isinstance(value, int) else value


def lanes_of(expr: Expr) -> int:
    """How many elements an expression has: 1 for a scalar."""
    return int(expr.ty.dtype.lanes)


def scalar_type(expr: Expr) -> str:
    """Element type of an expression, without lanes."""
    return str(expr.ty.dtype).split("x")[0]


def match(*exprs: Expr) -> tuple[Expr, ...]:
    """The expressions with scalars widened to the lanes of the widest."""
    lanes = max(lanes_of(e) for e in exprs)
    if lanes == 1:
        return exprs
    return tuple(tirx.Broadcast(e, lanes) if lanes_of(e) == 1 else e for e in exprs)


def select(condition: Expr, yes: Expr, no: Expr) -> Expr:
    """`yes` where the condition holds, else `no`; both are evaluated."""
    condition, yes, no = match(condition, yes, no)
    return tirx.Select(condition, yes, no)


def cast(expr: Expr, dtype: str) -> Expr:
    """Conversion to another element type, lanes kept."""
    if scalar_type(expr) == dtype:
        return expr
    lanes = lanes_of(expr)
    return tirx.Cast(dtype if lanes == 1 else f"{dtype}x{lanes}", expr)


def reinterpret(expr: Expr, dtype: str) -> Expr:
    """The same bits as another type of the same width."""
    lanes = lanes_of(expr)
    return tirx.reinterpret(dtype if lanes == 1 else f"{dtype}x{lanes}", expr)


def is_int(expr: Expr) -> bool:
    """Whether an expression is an integer constant."""
    return isinstance(expr, tirx.IntImm)


def plus(a: Any, b: Any) -> Expr:
    """`a + b`, a ramp when one of them is one and the other a scalar."""
    a, b = index(a), index(b)
    if isinstance(b, tirx.Ramp):
        a, b = b, a
    if isinstance(a, tirx.Ramp) and lanes_of(b) == 1:
        return tirx.Ramp(a.base + b, a.stride, a.lanes)
    a, b = match(a, b)
    return a + b


def times(a: Any, b: Any) -> Expr:
    """`a * b` for a scalar `b`."""
    a, b = index(a), index(b)
    if isinstance(a, tirx.Ramp):
        return tirx.Ramp(a.base * b, a.stride * b, a.lanes)
    a, b = match(a, b)
    return a * b


@dataclass(frozen=True)
class Buffer:
    """A flat run of elements: a tensor argument, or scratch memory."""

    tir: Any
    dtype: DType
    shape: tuple[Any, ...] = ()

    def offset(self, at: list[Expr]) -> Expr:
        """Row-major offset of an index."""
        total: Expr = index(0)
        for size, position in zip(self.shape, at, strict=True):
            total = plus(times(total, size), position)
        return total


class Emitter:
    """Statements in the making. `symbols` holds the values of the kernel's symbolic sizes,
    `instructions` those of the level that `store` may use.
    """

    def __init__(self, symbols: Mapping[str, Expr]) -> None:
        self.symbols = dict(symbols)
        self.instructions: frozenset[str] = frozenset()
        self._frames: list[list[Any]] = [[]]
        self._memos: list[dict[Any, Any]] = [{}]
        self._count = 0

    # --- structure ------------------------------------------------------------------------------

    @contextmanager
    def loop(self, name: str, extent: Any, *, start: Any = 0) -> Iterator[Expr]:
        """A loop over [start, start + extent); a loop of one step leaves no trace."""
        if is_int(index(extent)) and int(index(extent)) == 1:
            yield index(start)
            return
        variable = tirx.Var(self._name(name), "int64")
        self._push()
        yield variable
        self.add(ts.For(variable, index(start), index(extent), ts.ForKind.SERIAL, self._pop()))

    @contextmanager
    def when(self, *conditions: Expr | None) -> Iterator[None]:
        """Statements that run only when all conditions hold; None is one that does."""
        given = [c for c in conditions if c is not None]
        if not given:
            yield
            return
        self._push()
        yield
        condition = given[0] if len(given) == 1 else tirx.all(*given)
        self.add(ts.IfThenElse(condition, self._pop(), None))

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is remembered inside is forgotten outside; statements go where they would without
        it.
        """
        self._memos.append({})
        yield
        self._memos.pop()

    @contextmanager
    def repeat(self, condition: Expr) -> Iterator[None]:
        """A loop that runs while the condition, which reads memory, holds."""
        self._push()
        yield
        self.add(ts.While(condition, self._pop()))

    def add(self, statement: Any) -> None:
        self._frames[-1].append(statement)

    def finish(self) -> Any:
        """The whole body."""
        assert len(self._frames) == 1, "a block is still open"
        return _sequence(self._frames[0])

    def _push(self) -> None:
        self._frames.append([])
        self._memos.append({})

    def _pop(self) -> Any:
        self._memos.pop()
        return _sequence(self._frames.pop())

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    # --- values ---------------------------------------------------------------------------------

    def bind(self, value: Expr, stem: str = "v") -> Expr:
        """Names a value, so that it is calculated once however often it is used."""
        plain = value.value if isinstance(value, tirx.Broadcast) else value
        if isinstance(plain, tirx.Var) or immediate(value) is not None:
            return value
        if lanes_of(value) > 1 and scalar_type(value) == "bool":
            # TVM's analysis of a named vector comparison fails ("mismatched types"): keep it as
            # bytes.
            return from_storage(self.opaque(cast(value, "uint8"), "mask"), DType.BOOL)
        if isinstance(value, TensorLoad):
            return self._named(value, stem)
        if isinstance(value, tirx.Ramp):
            # Named, it would no longer be seen to be a ramp.
            return tirx.Ramp(self.bind(value.base, stem), value.stride, value.lanes)
        if lanes_of(value) > 1 or scalar_type(value).startswith("float"):
            return self.opaque(value, stem)
        return self._named(value, stem)

    def _named(self, value: Expr, stem: str) -> Expr:
        variable = tirx.Var(self._name(stem), value.ty)
        self.add(ts.Bind(variable, value))
        return variable

    def opaque(self, value: Expr, stem: str = "v") -> Expr:
        """`bind`, but TVM's simplifier cannot look through the name.

        Sizes and quotients of sizes go through here: substituted into each other they grow, and TVM
        0.27 then takes some of them for a division by zero. Floats and vectors do, because a
        polynomial in a polynomial would grow without end, and comparisons of vectors upset its
        analysis. So does what protects an operation from its operand: the simplifier drops a guard
        inside a `Select` with the same condition, though LLVM evaluates both sides. LLVM sees
        through it.
        """
        if isinstance(value, tirx.IntImm):
            return value
        if scalar_type(value) == "bool":
            return from_storage(self.opaque(cast(value, "uint8"), stem), DType.BOOL)
        lanes = lanes_of(value)
        place = tirx.Ramp(index(0), index(1), lanes) if lanes > 1 else index(0)
        cell = self.scratch("cell", scalar_type(value), lanes)
        self.add(ts.BufferStore(cell, value, [place]))
        return self._named(tirx.BufferLoad(cell, [place]), stem)

    def remember(self, key: Any, value: Any) -> Any:
        """Keeps a value for the rest of the current block."""
        self._memos[-1][key] = value
        return value

    def recall(self, key: Any) -> Any:
        """A value remembered in this block or one around it, or None."""
        for memo in reversed(self._memos):
            if key in memo:
                return memo[key]
        return None

    def dim(self, dim: Dim) -> Expr:
        """A dimension as an expression over the kernel's symbols."""
        if isinstance(dim, int):
            return index(dim)
        known = self.recall(dim)
        if known is not None:
            return known
        total: Expr = index(0)
        for monomial, factor in dim.terms.items():
            term: Expr = index(factor)
            for atom in monomial:
                if isinstance(atom, str):
                    term = term * self.symbols[atom]
                else:
                    op, left, right = atom
                    term = term * _FORMS[op](self.dim(left), self.dim(right))
            total = total + term
        return self.remember(dim, self.opaque(total, "size"))

    def shape(self, tensor: TensorType) -> list[Expr]:
        return [self.dim(d) for d in tensor.shape]

    # --- memory ---------------------------------------------------------------------------------

    def load(self, buffer: Buffer, offset: Expr) -> Expr:
        """The element(s) at an offset, in their compute type."""
        offset = index(offset)
        strided = isinstance(offset, tirx.Ramp) and is_int(offset.stride)
        if strided and int(offset.stride) in _SHORT_STRIDES:
            return from_storage(_strided(buffer, offset), buffer.dtype)
        return from_storage(tirx.BufferLoad(buffer.tir, [offset]), buffer.dtype)

    def prefetch(self, buffer: Buffer, offset: Expr) -> None:
        """Asks for the cache line of an element; it need not exist."""
        address = tirx.address_of(tirx.BufferLoad(buffer.tir, [index(offset)]))
        options = [const(value, "int32") for value in (0, 3, 1)]  # for reading, to keep, data
        self.add(ts.Evaluate(tirx.call_intrin("void", "tirx.prefetch", address, *options)))

    def store(self, buffer: Buffer, offset: Expr, value: Expr) -> None:
        """Writes element(s) given in their compute type."""
        offset = index(offset)
        if lanes_of(offset) > 1:
            offset, value = match(offset, value)
        self.add(ts.BufferStore(buffer.tir, self._stored(value, buffer.dtype), [offset]))

    def _stored(self, value: Expr, dtype: DType) -> Expr:
        if dtype is DType.BF16 and lanes_of(value) == 16 and TO_BF16 in self.instructions:
            return tirx.call_pure_extern("uint16x16", f"bireme_{TO_BF16}", value)
        return to_storage(value, dtype)

    def registers(self, name: str, dtype: DType, lanes: int) -> Buffer:
        """A vector of scratch elements small enough for LLVM to keep in registers."""
        held = _IN_REGISTERS.get(dtype, dtype)
        return Buffer(self.scratch(name, storage(held), lanes), held, (lanes,))

    def scratch(self, name: str, kind: str, lanes: int) -> Any:
        """A TIR buffer of `lanes` elements of a TVM type, to be kept in registers."""
        tir = tirx.decl_buffer([index(lanes)], kind, name=self._name(name))
        self.add(ts.AllocBuffer(tir))
        return tir


# Strides at which whole vectors are loaded and the wanted lanes picked; LLVM would load one by one.
_SHORT_STRIDES = frozenset({-2, -1, 2, 3, 4})


def _strided(buffer: Buffer, ramp: Expr) -> Expr:
    """Elements at a short stride, without reading beyond the outermost ones."""
    stride, lanes = int(ramp.stride), int(ramp.lanes)
    step, reach = abs(stride), abs(stride) * (lanes - 1)
    first = ramp.base if stride > 0 else ramp.base - index(reach)
    # The last vector ends at the last wanted element and so overlaps the one before it.
    starts = [*(number * lanes for number in range(step - 1)), reach + 1 - lanes]
    parts = [
        tirx.BufferLoad(buffer.tir, [tirx.Ramp(first + index(start), index(1), lanes)])
        for start in starts
    ]
    picked = []
    for lane in range(lanes):
        place = (lane if stride > 0 else lanes - 1 - lane) * step
        part = min(place // lanes, step - 1)
        picked.append(const(part * lanes + place - starts[part], "int32"))
    return tirx.Shuffle(parts, picked)


_FORMS = {
    "//": tirx.floordiv,
    "%": tirx.floormod,
    "min": tirx.min,
    "max": tirx.max,
}

# Scratch elements of these types are held in their compute type.
_IN_REGISTERS = {DType.F16: DType.F32, DType.BF16: DType.F32}


def _sequence(statements: list[Any]) -> Any:
    if not statements:
        return ts.Evaluate(tirx.const(0, "int32"))
    return statements[0] if len(statements) == 1 else ts.SeqStmt(statements)


def from_storage(bits: Expr, dtype: DType) -> Expr:
    """Memory form → compute type."""
    if dtype is DType.BOOL:
        # Not `!= 0`: TVM's analysis of a named vector of that form fails.
        zero, bits = match(const(0, "uint8"), bits)
        return bits > zero
    if dtype is DType.BF16:
        wide, shift = match(cast(bits, "uint32"), const(16, "uint32"))
        return reinterpret(wide << shift, "float32")
    return cast(bits, compute(dtype))


def to_storage(value: Expr, dtype: DType) -> Expr:
    """Compute type → memory form; bfloat16 rounds to nearest even, NaN stays NaN."""
    if dtype is not DType.BF16:
        return cast(value, storage(dtype))
    bits = reinterpret(value, "uint32")
    bits, one, shift, half, quiet = match(
        bits,
        const(1, "uint32"),
        const(16, "uint32"),
        const(0x7FFF, "uint32"),
        const(0x40, "uint32"),
    )
    rounded = (bits + half + ((bits >> shift) & one)) >> shift
    return cast(select(tirx.isnan(value), (bits >> shift) | quiet, rounded), "uint16")


def pointer(name: str, dtype: str) -> Any:
    """A variable that holds an address of elements."""
    return tirx.Var(name, tvm.ir.PointerType(tvm.ir.PrimType(dtype), "global"))
